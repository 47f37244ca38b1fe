package gateway

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/store"
	"sngate/upstream/upstreamtest"
)

// Sessions over a restart: wills, those that are kept, addresses, and that nothing is left
// of those that are over.

// wills counts the wills that are published, by the broker or by the gateway for it.
type wills struct {
	mu sync.Mutex
	n  map[string]int
}

func (r *rig) countWills() *wills {
	w := &wills{n: make(map[string]int)}
	count := func(_ string, m upstreamtest.Message) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.n[m.Topic]++
	}
	r.broker.Will, r.broker.Observe = count, count
	return w
}

func (w *wills) of(topic string) int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n[topic]
}

// The broker publishes the will when the gateway is killed. A device that is never heard
// of again is lost all the same at its time, and its will is published then.
func TestRestartWillOfADeviceThatNeverComesBack_Case148(t *testing.T) {
	for _, tt := range []struct {
		name             string
		clean, subscribe bool
		sleep            uint16
		after            time.Duration // silence counted from the restart
	}{
		{"active, clean, link opened at once", true, true, 0, 90 * time.Second},
		{"active, clean, link not opened", true, false, 0, 90 * time.Second},
		{"active, kept, link opened at once", false, true, 0, 90 * time.Second},
		{"asleep, clean, link opened at once", true, true, 600, 660 * time.Second},
		{"asleep, kept, link not opened", false, false, 600, 660 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newDurableRig(t, nil)
				w := r.countWills()
				d := r.device("10.0.1.1:5000")
				if tt.clean {
					d.connectWill("dev", "will", "gone")
				} else {
					d.connectWillKept("dev", "will", "gone", 60)
				}
				if tt.subscribe {
					d.subscribe("t", 1)
				}
				if tt.sleep > 0 {
					d.sleep(tt.sleep)
				}
				time.Sleep(80 * time.Second)
				r.restart()
				if n := w.of("will"); n != 1 {
					t.Fatalf("%d wills when the connection to the broker has ended, want 1", n)
				}
				time.Sleep(tt.after - time.Millisecond)
				d.wantQuiet("it has its whole time from the restart on")
				if n := w.of("will"); n != 1 {
					t.Fatalf("%d wills before its time, want 1", n)
				}
				time.Sleep(time.Millisecond)
				d.wantMessage("lost", sn12.Disconnect{})
				time.Sleep(20 * time.Second)
				if n := w.of("will"); n != 2 {
					t.Fatalf("%d wills, want the second one", n)
				}
				if tt.clean {
					r.wantSessions("forgotten", 0)
					r.wantStored("forgotten")
				} else {
					r.wantState("kept", session.StateLost, 1)
				}
				r.restart()
				time.Sleep(time.Hour)
				if n := w.of("will"); n != 2 {
					t.Fatalf("%d wills, one more after another restart", n)
				}
			})
		})
	}
}

// A device that comes back in time and leaves in good order has its will dropped.
func TestRestartWillIsGoneAfterAGoodbye_Case148(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWill("dev", "will", "gone")
		r.restart()
		w := r.countWills()
		d.ping("alive")
		d.send("02 18")
		d.wantMessage("goodbye", sn12.Disconnect{})
		time.Sleep(time.Hour)
		if n := w.of("will"); n != 0 {
			t.Fatalf("%d wills after DISCONNECT", n)
		}
		r.wantStored("nothing left")
	})
}

func TestRestartKeptSession_Case148(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		id := d.register("up")
		d.subscribe("t", 1)
		d.send("02 18")
		d.wantMessage("goodbye", sn12.Disconnect{})
		r.restart()
		r.wantState("kept", session.StateDisconnected, 1)
		if n := r.broker.Connected(); n != 1 {
			t.Fatalf("%d connections to the broker: only the gateway's own is wanted", n)
		}
		r.publish("t", "x", 1)
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
		d.wantMessage("it is not connected", sn12.Disconnect{})
		d.connectWith(false, 60, "dev")
		if got := d.receive(time.Second); !slices.Equal(got, []string{"x"}) {
			t.Fatalf("got %q", got)
		}
		got := r.observe()
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 2, Data: []byte("y")})
		d.wantMessage("its topic id is valid", sn12.PubAck{TopicID: id, MsgID: 2})
		got.want(t, "the same topic", "dev up y 1")
	})
}

