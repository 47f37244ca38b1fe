package discovery

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/gatewaytest"
	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/internal/rate"
)

var (
	_ listen.PacketConn = (*gatewaytest.Conn)(nil)
	_ listen.GroupConn  = (*gatewaytest.Group)(nil)
)

var (
	gatewayAddr = netip.MustParseAddrPort("10.0.0.1:1883")
	clientAddr  = netip.MustParseAddrPort("10.0.0.9:2000")
	groupAddr   = netip.MustParseAddrPort("239.1.2.3:1883")
)

// searchLab is a gateway's discovery, with id 7, and a client on a simulated network.
type searchLab struct {
	t       *testing.T
	start   time.Time
	network *gatewaytest.Network
	client  *gatewaytest.Conn
	disco   *Discoverer
	ready   atomic.Bool
	counted messageCounts

	mu    sync.Mutex // guards the two below
	sent  []string   // what the gateway has sent: "at to hops hex"
	drops map[session.Reason]int
}

// messageCounts counts messages by type.
type messageCounts struct{ received, sent [256]atomic.Int64 }

func (c *messageCounts) Received(msgType byte, _ int) { c.received[msgType].Add(1) }
func (c *messageCounts) Sent(msgType byte, _ int)     { c.sent[msgType].Add(1) }

func newSearchLab(t *testing.T, change func(o *Options)) *searchLab {
	l := &searchLab{t: t, start: time.Now(), network: gatewaytest.New(1, nil), drops: make(map[session.Reason]int)}
	l.ready.Store(true)
	l.network.Tap(func(s gatewaytest.Sent) {
		if s.From == gatewayAddr {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.sent = append(l.sent, fmt.Sprintf("%s %s %d %x", s.At.Sub(l.start), s.To, s.Hops, s.Payload))
		}
	})
	main, err := l.network.Listen(gatewayAddr)
	if err != nil {
		t.Fatal(err)
	}
	group, err := main.JoinGroup(groupAddr)
	if err != nil {
		t.Fatal(err)
	}
	if l.client, err = l.network.Listen(clientAddr); err != nil {
		t.Fatal(err)
	}
	opts := Options{
		GwID: 7, answers: rate.PerSecond(10, 20),
		Listeners:   []listen.Listener{{Conn: main, Group: group}},
		Pool:        listen.NewPool(1 << 20),
		Counters:    &l.counted,
		BrokerReady: l.ready.Load,
		Now:         func() time.Duration { return time.Since(l.start) },
		Drop: func(reason session.Reason, _ error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.drops[reason]++
		},
	}
	if change != nil {
		change(&opts)
	}
	if l.disco, err = New(opts); err != nil {
		t.Fatal(err)
	}
	l.disco.Start()
	t.Cleanup(func() {
		if err := l.disco.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// toGroup sends a datagram from the client to the group.
func (l *searchLab) toGroup(hexBytes string) {
	l.t.Helper()
	b, err := hex.DecodeString(hexBytes)
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.client.WriteTo(b, groupAddr); err != nil {
		l.t.Fatal(err)
	}
}

// want compares everything sent since the last call.
func (l *searchLab) want(why string, sent ...string) {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.sent, sent) {
		l.t.Errorf("%s: sent %q, want %q", why, l.sent, sent)
	}
	l.sent = nil
}

func (l *searchLab) wantDrops(reason session.Reason, n int) {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drops[reason] != n {
		l.t.Errorf("drops of reason %d: %d, want %d (all: %v)", reason, l.drops[reason], n, l.drops)
	}
}

func TestAdvertiseAtTheStartAndThenEachInterval_Case13(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSearchLab(t, func(o *Options) { o.AdvertiseEvery = 900 * time.Second })
		l.want("at the start", "0s 239.1.2.3:1883 255 0500070384")
		time.Sleep(899 * time.Second)
		l.want("before the interval is over")
		time.Sleep(time.Second)
		l.want("after it", "15m0s 239.1.2.3:1883 255 0500070384")
		time.Sleep(1800 * time.Second)
		l.want("twice more", "30m0s 239.1.2.3:1883 255 0500070384", "45m0s 239.1.2.3:1883 255 0500070384")
		l.wantDrops(session.ReasonOtherGateway, 0) // our own come back from the group
		if n := l.counted.sent[0].Load(); n != 4 {
			t.Errorf("%d ADVERTISEs counted", n)
		}
	})
}

