package gateway

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream/upstreamtest"
)

// A session kept for a device that has gone ends when its time is over, here and at the
// broker. One whose device was there since is kept from then on.
func TestKeptSessionsExpire_Case156(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Expiry = 2 * time.Hour })
		var mu sync.Mutex
		var ended []string
		r.broker.Ended = func(id string) {
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, id)
		}
		var d [3]*device
		for i := range d {
			d[i] = r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
			d[i].connectWith(false, 60, fmt.Sprintf("dev-%d", i))
			d[i].sendMessage(sn12.Subscribe{QoS: 1, MsgID: 1, TopicName: fmt.Appendf(nil, "to/%d", i)})
			d[i].drain()
		}
		d[0].send("02 18")
		d[0].want("DISCONNECT", "02 18")
		time.Sleep(time.Hour) // the others are lost after 90 s
		d[2].drain()
		d[2].connectWith(false, 60, "dev-2")
		d[2].send("02 18")
		d[2].want("DISCONNECT", "02 18")
		r.wantSessions("kept", 3)
		time.Sleep(time.Hour - time.Second)
		r.wantSessions("kept", 3)
		time.Sleep(2 * time.Second)
		r.wantSessions("dev-0 has expired", 2)
		time.Sleep(90 * time.Second)
		r.wantSessions("dev-1 has expired", 1)
		r.wantDropped(session.ReasonSessionExpired, 2)
		mu.Lock()
		defer mu.Unlock()
		ended = slices.Compact(ended) // its clean session ends as well
		if want := []string{"dev-0", "dev-1"}; !slices.Equal(ended, want) {
			t.Fatalf("the broker has ended %v, want %v", ended, want)
		}
		r.broker.Publish(upstreamtest.Message{Topic: "to/0", QoS: 1})
		if n, _ := r.broker.Pending("dev-0"); n != 0 {
			t.Fatalf("the broker collects %d messages for a device that has gone", n)
		}
		if n := r.broker.Connected(); n != 1 {
			t.Fatalf("%d connections, want only the gateway's own", n)
		}
	})
}

// Many that expire together do not stand in the way of devices that connect, and while
// the broker is away nothing expires: its sessions could not be ended.
func TestExpiryIsPacedAndWaitsForTheBroker_Case156(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Expiry = time.Hour })
		const n = 100
		for i := range n {
			d := r.device(fmt.Sprintf("10.0.1.%d:5000", i+1))
			d.connectWith(false, 60, fmt.Sprintf("dev-%d", i))
			d.send("02 18")
		}
		r.broker.Kill(true)
		time.Sleep(2 * time.Hour)
		r.wantSessions("the broker is away", n)
		r.broker.Start()
		time.Sleep(ownRetryMax + expiryRetry)
		r.wantSessions("all have expired", 0)
		before, _ := r.broker.Connects()
		if want := 2*n + 2; before != want {
			t.Fatalf("%d connects, want %d", before, want)
		}
		late := r.gateway.shards[0].nextExpiry()
		if late != never {
			t.Fatalf("the shard waits for an expiry at %v", late)
		}
	})
}

func TestKeptSessionsStayWithoutExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		d.send("02 18")
		time.Sleep(30 * 24 * time.Hour)
		r.wantSessions("kept", 1)
	})
}
