package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/store"
	"sngate/store/storetest"
)

// What the store has missed is written again in portions, and only the sessions that wait
// for it are refused meanwhile.

// spoolOctets fills the spool of a device by publishing n messages of 60,000 octets.
func (d *device) spoolOctets(n int) {
	d.r.t.Helper()
	id := sn12.ShortID("ab")
	for i := range n {
		msgID := uint16(i + 1)
		d.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: id, MsgID: msgID, Data: make([]byte, 60_000)})
		d.wantMessage("spooled", sn12.PubAck{TopicID: id, MsgID: msgID})
	}
}

func largeSpool(o *Options) {
	o.Session.SpoolBytes, o.SpoolTotalBytes = 64<<20, 256<<20
}

// wantSpooled expects that the store has n messages of a client.
func (r *rig) wantSpooled(clientID string, n int) {
	r.t.Helper()
	synctest.Wait()
	got := 0
	for _, key := range r.store.Keys() {
		if strings.HasPrefix(key, "spool "+clientID+"\x00") {
			got++
		}
	}
	if got != n {
		r.t.Fatalf("%d messages of %s in the store, want %d", got, clientID, n)
	}
}

// A session that is larger than the store's queue is written again like any other.
func TestSessionLargerThanTheQueueOfTheStoreIsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, largeSpool)
		big, other := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		big.connectWith(false, 6000, "big")
		other.connectWith(false, 6000, "other")
		r.broker.Kill(true)
		synctest.Wait()
		const n = store.DefaultQueueBytes/60_000 + 10
		big.spoolOctets(n)
		r.store.Fail(storetest.ErrReadOnly)
		big.wantRegister("the store fails", "t", sn12.RejectedCongestion)
		big.sleep(6000)
		r.store.Fail(nil)
		time.Sleep(2 * time.Second)
		for i := range 10 {
			other.wantRegister("the store works again", fmt.Sprint(i), sn12.Accepted)
			time.Sleep(time.Second)
		}
		r.wantSpooled("big", n)
		if faults := r.gateway.degraded(); len(faults) > 0 {
			t.Fatalf("%q", faults)
		}
	})
}

// Together the sessions are larger than the store's queue: they are written one after
// the other, as the disk takes them, and none is refused.
func TestRepairsLeaveRoomInTheQueueOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, largeSpool)
		const devices, each = 10, 40
		var list []*device
		for i := range devices {
			d := r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
			d.connectWith(false, 6000, fmt.Sprintf("dev-%d", i))
			list = append(list, d)
		}
		other := r.device("10.0.2.1:5000")
		other.connectWith(false, 6000, "other")
		r.broker.Kill(true)
		synctest.Wait()
		for _, d := range list {
			d.spoolOctets(each)
		}
		r.store.Fail(storetest.ErrReadOnly)
		for _, d := range list {
			d.wantRegister("the store fails", "t", sn12.RejectedCongestion)
			d.sleep(6000)
		}
		r.store.Fail(nil)
		r.store.SetDelay(800 * time.Millisecond)
		time.Sleep(time.Second + 200*time.Millisecond)
		synctest.Wait()
		waiting := int(r.gateway.shards[0].repairs.n.Load())
		if waiting == 0 || waiting >= devices {
			t.Fatalf("%d of %d sessions wait, want some", waiting, devices)
		}
		if faults := fmt.Sprint(r.gateway.degraded()); faults != fmt.Sprintf("[store: changes to %d sessions were not taken and have to be written again]", waiting) {
			t.Errorf("/readyz says %s", faults)
		}
		other.sendMessage(sn12.Register{MsgID: 3, TopicName: []byte("t")})
		if ack, ok := other.next(time.Second).(sn12.RegAck); !ok || ack.ReturnCode != sn12.Accepted {
			t.Errorf("a device whose session is complete in the store: %+v", ack)
		}
		time.Sleep(5 * time.Second)
		for i := range list {
			r.wantSpooled(fmt.Sprintf("dev-%d", i), each)
		}
		if n, faults := r.store.Stats().Refused, r.gateway.degraded(); n > 0 || len(faults) > 0 {
			t.Errorf("%d batches refused, %q", n, faults)
		}
	})
}

// A queue that is full is logged and shown, though no commit has failed.
func TestFullQueueOfTheStoreIsLoggedAndShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 6000, "dev")
		r.store.SetBusy(true)
		d.wantRegister("the queue is full", "t", sn12.RejectedCongestion)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		const fault = "changes to 1 sessions were not taken and have to be written again"
		if faults := fmt.Sprint(r.gateway.degraded()); faults != "[store: "+fault+"]" {
			t.Errorf("/readyz says %s", faults)
		}
		r.store.SetBusy(false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		log := r.log.String()
		fails, works := strings.Count(log, fault), strings.Count(log, "store works again")
		if faults := r.gateway.degraded(); fails != 1 || works != 1 || len(faults) > 0 {
			t.Errorf("logged %d times that it fails and %d times that it works; /readyz says %q", fails, works, faults)
		}
	})
}

// invalidStore answers batches with a certain topic as those that no store would take.
type invalidStore struct{ *storetest.Store }

func (s invalidStore) Submit(b store.Batch) bool {
	for _, op := range b.Ops {
		if bytes.HasSuffix(op.Value, []byte("invalid")) {
			go b.Done(fmt.Errorf("%w: for the test", store.ErrInvalid))
			return true
		}
	}
	return s.Store.Submit(b)
}

// The fault of one session's change is that session's alone.
func TestInvalidBatchDoesNotStopTheStoreForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDurableRig(t, func(o *Options) { o.Store = invalidStore{o.Store.(*storetest.Store)} })
		bad, other := r.device("10.0.1.1:5000"), r.device("10.0.1.2:5000")
		bad.connectWith(false, 6000, "bad")
		other.connectWith(false, 6000, "other")
		bad.wantRegister("it cannot be stored", "invalid", sn12.RejectedCongestion)
		other.wantRegister("others go on", "t", sn12.Accepted)
		bad.wantRegister("it goes on as well", "t", sn12.Accepted)
		r.wantDropped(session.ReasonStoreFailed, 1)
		if faults := r.gateway.degraded(); len(faults) > 0 {
			t.Errorf("/readyz says %q", faults)
		}
		if n := strings.Count(r.log.String(), `"client_id":"bad","error":"invalid batch: for the test"`); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}