func TestAdvertiseDurationHas16Bits_Case13(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSearchLab(t, func(o *Options) { o.AdvertiseEvery = 65535 * time.Second; o.advertiseRadius = 2 })
		l.want("longest interval, radius 2", "0s 239.1.2.3:1883 2 050007ffff")
	})
	for _, every := range []time.Duration{-time.Second, 1500 * time.Millisecond, 65536 * time.Second} {
		if _, err := New(Options{AdvertiseEvery: every}); err == nil {
			t.Errorf("interval %s accepted", every)
		}
	}
}

func TestAdvertiseOnlyWhileABrokerIsConnected_Case13(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSearchLab(t, func(o *Options) {
			o.AdvertiseEvery = 60 * time.Second
			o.BrokerReady = func() bool {
				return time.Since(synctestStart) > 3500*time.Millisecond && time.Since(synctestStart) < 50*time.Second
			}
		})
		l.want("the broker is away at the start")
		time.Sleep(10 * time.Second)
		l.want("soon after it came", "4s 239.1.2.3:1883 255 050007003c")
		time.Sleep(10 * time.Minute)
		l.want("it went before the second was due")
	})
}

// synctestStart is when the clock of every bubble starts.
var synctestStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestAdvertiseOffSendsNone_Case19(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSearchLab(t, nil)
		time.Sleep(48 * time.Hour)
		l.want("two days")
	})
}

func TestSearchGWToTheGroupIsAnsweredToTheGroupOnce_Case14_16(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSearchLab(t, nil)
		time.Sleep(5 * time.Second)
		l.toGroup("030101")
		l.want("radius 1, at once", "5s 239.1.2.3:1883 1 030207")
		l.toGroup("030100")
		l.want("radius 0 is the whole network", "5s 239.1.2.3:1883 255 030207")
		l.toGroup("0100050103")
		l.want("long form, radius 3", "5s 239.1.2.3:1883 3 030207")
		time.Sleep(time.Hour)
		l.want("never again later")
		l.wantDrops(session.ReasonOtherGateway, 0)
	})
}

func TestOtherGatewayAnsweringFirstCausesNoSecondAnswer_Case16(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSearchLab(t, nil)
		l.toGroup("030101")
		l.toGroup("030209") // another gateway's answer
		l.want("one answer", "0s 239.1.2.3:1883 1 030207")
		time.Sleep(time.Minute)
		l.want("nothing after it")
	})
}

func TestSearchGWToTheListenerIsAnsweredToTheSender_Case15(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSearchLab(t, nil)
		if !l.disco.Message(ViaListener, 0, clientAddr, nil, 0x01, []byte{1}) {
			t.Error("SEARCHGW was not taken")
		}
		l.want("by unicast", "0s 10.0.0.9:2000 0 030207")
		b := make([]byte, 16)
		n, from, err := l.client.ReadFrom(b)
		if err != nil || from != gatewayAddr || !bytes.Equal(b[:n], []byte{3, 2, 7}) {
			t.Errorf("the client got %x from %s, %v", b[:n], from, err)
		}
	})
}

func TestSearchGWThroughAForwarder_Case15(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSearchLab(t, nil)
		node := []byte{0xAA, 0xBB}
		l.disco.Message(ViaForwarder, 0, clientAddr, node, 0x01, []byte{2})
		node[0] = 0 // the caller's buffer is used again
		l.want("same node, radius in Ctrl", "0s 10.0.0.9:2000 0 05fe02aabb030207")
		l.disco.Message(ViaForwarder, 0, clientAddr, []byte{1}, 0x01, []byte{200})
		l.want("Ctrl has two bits", "0s 10.0.0.9:2000 0 04fe0301030207")
		l.disco.Message(ViaForwarder, 0, clientAddr, bytes.Repeat([]byte{9}, 252), 0x01, []byte{0})
		synctest.Wait()
		if len(l.sent) != 1 {
			t.Errorf("longest node id: %q", l.sent)
		}
	})
}

