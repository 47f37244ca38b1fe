package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/store/storetest"
	"sngate/upstream/upstreamtest"
)

// A store that fails and recovers: what needs it is refused with 0x01, the rest goes on,
// and afterwards the store has all it should.

// faults are the ways in which a store fails.
func faults() map[string]struct{ begin, end func(*storetest.Store) } {
	heal := func(s *storetest.Store) { s.Fail(nil) }
	return map[string]struct{ begin, end func(*storetest.Store) }{
		"disk full":  {func(s *storetest.Store) { s.Fail(storetest.ErrFull) }, heal},
		"read-only":  {func(s *storetest.Store) { s.Fail(storetest.ErrReadOnly) }, heal},
		"queue full": {func(s *storetest.Store) { s.SetBusy(true) }, func(s *storetest.Store) { s.SetBusy(false) }},
	}
}

func (d *device) wantRegister(why, topic string, code sn12.ReturnCode) {
	d.r.t.Helper()
	d.sendMessage(sn12.Register{MsgID: 3, TopicName: []byte(topic)})
	if ack, ok := d.next(time.Second).(sn12.RegAck); !ok || ack.ReturnCode != code {
		d.r.t.Fatalf("%s: %+v, want code %v", why, ack, code)
	}
}

func TestStoreFailsAndRecovers(t *testing.T) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newDurableRig(t, nil)
				d, quits := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
				d.connectWith(false, 600, "dev")
				id, down := d.register("up"), d.subscribe("down", 1)
				quits.connect("quits")
				quits.register("up")
				synctest.Wait()
				fault.begin(r.store)
				failing(t, r, d, quits, id, down)
				fault.end(r.store)
				time.Sleep(2 * time.Second)
				recovered(t, r, d, id)
			})
		})
	}
}

// failing goes through what a device does while the store fails, up to its sleep.
func failing(t *testing.T, r *rig, d, quits *device, id, down uint16) {
	t.Helper()
	got := r.observe()
	for mid := uint16(10); mid < 13; mid++ {
		d.wantRegister("a new topic id has to be stored", "new", sn12.RejectedCongestion)
		d.sendMessage(sn12.Subscribe{QoS: 1, MsgID: mid, TopicName: []byte("new/#")})
		d.wantMessage("a subscription has to be stored", sn12.SubAck{MsgID: mid, ReturnCode: sn12.RejectedCongestion})
		d.wantRegister("a topic id that is stored", "up", sn12.Accepted)
		d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: mid, Data: []byte("x")})
		d.wantMessage("QoS 1 is relayed", sn12.PubAck{TopicID: id, MsgID: mid})
		d.sendMessage(sn12.Publish{TopicID: id, Data: []byte("x")})
		r.publish("down", "y", 1)
		d.wantMessage("messages are delivered", sn12.Publish{QoS: 1, TopicID: down, MsgID: mid - 9, Data: []byte("y")})
		d.sendMessage(sn12.PubAck{TopicID: down, MsgID: mid - 9})
		d.ping("PINGREQ")
		time.Sleep(2 * time.Second)
	}
	got.want(t, "QoS 1 and QoS 0", slices.Repeat([]string{"dev up x 1", "dev up x 0"}, 3)...)
	r.wantDropped(session.ReasonStoreFailed, 6)
	if faults := r.gateway.degraded(); r.store.Health() != nil && !slices.Equal(faults, []string{"store: " + r.store.Health().Error()}) {
		t.Errorf("/readyz says %q", faults)
	}
	quits.send("02 18")
	quits.wantMessage("goodbye", sn12.Disconnect{})
	d.sleep(600)
	r.publish("down", "held", 1)
	if n, _ := r.broker.Pending("dev"); n != 1 {
		t.Errorf("%d messages with the broker: what is not stored stays there", n)
	}
}

// recovered expects that the store works again and that it has what is so, which the next
// process shows.
func recovered(t *testing.T, r *rig, d *device, id uint16) {
	t.Helper()
	if faults := r.gateway.degraded(); len(faults) > 0 || r.gateway.keeper.Down() {
		t.Fatalf("still down: %q", faults)
	}
	r.wantStored("complete", "sessions dev|Fdown", "sessions dev|S", "topics dev||\x02", "topics dev||\x03")
	r.restart()
	r.wantState("as it was", session.StateAsleep, 1)
	got := r.observe()
	if held := d.wake("dev"); !slices.Equal(held, []string{"held"}) {
		t.Fatalf("got %q", held)
	}
	d.connectWith(false, 600, "dev")
	d.sendMessage(sn12.Publish{QoS: 1, TopicID: id, MsgID: 99, Data: []byte("z")})
	d.wantMessage("its topic id", sn12.PubAck{TopicID: id, MsgID: 99})
	got.want(t, "its topic id", "dev up z 1")
	d.wantRegister("what was refused is taken now", "new", sn12.Accepted)
	r.wantSessions("the other one is forgotten", 1)
}

