package gateway

import (
	"fmt"
	"testing"
	"time"

	"sngate/gateway/session"
	"sngate/internal/deadline"
	"sngate/snpacket/sn12"
)

// A session kept for a device that has gone ends when its time is over, and one whose
// device was there since is kept from then on. At the broker nothing is done in the name of
// the device: it may be connected through another gateway.
func TestKeptSessionsExpire_Case156(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, func(o *Options) { o.Expiry = 2 * time.Hour })
		var d [3]*device
		for i := range d {
			d[i] = r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
			d[i].connectWith(false, 60, fmt.Sprintf("dev-%d", i))
			d[i].sendMessage(sn12.Subscribe{QoS: 1, MsgID: 1, TopicName: fmt.Appendf(nil, "to/%d", i)})
			d[i].discard()
		}
		d[0].send("02 18")
		d[0].want("DISCONNECT", "02 18")
		time.Sleep(time.Hour) // the others are lost after 90 s
		d[2].discard()
		d[2].connectWith(false, 60, "dev-2")
		d[2].send("02 18")
		d[2].want("DISCONNECT", "02 18")
		r.wantSessions("kept", 3)
		before, _ := r.broker.Connects()
		time.Sleep(time.Hour - time.Second)
		r.wantSessions("kept", 3)
		time.Sleep(2 * time.Second)
		r.wantSessions("dev-0 has expired", 2)
		time.Sleep(90 * time.Second)
		r.wantSessions("dev-1 has expired", 1)
		r.wantDropped(session.ReasonSessionExpired, 2)
		if durable {
			r.wantStored("dev-2", "sessions dev-2|Fto/2", "sessions dev-2|S", "topics dev-2||\x02")
		}
		if after, _ := r.broker.Connects(); after != before {
			t.Fatalf("%d connects for sessions that expire", after-before)
		}
		d[0].discard()
		d[0].connectWith(false, 60, "dev-0")
		r.wantSessions("it is back", 2)
	})
}

// Of many that end together not all expire at once.
func TestExpiryIsPaced_Case156(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, durable bool) {
		r := newRig(t, func(o *Options) { o.Expiry = time.Hour })
		const n = 100
		for i := range n {
			d := r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
			d.connectWith(false, 60, fmt.Sprintf("dev-%d", i))
			d.send("02 18")
		}
		time.Sleep(time.Hour + n/2*expiryPace)
		if left := r.gateway.limits.sessions.Load(); left < n/2-2 || left > n/2+2 {
			t.Fatalf("%d of %d sessions are left when half the time is over", left, n)
		}
		time.Sleep(n * expiryPace)
		r.wantSessions("all have expired", 0)
		late := r.gateway.shards[0].spares.nextExpiry(r.gateway.opts.Expiry)
		if late != deadline.Never {
			t.Fatalf("the shard waits for an expiry at %v", late)
		}
		if durable {
			r.wantStored("nothing")
		}
	})
}

func TestKeptSessionsStayWithoutExpiry(t *testing.T) {
	withAndWithoutStore(t, func(t *testing.T, newRig rigMaker, _ bool) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		d.send("02 18")
		time.Sleep(30 * 24 * time.Hour)
		r.wantSessions("kept", 1)
	})
}