func TestOtherGatewaysMessagesAreCountedAndIgnored_Case18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSearchLab(t, nil)
		l.toGroup("0500080384")     // ADVERTISE of gateway 8
		l.toGroup("030208")         // GWINFO of gateway 8
		l.toGroup("07020801020304") // GWINFO by a client, with an address
		l.want("no answer")
		l.wantDrops(session.ReasonOtherGateway, 3)
		for msgType, body := range map[byte][]byte{0x00: {8, 3, 0x84}, 0x02: {8}} {
			if !l.disco.Message(ViaListener, 0, clientAddr, nil, msgType, body) {
				t.Errorf("type %d is left to the sessions", msgType)
			}
		}
		l.wantDrops(session.ReasonOtherGateway, 5)
		if l.disco.Message(ViaListener, 0, clientAddr, nil, 0x04, []byte{4, 1, 0, 60, 'x'}) {
			t.Error("a CONNECT was taken for discovery")
		}
		l.want("still no answer")
	})
}

func TestNothingButDiscoveryIsTakenFromTheGroup_Case18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSearchLab(t, nil)
		for _, bad := range []string{"", "03", "0301", "040101", "04010101", "0201", "01000401", "0400", "0202"} {
			l.toGroup(bad)
		}
		l.wantDrops(session.ReasonMalformed, 9)
		l.toGroup("0804040100")
		l.wantDrops(session.ReasonMalformed, 10)
		l.toGroup("07040401003c78")
		l.toGroup("0216")
		l.wantDrops(session.ReasonUnexpectedMessage, 2)
		l.want("no answer to any")
	})
}

func TestAnswersAreLimitedInTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSearchLab(t, nil)
		for i := range 1000 {
			from := netip.AddrPortFrom(clientAddr.Addr(), uint16(1000+i))
			l.disco.Message(ViaListener, 0, from, nil, 0x01, []byte{0})
			synctest.Wait()
		}
		l.wantDrops(session.ReasonRateLimited, 980)
		l.sent = nil
		time.Sleep(100 * time.Millisecond)
		l.toGroup("030101")
		l.want("one more after a tenth of a second", "100ms 239.1.2.3:1883 1 030207")
	})
}

func TestSearchesBeyondTheQueueAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		l := newSearchLab(t, func(o *Options) {
			o.Now = func() time.Duration { <-release; return 0 }
			o.answers = rate.PerSecond(1000, 1000)
		})
		synctest.Wait() // the goroutine hangs in now, at its first turn
		for range searchQueue + 9 {
			l.disco.Message(ViaListener, 0, clientAddr, nil, 0x01, []byte{0})
		}
		l.wantDrops(session.ReasonShardFull, 9)
		close(release)
		synctest.Wait()
		if len(l.sent) != searchQueue {
			t.Errorf("%d answers to a full queue of %d", len(l.sent), searchQueue)
		}
	})
}

func TestFailingSendIsCountedAndAdvertiseTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conn listen.PacketConn
		l := newSearchLab(t, func(o *Options) {
			o.AdvertiseEvery = time.Hour
			conn = o.Listeners[0].Conn
			_ = conn.Close()
		})
		time.Sleep(9500 * time.Millisecond)
		l.want("nothing can be sent")
		l.wantDrops(session.ReasonSendFailed, 10)
	})
}

func TestTwoListenersMayNotShareAGroup_Case16(t *testing.T) {
	n := gatewaytest.New(1, nil)
	var listeners []listen.Listener
	for _, a := range []netip.AddrPort{gatewayAddr, clientAddr} {
		c, err := n.Listen(a)
		if err != nil {
			t.Fatal(err)
		}
		g, err := c.JoinGroup(groupAddr)
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, listen.Listener{Conn: c, Group: g})
	}
	if _, err := New(Options{Listeners: listeners}); err == nil {
		t.Error("accepted")
	}
	if _, err := New(Options{AdvertiseEvery: time.Minute, Listeners: []listen.Listener{{Conn: listeners[0].Conn}}}); err == nil {
		t.Error("advertising without a group accepted")
	}
}
