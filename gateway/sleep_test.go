package gateway

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

func TestBrokerIsPingedForASleeper_Case136(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.broker.KeepAlive = true
		d := r.device("10.0.1.1:5000")
		d.connectWith(true, 3, "dev")
		d.sleep(60)
		for range 8 {
			time.Sleep(10 * time.Second)
			if n := r.broker.Connected(); n != 2 {
				t.Fatalf("%d clients at the broker: it has dropped the sleeper", n)
			}
		}
		d.wantQuiet("asleep")
		if got := d.wake("dev"); len(got) != 0 {
			t.Fatalf("got %q", got)
		}
	})
}

func TestSleeperThatDoesNotWakeIsLost_Case137(t *testing.T) {
	for _, tt := range []struct {
		seconds uint16
		after   time.Duration
	}{{40, 60 * time.Second}, {60, 90 * time.Second}, {100, 110 * time.Second}, {60000, 66000 * time.Second}} {
		for _, clean := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d s, clean=%v", tt.seconds, clean), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, nil)
					d := r.device("10.0.1.1:5000")
					d.connectWill("dev", "will", "gone")
					kept := 0
					if !clean {
						d.sendMessage(sn12.Connect{Will: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
						d.sendMessage(sn12.WillTopic{QoS: 1, Retain: true, Topic: []byte("will")})
						d.sendMessage(sn12.WillMsg{Message: []byte("gone")})
						d.discard()
						kept = 1
					}
					d.sleep(tt.seconds)
					time.Sleep(tt.after - time.Millisecond)
					d.wantQuiet("not yet")
					r.wantWill("not yet", "will", "")
					time.Sleep(time.Millisecond)
					d.want("lost", "02 18")
					r.wantWill("lost", "will", "gone")
					r.wantSessions("by CleanSession", kept)
				})
			})
		}
	}
}

func TestSleeperThatWakesInTimeIsNeverLost_Case138(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.broker.KeepAlive = true
		d := r.device("10.0.1.1:5000")
		d.connectWith(true, 10, "dev")
		d.sleep(100)
		connects := r.connects()
		for range 100 {
			time.Sleep(90 * time.Second)
			d.wantQuiet("asleep")
			d.wake("dev")
		}
		if n := r.state(session.StateAsleep); n != 1 || r.connects() != connects {
			t.Fatalf("%d asleep, %d connects", n, r.connects()-connects)
		}
	})
}

func TestSleeperConnects_Case142(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(true, 60, "dev")
		id := d.register("up")
		d.subscribe("t", 1)
		d.sleep(600)
		connects := r.connects()
		r.publish("t", "x", 1)
		d.connectWith(true, 60, "dev")
		if got := d.receive(time.Second); !slices.Equal(got, []string{"x"}) {
			t.Fatalf("got %q", got)
		}
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9})
		d.wantMessage("the topic id is valid", sn12.PubAck{TopicID: id, MsgID: 9})
		if n := r.connects() - connects; n != 0 {
			t.Fatalf("%d more MQTT CONNECTs", n)
		}
	})
}

func TestTenSleepCyclesWithFiftyMessagesEach_Case127_129_134(t *testing.T) {
	for qos := range byte(3) {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				d := r.device("10.0.1.1:5000")
				d.connectWith(true, 60, "dev")
				d.subscribe("t/#", qos)
				d.sleep(600)
				for cycle := range 10 {
					var want []string
					for i := range 50 {
						want = append(want, fmt.Sprintf("%d/%d", cycle, i))
						r.publish(fmt.Sprintf("t/%d", i%7), want[i], qos)
					}
					time.Sleep(5 * time.Minute)
					d.wantQuiet("asleep")
					if got := d.wake("dev"); !slices.Equal(got, want) {
						t.Fatalf("cycle %d: got %q", cycle, got)
					}
				}
				r.wantDropped(session.ReasonBufferFull, 0)
			})
		})
	}
}

// 300 messages wait for a device that wakes for a while, takes what it can and falls
// asleep in the middle of an exchange. All arrive, in order; what the device has not
// acknowledged is not acknowledged to the broker.
func TestManyMessagesForASleeperOverSeveralWakes_Case135(t *testing.T) {
	for _, limit := range []int{100, 10} {
		for _, qos := range []byte{1, 2} {
			t.Run(fmt.Sprintf("max_messages=%d, QoS %d", limit, qos), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { wakeInPieces(t, limit, qos) })
			})
		}
	}
}

