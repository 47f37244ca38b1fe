package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

func TestReopenConnectsAtOnceAndReportsUp(t *testing.T) {
	for _, present := range []bool{true, false} {
		bubble(t, upstream.Options{}, func(r *rig) {
			o := r.link()
			will := &upstream.Will{Topic: "w", Message: []byte("gone")}
			o.Reopen(r.now(), &upstream.Connect{ClientID: "dev", CleanSession: true, KeepAlive: 60, Will: will}, upstream.ReopenNow)
			will.Message[0] = 'X' // copied
			r.runUntilIdle()
			c := r.lis.Accept(t).Accept(present)
			if !c.CleanSession || c.Keepalive != 60 || string(c.WillMessage) != "gone" {
				t.Errorf("got %v", c)
			}
			if e := o.want(upstream.EventUp, "accepted"); e.SessionPresent {
				t.Error("a clean session is never present")
			}
		})
		bubble(t, upstream.Options{}, func(r *rig) {
			o := r.link()
			o.Reopen(r.now(), persistent, upstream.ReopenNow)
			o.accept(present)
			if e := o.want(upstream.EventUp, "accepted"); e.SessionPresent != present {
				t.Errorf("session present %v", e.SessionPresent)
			}
		})
	}
}

func TestReopenKeepsWhatIsInFlight(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o := r.link()
		o.Publish(r.now(), 1, "t", []byte("x"), 1, false)
		o.Reopen(r.now(), &upstream.Connect{ClientID: "dev", CleanSession: true}, upstream.ReopenNow)
		p := o.accept(false)
		o.want(upstream.EventUp, "up")
		wantPublish(p, "x", 1, false, "published before")
	})
}

func TestReopenThatFailsIsTriedAgainAsAfterALoss(t *testing.T) {
	down := true
	var lis *upstreamtest.Listener
	opt := upstream.Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if down {
			return nil, errors.New("down")
		}
		return lis.Dial(ctx, network, address)
	}}
	bubble(t, opt, func(r *rig) {
		lis = r.lis
		o := r.link()
		o.Reopen(r.now(), persistent, upstream.ReopenNow)
		for _, seconds := range []time.Duration{1, 2, 4, 8} {
			if e := o.want(upstream.EventDown, "each try that fails"); e.Err == nil || e.Refusal.Kind != upstream.NotRefused {
				t.Errorf("got %+v", e)
			}
			if wait := o.Deadline() - r.now(); wait != seconds*time.Second {
				t.Errorf("pause %v, want %d s", wait, seconds)
			}
			r.pass(o.Deadline() - r.now())
		}
		o.want(upstream.EventDown, "the last")
		down = false
		r.pass(o.Deadline() - r.now())
		p := r.lis.Accept(t)
		p.Read()
		p.SendRaw(0x20, 2, 0, 5)
		if e := o.want(upstream.EventDown, "refused, and not for good"); e.Refusal.Kind != upstream.RefusedForGood {
			t.Errorf("got %+v", e)
		}
		r.pass(o.Deadline() - r.now())
		p = r.lis.Accept(t)
		p.Read()
		r.pass(10*time.Second - 1)
		o.wantQuiet("not yet")
		r.pass(1)
		if e := o.want(upstream.EventDown, "no CONNACK"); !errors.Is(e.Err, upstream.ErrTimeout) {
			t.Errorf("got %+v", e)
		}
		r.pass(o.Deadline() - r.now())
		o.accept(true)
		o.want(upstream.EventUp, "in the end")
	})
}

func TestReopenTooLargeForMQTTIsNotTried(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o := r.link()
		o.Reopen(r.now(), &upstream.Connect{ClientID: string(make([]byte, 65536))}, upstream.ReopenNow)
		if e := o.want(upstream.EventDown, "too large"); !errors.Is(e.Err, upstream.ErrTooLarge) {
			t.Errorf("got %+v", e)
		}
		if o.Deadline() != upstream.Never {
			t.Error("it is to be tried again")
		}
	})
}

func TestReopenLeavesALinkThatIsNotIdle(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Reopen(r.now(), persistent, upstream.ReopenNow)
		o.Reopen(r.now(), persistent, upstream.ReopenWhenNudged)
		o.wantQuiet("nothing")
		p.WantQuiet("nothing")
	})
}

func TestDormantLinkWakesWhenTheDeviceSpeaks(t *testing.T) {
	for name, speak := range map[string]func(o *owned){
		"nudge":       func(o *owned) { o.Nudge(o.r.now()) },
		"publish":     func(o *owned) { o.Publish(o.r.now(), 0, "t", nil, 0, false) },
		"subscribe":   func(o *owned) { o.Subscribe(o.r.now(), 0, "f", 0); o.want(upstream.EventSubscribed, "no connection") },
		"ping":        func(o *owned) { o.Ping(o.r.now(), 0); o.want(upstream.EventPong, "no connection") },
		"unsubscribe": func(o *owned) { o.Unsubscribe(o.r.now(), 0, "f"); o.want(upstream.EventUnsubscribed, "no connection") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				o := r.link()
				o.Reopen(r.now(), persistent, upstream.ReopenWhenNudged)
				r.pass(24 * time.Hour)
				o.wantQuiet("dormant")
				if r.lis.Dialled() != 0 || upstream.Parked(o.Link) || o.Deadline() != upstream.Never {
					t.Fatalf("dialled %d, parked %v, deadline %v", r.lis.Dialled(), upstream.Parked(o.Link), o.Deadline())
				}
				speak(o)
				r.runUntilIdle()
				p := r.lis.Accept(t)
				p.Read()
				p.SendRaw(0x20, 2, 0, 3)
				if e := o.want(upstream.EventDown, "as after a loss"); e.Refusal.Kind != upstream.RefusedForNow {
					t.Errorf("got %+v", e)
				}
				r.pass(o.Deadline() - r.now())
				o.accept(true)
				o.want(upstream.EventUp, "up")
			})
		})
	}
}

