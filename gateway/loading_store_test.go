package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/snpacket/sn12"
	"sngate/store"
	"sngate/store/storetest"
)

// The record that says what a session was is lost. The rest of it is rubbish, and must not come
// back as a part of the next session with that client id.
func TestRestOfASessionThatIsLostIsErased(t *testing.T) {
	inLoadingRig(t, nil, func(t *testing.T, r *rig) {
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 600, "dev")
		d.subscribe("t", 1)
		d.sleep(600)
		r.publish("t", "a", 1)
		time.Sleep(2 * time.Second)
		r.crash()
		var ops []store.Op
		for key := range storetest.Dump(t, r.store) {
			if rest, ok := strings.CutPrefix(key, "sessions/"); ok && strings.HasPrefix(rest, "dev\x00") {
				ops = append(ops, store.Op{Kind: store.Delete, Bucket: store.Sessions, Key: []byte(rest)})
			}
		}
		done := make(chan error, 1)
		r.store.Submit(store.Batch{Ops: ops, Done: func(err error) { done <- err }})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		r.start()
		time.Sleep(2 * time.Second)
		for key := range sessionsOf(t, r.store) {
			t.Errorf("the store still has %q", key)
		}
	})
}

// What the spools have is counted from the start, also of sessions that are still being loaded.
func TestSpoolLimitOfAllHoldsWhileSessionsAreLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 64 << 10
		r := newDurableRig(t, func(o *Options) { o.SpoolTotalBytes, o.Session.MaxInFlight = limit, 100 })
		two := r.device("10.0.1.2:5000")
		two.connectWith(false, 6000, "two")
		r.fillSpool()
		r.wantSpoolOctets(limit, limit+21_000)
		time.Sleep(2 * time.Second)
		s := r.slowStart()
		s.answer("two")
		for i := range uint16(40) {
			two.sendMessage(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: i + 1, Data: make([]byte, 20_000)})
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(15 * time.Second)
		s.answer()
		time.Sleep(time.Second)
		r.wantSpoolOctets(limit, limit+21_000)
	})
}