func wakeInPieces(t *testing.T, limit int, qos byte) {
	const total = 300
	r := newRig(t, func(o *Options) { o.Session.MaxMessages = limit })
	d := r.device("10.0.1.1:5000")
	d.connectWith(false, 60, "dev")
	d.subscribe("t", qos)
	d.sleep(600)
	for i := range total {
		r.publish("t", fmt.Sprintf("%-1000d", i), qos)
	}
	if held := r.gateway.shards[0].gauges.heldMessages.Load(); held > int64(limit) {
		t.Fatalf("%d messages held, the limit is %d", held, limit)
	}
	released := make(map[uint16]sn12.Publish)
	next, wakes := 0, 0
	for next < total {
		wakes++
		time.Sleep(100 * time.Second)
		d.wantQuiet("asleep")
		d.sendMessage(sn12.PingReq{ClientID: []byte("dev")})
		for taken := 0; ; {
			m := d.next(9 * time.Second)
			if m == nil {
				t.Fatalf("nothing comes after %d messages", next)
			}
			if _, done := m.(sn12.PingResp); done {
				break
			}
			if _, ok := m.(sn12.Publish); ok && taken == 70 {
				if waiting, _ := r.broker.Pending("dev"); waiting < total-next {
					t.Fatalf("%d wait at the broker; the device has only %d of %d", waiting, next, total)
				}
				d.sleep(600) // in the middle
				break
			}
			if p, ok := d.answer(m, released); ok {
				if want := fmt.Sprintf("%-1000d", next); string(p.Data) != want {
					t.Fatalf("got %.10q, want %d", p.Data, next)
				}
				next, taken = next+1, taken+1
			}
		}
	}
	if wakes < 5 {
		t.Fatalf("%d wakes: the device should have needed more", wakes)
	}
	if got := d.wake("dev"); len(got) != 0 {
		t.Fatalf("%d more", len(got))
	}
	if waiting, dropped := r.broker.Pending("dev"); waiting != 0 || dropped != 0 {
		t.Fatalf("%d wait at the broker, %d were dropped there", waiting, dropped)
	}
}

// All of many sleepers wake within one second; each has a message waiting. This runs on
// the real clock: what it shows is that the work is done in time.
func TestManySleepersWakeAtOnce_Case149(t *testing.T) {
	n := scale(10_000, 1_000)
	broker := upstreamtest.NewBroker()
	defer broker.Close()
	f := &fleet{t: t, c: newCrowd(), asked: make([]time.Time, n), got: make([]int, n), changed: make(chan struct{}, 1)}
	f.c.sent = f.take
	g, err := Start(waiting(Options{
		ClientID: "own", Listeners: []listen.Options{{}}, Listen: f.c.listen, MaxSessions: n, Session: sessionConfig(t),
		Log: zerolog.Nop(), Upstream: upstream.Options{Address: "broker:1883", Dial: broker.Dial},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Stop(time.Minute)
	for i := range n {
		f.c.sendMessage(t, source(i), sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 600, ClientID: clientID(i)})
		f.await(func() bool { return f.answers >= i-500 })
	}
	f.await(func() bool { return f.answers == n })
	for i := range n {
		f.c.sendMessage(t, source(i), sn12.Subscribe{QoS: 1, MsgID: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab")})
		f.c.sendMessage(t, source(i), sn12.Disconnect{HasDuration: true, Duration: 3600})
		f.await(func() bool { return f.answers >= n+2*i-500 })
	}
	f.await(func() bool { return f.answers == 3*n })
	broker.Publish(upstreamtest.Message{Topic: "ab", Payload: []byte("x"), QoS: 1})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for g.shards[0].gauges.heldMessages.Load() < int64(n) {
		<-tick.C
	}
	for i := range n {
		f.wake(i)
		if i%(n/1000) == 0 {
			<-tick.C
		}
	}
	f.await(func() bool { return f.pongs == n })
	f.check(sessionConfig(t).RetryInterval)
}

func clientID(i int) []byte { return strconv.AppendInt([]byte("dev-"), int64(i), 10) }

// fleet is a crowd of sleepers that answer what they are sent at once.
type fleet struct {
	t       *testing.T
	c       *crowd
	changed chan struct{} // has room for one

	mu      sync.Mutex
	asked   []time.Time // when PINGREQ was sent
	got     []int       // messages
	answers int         // CONNACK, SUBACK, DISCONNECT
	pongs   int
	other   int // what was not expected
	worst   time.Duration
}

// await waits until done, which is called with f locked.
func (f *fleet) await(done func() bool) {
	f.t.Helper()
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	for {
		f.mu.Lock()
		ok := done()
		f.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-f.changed:
		case <-timeout.C:
			f.t.Fatalf("%d answers and %d PINGRESPs have come", f.answers, f.pongs)
		}
	}
}

func (f *fleet) wake(i int) {
	f.mu.Lock()
	f.asked[i] = time.Now()
	f.mu.Unlock()
	f.c.sendMessage(f.t, source(i), sn12.PingReq{ClientID: clientID(i)})
}

func (f *fleet) take(b []byte, to netip.AddrPort) {
	m, err := sn12.Parse(b)
	if err != nil {
		f.t.Errorf("%x: %v", b, err)
		return
	}
	a := to.Addr().As4()
	i := int(a[1])<<16 | int(a[2])<<8 | int(a[3])
	f.mu.Lock()
	switch m := m.(type) {
	case sn12.Publish:
		f.got[i]++
		f.c.sendMessage(f.t, to, sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID})
	case sn12.PingResp:
		f.pongs++
		f.worst = max(f.worst, time.Since(f.asked[i]))
	case sn12.ConnAck, sn12.SubAck, sn12.Disconnect:
		f.answers++
	default:
		f.other++
	}
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// check wants one message and one PINGRESP for each, within limit.
func (f *fleet) check(limit time.Duration) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.t.Logf("%d sleepers: the longest waited %s for PINGRESP", len(f.asked), f.worst)
	for i, n := range f.got {
		if n != 1 {
			f.t.Fatalf("device %d has got %d messages", i, n)
		}
	}
	if f.pongs != len(f.asked) || f.other > 0 || f.worst >= limit {
		f.t.Fatalf("%d PINGRESPs for %d, %d unexpected messages, longest wait %s", f.pongs, len(f.asked), f.other, f.worst)
	}
}