// However a session ends that is not kept, nothing of it stays in the store.
func TestSessionsThatAreOverLeaveNoRecords(t *testing.T) {
	for name, end := range map[string]func(r *rig, d *device){
		"DISCONNECT": func(_ *rig, d *device) { d.send("02 18") },
		"loss":       func(*rig, *device) { time.Sleep(2 * time.Hour) },
		"asleep, address taken, loss": func(_ *rig, d *device) {
			d.sleep(600)
			d.connect("another")
			d.send("02 18")
			time.Sleep(2 * time.Hour)
		},
		"address taken":       func(_ *rig, d *device) { d.connect("another"); d.send("02 18") },
		"stop of the gateway": func(r *rig, _ *device) { _ = r.gateway.Stop(time.Second) },
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s restart=%v", name, restart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newDurableRig(t, nil)
					d := r.device("10.0.1.1:5000")
					d.connectWill("dev", "will", "gone")
					d.register("up")
					d.subscribe("t/#", 2)
					r.publish("t/1", "x", 2) // REGISTER, not answered
					d.sendMessage(sn12.Publish{QoS: 2, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: 9})
					synctest.Wait()
					d.discard()
					if restart {
						r.restart()
						time.Sleep(time.Second)
						d.discard()
					}
					end(r, d)
					time.Sleep(20 * time.Second)
					r.wantStored("all is gone")
				})
			})
		}
	}
}

func TestRestartCleanSessionBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		d.register("up")
		d.subscribe("t", 1)
		r.restart()
		d.connectWith(true, 60, "dev")
		r.wantStored("what CleanSession=1 drops is dropped", "sessions dev|S")
		r.publish("t", "x", 1)
		d.wantQuiet("no subscription")
	})
}

func TestRestartAfterTheAddressHasMoved_Case148(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		id := d.subscribe("t", 1)
		d.sleep(600)
		moved := r.device("10.0.1.1:6000")
		moved.wake("dev")
		time.Sleep(2 * time.Second) // an address is stored within one
		r.restart()
		got := r.observe()
		moved.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("x")})
		moved.wantMessage("known by its new address", sn12.PubAck{TopicID: id, MsgID: 1})
		got.want(t, "relayed", "dev t x 1")
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("x")})
		d.wantMessage("the old address is nobody's", sn12.Disconnect{})
	})
}

// The address of a sleeper was taken over by another device: after the restart it is
// still that device's, whatever the order of the client ids, and no message of one is
// taken for the other's.
func TestRestartAfterAnAddressWasTakenOver_Case148(t *testing.T) {
	for _, guest := range []string{"a-guest", "z-guest"} {
		t.Run(guest, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newDurableRig(t, nil)
				d := r.device("10.0.1.1:5000")
				d.connectWith(false, 60, "sleeper")
				old := d.register("topic/of/the/sleeper")
				d.sleep(6000)
				d.connectWith(false, 60, guest)
				id := d.register("topic/of/the/guest")
				if id != old {
					t.Fatal("the test wants one topic id with two meanings")
				}
				r.restart()
				got := r.observe()
				d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("x")})
				d.wantMessage("served", sn12.PubAck{TopicID: id, MsgID: 1})
				got.want(t, "as the guest", guest+" topic/of/the/guest x 1")
				elsewhere := r.device("10.0.1.2:5000")
				elsewhere.wake("sleeper")
			})
		})
	}
}

// Two sessions that claim one address, after a crash between the records of its taking
// over: neither is served by the address.
func TestRestartWithTwoSessionsAtOneAddress_Case148(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		r.crash()
		value, _ := r.store.Value(store.Sessions, "dev\x00S")
		r.store.Submit(store.Batch{Ops: []store.Op{{Bucket: store.Sessions, Key: []byte("other\x00S"), Value: []byte(value)}}})
		synctest.Wait()
		r.start()
		r.wantState("both", session.StateActive, 2)
		d.send("02 16")
		d.wantMessage("whose it is cannot be told", sn12.Disconnect{})
		d.connectWith(false, 60, "dev")
		d.ping("told")
	})
}

func TestRestartWithoutTheListenerOfADevice_Case148(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		active, asleep := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		active.connectWith(false, 60, "active")
		asleep.connectWith(false, 60, "asleep")
		asleep.subscribe("t", 1)
		asleep.sleep(600)
		r.publish("t", "x", 1)
		r.opts.Listeners = []listen.Options{{Address: "10.0.0.1:1884"}}
		r.restart()
		r.addr = r.gateway.Addrs()[0]
		active.send("02 16")
		active.wantMessage("not known by its address", sn12.Disconnect{})
		active.connectWith(false, 60, "active")
		if got := asleep.wake("asleep"); !slices.Equal(got, []string{"x"}) {
			t.Fatalf("found by its client id, got %q", got)
		}
	})
}
