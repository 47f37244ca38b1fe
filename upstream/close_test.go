package upstream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

func TestCloseGracefulSendsDisconnectAndAwaitsTheEnd(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("last"), 1, false)
		o.Close(r.now(), upstream.CloseGraceful)
		r.runUntilIdle()
		m := upstreamtest.Want[*packets.PublishPacket](p, "what was published before")
		upstreamtest.Want[*packets.DisconnectPacket](p, "then DISCONNECT")
		o.wantQuiet("the end is not here")
		p.SendRaw(0x40, 2, byte(m.MessageID>>8), byte(m.MessageID))
		o.want(upstream.EventPublished, "acknowledged meanwhile")
		p.Conn.Close()
		o.want(upstream.EventClosed, "now")
		r.pass(time.Hour)
		o.wantQuiet("once, and no reconnect")
		wantIdle(t, r)
	})
}

func TestNothingFollowsDisconnect(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("x"), 2, false)
		p.Publish("t", "m", 2, 5, false)
		h := o.wantMessage("m", "received").Handle
		id := wantPublish(p, "x", 2, false, "published")
		o.Close(r.now(), upstream.CloseGraceful)
		r.runUntilIdle()
		upstreamtest.Want[*packets.DisconnectPacket](p, "closing")
		ack(p, pubrec, id)
		ack(p, pubrel, 77)
		o.Ack(r.now(), h)
		r.runUntilIdle()
		p.WantQuiet("MQTT 3.1.1 section 3.14.4")
		p.Conn.Close()
		o.want(upstream.EventClosed, "closed")
		p = o.connect(persistent, true)
		if rel := upstreamtest.Want[*packets.PubrelPacket](p, "the exchange goes on in the next connection"); rel.MessageID != id {
			t.Errorf("PUBREL %d, want %d", rel.MessageID, id)
		}
		p.Publish("t", "m", 2, 5, true)
		h = o.wantMessage("m", "what was not acknowledged before Close is received anew").Handle
		o.Ack(r.now(), h)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubrecPacket](p, "and so does the other")
	})
}

func TestCloseGracefulReadsToTheEndThoughPaused(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Pause()
		p.Publish("t", "unread", 1, 1, false)
		o.Close(r.now(), upstream.CloseGraceful)
		r.runUntilIdle()
		upstreamtest.Want[*packets.DisconnectPacket](p, "closing")
		p.Conn.Close()
		o.want(upstream.EventClosed, "the pause does not hide the end")
		o.wantQuiet("the message comes again in the next connection")
	})
}

func TestCloseAbortSendsNothing(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Close(r.now(), upstream.CloseAbort)
		o.want(upstream.EventClosed, "at once")
		p.WantEOF("no DISCONNECT: the will is published")
		o.wantQuiet("once")
	})
}

func TestEveryCloseIsAnsweredInEveryState(t *testing.T) {
	modes := []upstream.CloseMode{upstream.CloseGraceful, upstream.CloseDrain, upstream.CloseAbort}
	states := map[string]func(r *rig) *owned{
		"idle": func(r *rig) *owned { return r.link() },
		"opening": func(r *rig) *owned {
			o := r.link()
			o.Connect(r.now(), persistent)
			return o
		},
		"up": func(r *rig) *owned {
			o, _ := r.up(persistent, false)
			return o
		},
		"backoff": func(r *rig) *owned {
			o, p := r.up(persistent, false)
			p.Conn.Close()
			o.want(upstream.EventDown, "lost")
			return o
		},
		"closing": func(r *rig) *owned {
			o, _ := r.up(persistent, false)
			o.Close(r.now(), upstream.CloseGraceful)
			r.runUntilIdle()
			return o
		},
		"parked": parkedLink,
	}
	for name, enter := range states {
		for _, mode := range modes {
			bubble(t, upstream.Options{}, func(r *rig) {
				o := enter(r)
				r.runUntilIdle()
				o.events = nil
				o.Close(r.now(), mode)
				r.pass(20 * time.Second)
				n := 1
				if name == "closing" {
					n = 2
				}
				for range n {
					o.want(upstream.EventClosed, name)
				}
				o.wantQuiet(name)
				if o.Deadline() != upstream.Never || upstream.Parked(o.Link) {
					t.Errorf("%s: a closed link has a deadline or is parked", name)
				}
			})
		}
	}
}