// While neither the store nor the broker can be had, QoS 1 is held and then refused, and
// nothing that was acknowledged before is lost.
func TestStoreFailsWhileTheBrokerIsAway(t *testing.T) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newDurableRig(t, nil)
				got := r.observe()
				d := r.device("10.0.1.1:5000")
				d.connectWith(false, 600, "dev")
				r.broker.Kill(true)
				synctest.Wait()
				d.publishShort("spooled", 1, sn12.Accepted)
				fault.begin(r.store)
				id := sn12.ShortID("ab")
				for _, qos := range []uint8{1, 2} {
					d.sendMessage(sn12.Publish{QoS: qos, TopicIDType: sn12.TopicIDShort, TopicID: id, MsgID: 2, Data: []byte("y")})
					time.Sleep(21 * time.Second)
					d.wantMessage("refused in time", sn12.PubAck{TopicID: id, MsgID: 2, ReturnCode: sn12.RejectedCongestion})
				}
				d.wantQuiet("once")
				fault.end(r.store)
				time.Sleep(2 * time.Second)
				d.publishShort("spooled again", 3, sn12.Accepted)
				r.crash()
				r.broker.Start()
				r.start()
				time.Sleep(time.Minute)
				got.want(t, "what was acknowledged, in order", "dev ab x 1", "dev ab x 1")
				r.wantStored("delivered", "sessions dev|S")
			})
		})
	}
}

// What the store could not delete is deleted when it works again, also of sessions that
// are over by then.
func TestRecordsThatCouldNotBeDeletedAreDeletedLater(t *testing.T) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newDurableRig(t, nil)
				for i := range 10 {
					d := r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
					d.connect(fmt.Sprintf("dev-%d", i))
					d.subscribe("t", 2)
					d.sleep(60)
				}
				r.publish("t", "x", 1)
				r.publish("t", "y", 2)
				fault.begin(r.store)
				time.Sleep(100 * time.Second)
				r.wantSessions("all are lost", 0)
				if name != "disk full" && len(r.store.Keys()) < 10 {
					t.Fatalf("the store has %q: the test fails to make it fail", r.store.Keys())
				}
				fault.end(r.store)
				time.Sleep(2 * time.Second)
				r.wantStored("all is gone")
			})
		})
	}
}

// A failure in the middle: the batch that was on its way fails, those before and behind it
// do not.
func TestOneBatchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 600, "dev")
		r.store.StopCommits()
		d.sendMessage(sn12.Register{MsgID: 1, TopicName: []byte("a")})
		r.store.Fail(storetest.ErrReadOnly)
		r.store.StartCommits()
		d.wantMessage("refused", sn12.RegAck{MsgID: 1, ReturnCode: sn12.RejectedCongestion})
		r.store.Fail(nil)
		d.wantRegister("refused until the store has been looked at", "b", sn12.RejectedCongestion)
		time.Sleep(time.Second + time.Millisecond)
		first := d.register("b")
		r.restart()
		if id := d.register("b"); id != first {
			t.Fatalf("topic id %d now, was %d", id, first)
		}
		if id := d.register("a"); id == first {
			t.Fatalf("two topics with id %d", id)
		}
	})
}

// A store that answers late delays what needs it, and that alone.
func TestSlowStoreDelaysOnlyWhatNeedsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 600, "dev")
		r.store.SetDelay(3 * time.Second)
		d.sendMessage(sn12.Register{MsgID: 1, TopicName: []byte("a")})
		d.publishShort("relayed meanwhile", 2, sn12.Accepted)
		d.ping("answered meanwhile")
		d.sendMessage(sn12.Register{MsgID: 4, TopicName: []byte("a")}) // the device repeats it
		time.Sleep(3*time.Second - time.Millisecond)
		d.wantQuiet("not stored")
		time.Sleep(time.Millisecond)
		d.wantMessage("stored", sn12.RegAck{MsgID: 4, TopicID: 2})
		d.wantQuiet("answered once")
	})
}

// A will reaches the broker also while the store fails.
func TestWillWhileTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWill("dev", "will", "gone")
		r.store.Fail(storetest.ErrReadOnly)
		time.Sleep(2 * time.Minute)
		d.wantMessage("lost", sn12.Disconnect{})
		r.wantWill("published", "will", "gone")
		r.broker.Publish(upstreamtest.Message{Topic: "will", Retain: true})
		r.store.Fail(nil)
		time.Sleep(2 * time.Second)
		r.restart()
		time.Sleep(time.Hour)
		r.wantWill("not again: the store knows that it is lost", "will", "")
	})
}

func TestReadyTextOfAFailingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connect("dev")
		o := r.gateway.opsOptions()
		if got := append(o.NotReady(), o.Degraded()...); len(got) > 0 {
			t.Fatalf("%q", got)
		}
		r.store.Fail(storetest.ErrFull)
		d.wantRegister("refused", "a", sn12.RejectedCongestion)
		if got := append(o.NotReady(), o.Degraded()...); strings.Join(got, ";") != "store: no space left on device" {
			t.Fatalf("%q", got)
		}
	})
}
