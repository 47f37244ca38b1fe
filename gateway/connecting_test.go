package gateway

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

// busy keeps all shards from doing anything until the function it returns is called.
func (r *rig) busy() (release func()) {
	r.t.Helper()
	done := make(chan struct{})
	for _, s := range r.gateway.shards {
		s.queues.post(func() { <-done })
	}
	synctest.Wait()
	return func() { close(done); synctest.Wait() }
}

// What a device sends right behind its CONNECT is not answered with DISCONNECT, which it
// would take for the answer to the CONNECT.
func TestNothingButConnAckWhileConnectIsCarriedOut(t *testing.T) {
	for _, shards := range []int{1, 4} {
		for _, same := range []bool{false, true} {
			for _, clean := range []bool{false, true} {
				t.Run(fmt.Sprintf("shards=%d same_port=%v clean=%v", shards, same, clean), func(t *testing.T) {
					withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
						r := newRig(t, func(o *Options) { o.Shards = shards })
						d := r.device("10.0.1.1:5000")
						d.connectWith(clean, 60, "dev")
						release := r.busy()
						d.sendMessage(sn12.Disconnect{})
						if !same {
							d = r.device("10.0.1.1:5001")
						}
						d.sendMessage(sn12.Connect{CleanSession: clean, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
						d.sendMessage(sn12.Subscribe{MsgID: 1, TopicName: []byte("a/b")})
						d.sendMessage(sn12.Register{MsgID: 2, TopicName: []byte("a/b")})
						d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: 3})
						d.sendMessage(sn12.PingReq{})
						d.wantQuiet("the gateway has other things to do")
						release()
						if same && !durable { // the store has it too late
							d.wantMessage("the goodbye", sn12.Disconnect{})
						}
						d.wantMessage("the first answer", sn12.ConnAck{})
						for m := d.next(1e9); m != nil; m = d.next(1e9) {
							if m.Type() == sn12.TypeDisconnect {
								t.Fatal("DISCONNECT")
							}
						}
						d.sendMessage(sn12.PingReq{})
						d.wantMessage("connected", sn12.PingResp{})
					})
				})
			}
		}
	}
}

func TestWhatFollowsAConnectIsNotGivenToTheAddressesLastDevice(t *testing.T) {
	for _, shards := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Shards = shards })
			// The SUBSCRIBE comes before the broker's answer, however the goroutines run.
			late := upstreamtest.Habits{Delay: func(byte) time.Duration { return 10 * time.Millisecond }}
			d := r.device("10.0.1.1:5000")
			for n := range 8 { // of all shards
				d.connect(fmt.Sprint("old", n))
				r.broker.SetHabits(late)
				release := r.busy()
				d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: fmt.Append(nil, "new", n)})
				d.sendMessage(sn12.Subscribe{MsgID: 1, TopicName: []byte("a/b")})
				release()
				if m := d.next(1e9); m != (sn12.ConnAck{}) {
					t.Fatalf("%+v: the new device is answered", m)
				}
				r.broker.SetHabits(upstreamtest.Habits{})
				if m := d.next(1e9); m != nil {
					t.Fatalf("%+v: the SUBSCRIBE was too early, and is nobody else's", m)
				}
			}
		})
	}
}

// Strangers who forge the address of a device do not have it wait with them.
func TestForgedConnectsDoNotHoldADeviceUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.ConnectRates = ConnectRates{Rate: 1, Burst: 1} })
		d := r.device("10.0.1.1:5000")
		d.connect("dev")
		release := r.busy()
		for n := range 4 * turnSize {
			d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: fmt.Append(nil, "forged", n)})
		}
		d.sendMessage(sn12.PingReq{})
		release()
		// One stranger may be served before a known device, and in a loop one for each batch that
		// is read before.
		for range 3 + 4*turnSize/32 {
			if m := d.next(1e9); m.Type() == sn12.TypePingResp {
				return
			}
		}
		t.Fatal("the device waits behind strangers")
	})
}

func TestSenderIsToldToConnectWhenItsConnectHasBeenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Session.Allow = []string{"nobody"} })
		d := r.device("10.0.1.1:5000")
		release := r.busy()
		d.sendMessage(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		d.sendMessage(sn12.PingReq{})
		release()
		d.wantMessage("refused", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
		d.wantMessage("so there is no session", sn12.Disconnect{})
		r.wantDropped(session.ReasonUnknownSender, 1)
		d.sendMessage(sn12.PingReq{})
		d.wantMessage("as before", sn12.Disconnect{})
	})
}

func TestConnectingTableForgets(t *testing.T) {
	table := newConnectingTable()
	addr := func(n int) listen.Peer {
		return listen.Peer{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 1)}
	}
	c := table.add(&arrival{peer: addr(1)}, nil)
	if table.find(addr(1)) != c || table.find(addr(2)) != nil {
		t.Error("the wrong one is found")
	}
	other := table.add(&arrival{peer: addr(3)}, nil)
	c.handled()
	c.handled() // once more says nothing new
	if table.find(addr(1)) != nil || *table.slot(addr(1)) != nil {
		t.Error("one that has been handled is kept")
	}
	if table.find(addr(3)) == nil {
		t.Error("one that waits is forgotten with another")
	}
	for n := range 2 * connectingKept {
		table.add(&arrival{peer: addr(n)}, nil).handled()
	}
	other.handled()
	table.find(addr(1))
	for i, left := range table.slots {
		if left != nil {
			t.Fatalf("place %d is taken, though nothing waits any more", i)
		}
	}
	for n := range 10 * connectingSlots {
		table.add(&arrival{peer: addr(n)}, nil)
	}
	if last := addr(10*connectingSlots - 1); table.find(last) == nil {
		t.Error("the latest gives way")
	}
}