func TestCloseDrainWaitsForAcknowledgementsOverReconnects(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("x"), 1, false)
		o.Close(r.now(), upstream.CloseDrain)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PublishPacket](p, "written, not acknowledged")
		p.WantQuiet("no DISCONNECT yet")
		p = o.reconnect(p, true)
		m := upstreamtest.Want[*packets.PublishPacket](p, "resent")
		p.SendRaw(0x40, 2, byte(m.MessageID>>8), byte(m.MessageID))
		o.want(upstream.EventPublished, "acknowledged")
		upstreamtest.Want[*packets.DisconnectPacket](p, "drained")
		p.Conn.Close()
		o.want(upstream.EventClosed, "closed")
	})
}

func TestCloseDrainGivesUpAfterItsTimeoutAndKeepsTheRest(t *testing.T) {
	bubble(t, upstream.Options{DrainTimeout: 3 * time.Second}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("x"), 1, false)
		o.Close(r.now(), upstream.CloseDrain)
		r.pass(3*time.Second - 1)
		o.wantQuiet("draining")
		r.pass(1)
		upstreamtest.Want[*packets.PublishPacket](p, "the message")
		upstreamtest.Want[*packets.DisconnectPacket](p, "time is over")
		p.Conn.Close()
		o.want(upstream.EventClosed, "closed")

		p = o.connect(persistent, true)
		if m := upstreamtest.Want[*packets.PublishPacket](p, "kept for the next Connect"); !m.Dup {
			t.Error("resent without DUP")
		}
	})
}

func TestDialerCloseEndsConnectionsWhoseOwnerIsGone(t *testing.T) {
	bubble(t, upstream.Options{MaxDials: 4}, func(r *rig) {
		_, p := r.up(persistent, false)
		full := make(upstreamtest.Inbox) // nobody receives
		for range 8 {
			r.d.NewLink(full, nil).Connect(r.now(), persistent)
		}
		r.runUntilIdle()
		for i := range 4 { // the other four wait for a slot
			q := r.lis.Accept(t)
			q.Read()
			q.SendRaw(0x20, 2, 0, byte(i%2)) // accepted or refused
		}
		for range 40 { // more than the reader hands over
			p.Publish("t", "x", 0, 0, false)
		}
		r.stuck = true
		r.runUntilIdle()
		r.d.Close()
		p.WantEOF("closed")
		o := r.link()
		o.Connect(r.now(), persistent)
		if e := o.want(upstream.EventRefused, "the dialer is closed"); !errors.Is(e.Err, upstream.ErrCancelled) {
			t.Errorf("got %+v", e)
		}
	})
}

func TestConnectCleanDiscardsWhatIsInFlight(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.Publish(r.now(), 1, "t", []byte("x"), 1, false)
		p.Publish("t", "m", 1, 9, false)
		h := o.want(upstream.EventMessage, "received").Handle
		o.Close(r.now(), upstream.CloseAbort)
		o.want(upstream.EventClosed, "closed")
		o.Connect(r.now(), &upstream.Connect{ClientID: "dev", CleanSession: true})
		if e := o.want(upstream.EventPublishFailed, "first"); e.Token != 1 {
			t.Errorf("token %d", e.Token)
		}
		p = o.accept(false)
		o.want(upstream.EventConnected, "then")
		o.Ack(r.now(), h)
		r.runUntilIdle()
		p.WantQuiet("nothing resent, and the handle is stale")
	})
}