func TestCloseOfADormantLink(t *testing.T) {
	for _, mode := range []upstream.CloseMode{upstream.CloseGraceful, upstream.CloseDrain, upstream.CloseAbort} {
		bubble(t, upstream.Options{}, func(r *rig) {
			o := r.link()
			o.Reopen(r.now(), persistent, upstream.ReopenWhenNudged)
			o.Close(r.now(), mode)
			o.want(upstream.EventClosed, "there is nothing to wait for")
			if r.lis.Dialled() != 0 {
				t.Errorf("mode %d: dialled", mode)
			}
		})
	}
	bubble(t, upstream.Options{}, func(r *rig) {
		o := r.link()
		o.publishOwn(1, "x")
		o.Reopen(r.now(), persistent, upstream.ReopenWhenNudged)
		o.Close(r.now(), upstream.CloseDrain)
		p := o.accept(true)
		o.want(upstream.EventUp, "the outbox is not empty")
		wantOwn(p, false, "drained")
		o.received(p, "PUBREC")
		o.release(1)
		wantPubrel(p, "released")
		ack(p, pubcomp, ownID)
		o.want(upstream.EventPublished, "drained")
		r.runUntilIdle()
		upstreamtest.Want[*packets.DisconnectPacket](p, "then closed")
		p.Conn.Close()
		o.want(upstream.EventClosed, "closed")
	})
}

func TestConnectOfADormantLinkIsAnswered(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o := r.link()
		o.Reopen(r.now(), persistent, upstream.ReopenWhenNudged)
		o.connect(persistent, true)
		o.wantQuiet("once")
	})
}

// Thousands of reopened links wait for one slot, longer than ConnectTimeout: that is not
// counted.
func TestReopenWaitsForItsTurnAsLongAsItTakes(t *testing.T) {
	bubble(t, upstream.Options{MaxDials: 1, ReconnectMin: time.Hour, ReconnectMax: 2 * time.Hour}, func(r *rig) {
		const n = 30
		for range n {
			r.link().Reopen(r.now(), persistent, upstream.ReopenNow)
		}
		for i := range n {
			r.pass(5 * time.Second)
			p := r.lis.Accept(t)
			if i%3 != 0 {
				p.Accept(true)
				r.links[i].want(upstream.EventUp, "in its turn")
				continue
			}
			p.Read()
			r.pass(5*time.Second - 1)
			r.links[i].wantQuiet("its own time is not over")
			r.pass(1)
			r.links[i].want(upstream.EventDown, "10 s after it got the slot")
		}
		wantNothingWaits(r)
	})
}

func wantNothingWaits(r *rig) {
	r.t.Helper()
	if s := r.d.Stats(); s.Waiting.Load() != 0 || s.Dialling.Load() != 0 {
		r.t.Errorf("%d waiting, %d dialling", s.Waiting.Load(), s.Dialling.Load())
	}
}

func TestConnectsOfDevicesGoBeforeReopenedOnes(t *testing.T) {
	bubble(t, upstream.Options{MaxDials: 1, MaxWaiting: 4}, func(r *rig) {
		id := func(name string) *upstream.Connect { return &upstream.Connect{ClientID: name} }
		for i := range 5 {
			r.link().Reopen(r.now(), id(fmt.Sprint("reopened ", i)), upstream.ReopenNow)
		}
		sleeper := r.link()
		sleeper.Reopen(r.now(), id("sleeper"), upstream.ReopenWhenNudged)
		for i := range 2 {
			r.link().Connect(r.now(), id(fmt.Sprint("device ", i)))
		}
		sleeper.Nudge(r.now())
		r.links[3].Nudge(r.now()) // its device has spoken
		r.links[3].Nudge(r.now())
		r.links[4].Nudge(r.now()) // the queue in front is full: it stays where it is
		r.links[2].Close(r.now(), upstream.CloseGraceful)
		r.links[2].want(upstream.EventClosed, "out of the queue")
		var got []string
		for range 8 - 1 {
			r.runUntilIdle()
			got = append(got, r.lis.Accept(t).Accept(false).ClientIdentifier)
		}
		want := []string{"reopened 0", "device 0", "device 1", "sleeper", "reopened 3", "reopened 1", "reopened 4"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		r.runUntilIdle()
		wantNothingWaits(r)
	})
}

func TestReopenBeyondMaxWaitingIsTriedAgain(t *testing.T) {
	bubble(t, upstream.Options{MaxDials: 1, MaxWaiting: 1}, func(r *rig) {
		for range 3 {
			r.link().Reopen(r.now(), persistent, upstream.ReopenNow)
		}
		if e := r.links[2].want(upstream.EventDown, "the queue is full"); !errors.Is(e.Err, upstream.ErrBusy) {
			t.Errorf("got %+v", e)
		}
		for range 2 {
			r.runUntilIdle()
			r.lis.Accept(t).Accept(true)
		}
		r.pass(r.links[2].Deadline() - r.now())
		r.links[2].accept(true)
		r.links[2].want(upstream.EventUp, "there is room")
	})
}
