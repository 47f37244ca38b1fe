package upstream_test

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/goleak"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig owns Links the way a shard of the gateway does, in a synctest bubble: one inbox,
// one clock, deadlines obeyed.
type rig struct {
	t     *testing.T
	opt   upstream.Options
	d     *upstream.Dialer
	lis   *upstreamtest.Listener
	inbox upstreamtest.Inbox
	start time.Time
	links []*owned
	stuck bool // inputs are left in the inbox
}

// owned is a Link and what it has reported.
type owned struct {
	upstream.Link
	r      *rig
	events []upstream.Event
	past   []upstream.Event // those a test has set aside

	repeated  int // EventRepeated
	completes []upstream.Identity
	forgetful bool // PUBREL is not answered
}

// bubble runs f in a synctest bubble with a rig whose dials arrive at r.lis, and with
// jitter at its least.
func bubble(t *testing.T, opt upstream.Options, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, lis: upstreamtest.NewListener(0), inbox: make(upstreamtest.Inbox, 256), start: time.Now()}
		if opt.Dial == nil {
			opt.Dial = r.lis.Dial
		}
		if opt.Address == "" {
			opt.Address = "broker.example:1883"
		}
		if opt.Rand == nil {
			opt.Rand = func() float64 { return 0 }
		}
		r.opt = opt
		d, err := upstream.NewDialer(opt)
		if err != nil {
			t.Fatal(err)
		}
		r.d = d
		defer d.Close()
		f(r)
	})
}

func (r *rig) now() time.Duration { return time.Since(r.start) }

func (r *rig) link() *owned {
	o := &owned{r: r}
	o.Link = r.d.NewLink(r.inbox, o)
	r.links = append(r.links, o)
	return o
}

// runUntilIdle lets everything happen that happens without time passing.
func (r *rig) runUntilIdle() {
	for busy := true; busy; {
		for _, o := range r.links {
			o.collect()
		}
		synctest.Wait()
		busy = false
		for !r.stuck {
			select {
			case in := <-r.inbox:
				o := in.Owner.(*owned)
				if in.Link != o.Link {
					r.t.Fatal("an Input names another Link than its owner's")
				}
				o.Input(r.now(), &in)
				o.collect()
				busy = true
				continue
			default:
			}
			break
		}
	}
}

func (o *owned) collect() {
	for _, e := range o.AppendEvents(nil) {
		if e.Kind == upstream.EventRepeated {
			o.repeated++
			continue
		}
		o.events = append(o.events, e)
		if e.Kind == upstream.EventReleased && !o.forgetful {
			o.completes = append(o.completes, e.Identity)
		}
	}
	for ; len(o.completes) > 0; o.completes = o.completes[1:] {
		o.Complete(o.completes[0])
	}
	o.Flush(o.r.now())
	o.events = append(o.events, o.AppendEvents(nil)...)
}

// pass lets time pass, with the links' deadlines obeyed.
func (r *rig) pass(d time.Duration) {
	end := r.now() + d
	for {
		r.runUntilIdle()
		next := end
		for _, o := range r.links {
			next = min(next, max(o.Deadline(), r.now()))
		}
		<-time.After(next - r.now())
		r.runUntilIdle()
		if r.now() >= end && !slices.ContainsFunc(r.links, func(o *owned) bool { return o.Deadline() <= r.now() }) {
			return
		}
		for _, o := range r.links {
			if o.Deadline() <= r.now() {
				o.Advance(r.now())
				o.collect()
			}
		}
	}
}

// want takes the next event, which must be of the kind given.
func (o *owned) want(kind upstream.EventKind, why string) upstream.Event {
	o.r.t.Helper()
	o.r.runUntilIdle()
	if len(o.events) == 0 {
		o.r.t.Fatalf("%s: no event, want kind %d", why, kind)
	}
	e := o.events[0]
	o.events = o.events[1:]
	if e.Kind != kind {
		o.r.t.Fatalf("%s: event %+v, want kind %d", why, e, kind)
	}
	return e
}

func (o *owned) wantQuiet(why string) {
	o.r.t.Helper()
	o.r.runUntilIdle()
	if len(o.events) > 0 {
		o.r.t.Fatalf("%s: unexpected event %+v", why, o.events[0])
	}
}

// up connects a new link and returns the broker's end.
func (r *rig) up(c *upstream.Connect, present bool) (*owned, *upstreamtest.Peer) {
	r.t.Helper()
	o := r.link()
	return o, o.connect(c, present)
}

func (o *owned) connect(c *upstream.Connect, present bool) *upstreamtest.Peer {
	o.r.t.Helper()
	o.Connect(o.r.now(), c)
	p := o.accept(present)
	if e := o.want(upstream.EventConnected, "the broker accepted"); e.SessionPresent != present {
		o.r.t.Fatalf("session present %v, want %v", e.SessionPresent, present)
	}
	return p
}

// accept plays the broker for the connect in progress.
func (o *owned) accept(present bool) *upstreamtest.Peer {
	o.r.t.Helper()
	o.r.runUntilIdle()
	if o.r.lis.Dialled() == 0 {
		o.r.t.Fatal("nothing has dialled")
	}
	p := o.r.lis.Accept(o.r.t)
	p.Accept(present)
	o.r.runUntilIdle()
	return p
}

// reconnect breaks the connection and lets the link come back.
func (o *owned) reconnect(p *upstreamtest.Peer, present bool) *upstreamtest.Peer {
	o.r.t.Helper()
	p.Conn.Close()
	o.want(upstream.EventDown, "the broker closed the connection")
	o.r.pass(2 * time.Second)
	p = o.accept(present)
	if e := o.want(upstream.EventUp, "the link reconnects"); e.SessionPresent != present {
		o.r.t.Fatalf("session present %v, want %v", e.SessionPresent, present)
	}
	return p
}

var persistent = &upstream.Connect{ClientID: "dev", KeepAlive: 600}

// Publish publishes without an identifier of the owner.
func (o *owned) Publish(now time.Duration, t upstream.Token, topic string, payload []byte, qos uint8, retain bool) {
	o.Link.Publish(now, upstream.Publish{Token: t, Topic: topic, Payload: payload, QoS: qos, Retain: retain})
}

// wantRaw reads one packet, which must be these octets.
func wantRaw(p *upstreamtest.Peer, raw []byte, why string) {
	p.T.Helper()
	var b bytes.Buffer
	if err := p.Read().Write(&b); err != nil || !bytes.Equal(b.Bytes(), raw) {
		p.T.Fatalf("%s: got % x (%v), want % x", why, b.Bytes(), err, raw)
	}
}

// pong reads a PINGREQ and answers it.
func pong(p *upstreamtest.Peer, why string) {
	p.T.Helper()
	upstreamtest.Want[*packets.PingreqPacket](p, why)
	p.SendRaw(0xd0, 0)
}
