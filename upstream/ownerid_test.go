package upstream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// ownID is what exchange ownExchange has to be on the wire: the broker may know it from an
// earlier process, perhaps of another version.
const (
	ownID       = 0x9001
	ownExchange = 0x1002
)

// publishOwn publishes a message with an exchange of the owner.
func (o *owned) publishOwn(token upstream.Token, payload string, change ...func(m *upstream.Publish)) {
	m := upstream.Publish{Token: token, Topic: "t", Payload: []byte(payload), QoS: 2, Exchange: ownExchange}
	for _, f := range change {
		f(&m)
	}
	o.Link.Publish(o.r.now(), m)
	o.r.runUntilIdle()
}

func again(m *upstream.Publish)    { m.Again = true }
func released(m *upstream.Publish) { m.Released = true }

func numbered(exchange uint16) func(*upstream.Publish) {
	return func(m *upstream.Publish) { m.Exchange = exchange }
}

func (o *owned) release(token upstream.Token) {
	o.Link.Release(o.r.now(), token)
	o.r.runUntilIdle()
}

// wantOwn reads the PUBLISH of the owner's message.
func wantOwn(p *upstreamtest.Peer, dup bool, why string) {
	p.T.Helper()
	if id := wantPublish(p, "x", 2, dup, why); id != ownID {
		p.T.Fatalf("%s: identifier %#x, want %#x", why, id, ownID)
	}
}

func wantPubrel(p *upstreamtest.Peer, why string) {
	p.T.Helper()
	if rel := upstreamtest.Want[*packets.PubrelPacket](p, why); rel.MessageID != ownID {
		p.T.Fatalf("%s: PUBREL %#x, want %#x", why, rel.MessageID, ownID)
	}
}

// received plays the broker's PUBREC and takes the event.
func (o *owned) received(p *upstreamtest.Peer, why string) {
	o.r.t.Helper()
	ack(p, pubrec, ownID)
	if e := o.want(upstream.EventReceived, why); e.Token != 1 {
		o.r.t.Fatalf("%s: token %d", why, e.Token)
	}
}

// finish plays the broker's PUBCOMP and takes the event.
func (o *owned) finish(p *upstreamtest.Peer) {
	o.r.t.Helper()
	ack(p, pubcomp, ownID)
	if e := o.want(upstream.EventPublished, "PUBCOMP"); e.Token != 1 {
		o.r.t.Fatalf("token %d", e.Token)
	}
	o.wantQuiet("once")
	p.WantQuiet("that is all")
}

func TestPubrelWaitsForTheOwner_Case65(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.publishOwn(1, "x")
		wantOwn(p, false, "first")
		o.release(1)
		p.WantQuiet("Release before PUBREC does nothing")
		o.received(p, "PUBREC")
		p.WantQuiet("the owner has not answered")
		ack(p, pubrec, ownID)
		ack(p, pubcomp, ownID)
		o.wantQuiet("PUBREC is reported once, and PUBCOMP cannot be before PUBREL")
		o.release(2)
		o.release(0)
		p.WantQuiet("of another message, and of none")
		o.release(1)
		wantPubrel(p, "released")
		o.release(1)
		p.WantQuiet("once")
		ack(p, pubrec, ownID)
		r.runUntilIdle()
		wantPubrel(p, "a PUBREC that is repeated is answered")
		o.finish(p)
	})
}

// The connection is lost after each step, and the broker comes back with the session or
// without.
func TestOwnersExchangeContinuesAfterALossAtEachStep_Case152(t *testing.T) {
	steps := []struct {
		name    string
		present func(o *owned, p *upstreamtest.Peer) // what follows with the session
		step    func(o *owned, p *upstreamtest.Peer)
	}{
		{
			name:    "published",
			step:    func(o *owned, p *upstreamtest.Peer) {},
			present: func(o *owned, p *upstreamtest.Peer) { wantOwn(p, true, "again"); o.received(p, "now"); o.release(1) },
		},
		{
			name: "received",
			step: func(o *owned, p *upstreamtest.Peer) { o.received(p, "PUBREC") },
			present: func(o *owned, p *upstreamtest.Peer) {
				p.WantQuiet("it waits for the owner")
				o.wantQuiet("who knows already")
				o.release(1)
			},
		},
		{
			name:    "released",
			step:    func(o *owned, p *upstreamtest.Peer) { o.received(p, "PUBREC"); o.release(1); wantPubrel(p, "released") },
			present: func(o *owned, p *upstreamtest.Peer) {},
		},
	}
	for _, s := range steps {
		for _, present := range []bool{true, false} {
			name := s.name + " without session"
			if present {
				name = s.name + " with session"
			}
			t.Run(name, func(t *testing.T) {
				bubble(t, upstream.Options{}, func(r *rig) {
					o, p := r.up(persistent, false)
					o.publishOwn(1, "x")
					wantOwn(p, false, "first")
					s.step(o, p)
					p = o.reconnect(p, present)
					if present {
						s.present(o, p)
					} else {
						wantOwn(p, true, "everything begins anew")
						o.received(p, "the second PUBREC is reported, too")
						p.WantQuiet("a Release from before does not count")
						o.release(1)
					}
					wantPubrel(p, "released")
					o.finish(p)
				})
			})
		}
	}
}

// PUBREC comes, the connection is lost, and the owner releases while there is none.
func TestReleaseWithoutConnectionIsSentInTheNext(t *testing.T) {
	for _, present := range []bool{true, false} {
		bubble(t, upstream.Options{}, func(r *rig) {
			o, p := r.up(persistent, false)
			o.publishOwn(1, "x")
			wantOwn(p, false, "first")
			o.received(p, "PUBREC")
			p.Conn.Close()
			o.want(upstream.EventDown, "lost")
			o.release(1)
			r.pass(2 * time.Second)
			p = o.accept(present)
			o.want(upstream.EventUp, "back")
			if !present {
				wantOwn(p, true, "anew")
				o.received(p, "again")
				o.release(1)
			}
			wantPubrel(p, "released")
			o.finish(p)
		})
	}
}

// A message of an earlier process: what it is known to have come to decides how it goes
// on.
func TestMessageOfAnEarlierProcessGoesOn(t *testing.T) {
	for _, present := range []bool{true, false} {
		bubble(t, upstream.Options{}, func(r *rig) {
			o := r.link()
			o.publishOwn(1, "x", again)
			o.Await(1, false)
			o.Await(1, true)
			o.wantQuiet("it may be with the broker, so it is not taken back")
			o.Reopen(r.now(), persistent, upstream.ReopenNow)
			p := o.accept(present)
			o.want(upstream.EventUp, "reopened")
			wantOwn(p, true, "DUP from the first time")
			o.received(p, "PUBREC")
			o.release(1)
			wantPubrel(p, "released")
			o.finish(p)
		})
		bubble(t, upstream.Options{}, func(r *rig) {
			o := r.link()
			o.publishOwn(1, "x", released)
			o.Reopen(r.now(), persistent, upstream.ReopenNow)
			p := o.accept(present)
			o.want(upstream.EventUp, "reopened")
			if !present {
				wantOwn(p, true, "the broker has forgotten it")
				o.received(p, "PUBREC")
				p.WantQuiet("the Release of the earlier process does not count")
				o.release(1)
			}
			wantPubrel(p, "at once")
			o.finish(p)
		})
	}
}

// What the owner says to be released has been released in the session that it knows.
func TestReleasedIsForTheSessionThatTheOwnerKnows(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o := r.link()
		p := o.connect(persistent, true)
		o.publishOwn(1, "x", released)
		wantPubrel(p, "the broker has the session")
		o.finish(p)
		p = o.reconnect(p, false)
		r.pass(10 * time.Second) // so that it is not taken for a device that has moved
		p = o.reconnect(p, true)
		o.publishOwn(1, "x", released)
		wantPubrel(p, "the owner has known for long that there is a new session, and has got PUBREC in it")
		o.finish(p)
	})
}

func TestIdentifiersOfOwnerAndLinkDoNotCollide(t *testing.T) {
	for _, first := range []float64{0, 0.9999} {
		bubble(t, upstream.Options{Rand: func() float64 { return first }, MaxInFlight: 70, SendWindow: 70}, func(r *rig) {
			o, p := r.up(persistent, false)
			for i := range uint16(35) {
				o.publishOwn(upstream.Token(100+i), "x", numbered(upstream.MaxExchanges-i))
				if got := wantPublish(p, "x", 2, false, "of an exchange"); got != 0xFFFE-i {
					t.Fatalf("identifier %#x, want %#x", got, 0xFFFE-i)
				}
				o.Publish(r.now(), 1, "u", nil, 1, false)
				r.runUntilIdle()
				if got := wantPublish(p, "", 1, false, "with the link's"); got == 0 || got >= 0x8000 {
					t.Fatalf("identifier %#x", got)
				}
				o.Subscribe(r.now(), 1, "f", 0)
				r.runUntilIdle()
				if got := upstreamtest.Want[*packets.SubscribePacket](p, "with the link's").MessageID; got == 0 || got >= 0x8000 {
					t.Fatalf("identifier %#x", got)
				}
			}
		})
	}
}

func TestNumberOfAnExchangeIsChecked(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.publishOwn(1, "x")
		wantOwn(p, false, "first")
		for _, exchange := range []uint16{upstream.MaxExchanges + 1, 0xFFFF, ownExchange} {
			o.publishOwn(2, "y", numbered(exchange))
			if e := o.want(upstream.EventPublishFailed, "out of range, or in use"); e.Token != 2 || !errors.Is(e.Err, upstream.ErrInvalid) {
				t.Errorf("%#x: got %+v", exchange, e)
			}
		}
		for _, change := range []func(m *upstream.Publish){
			func(m *upstream.Publish) { m.QoS, m.Topic = 1, "another" },
			func(m *upstream.Publish) { m.Token = 0 },
		} {
			o.publishOwn(3, "z", change, again)
			m := upstreamtest.Want[*packets.PublishPacket](p, "the number is ignored")
			if m.MessageID >= 0x8000 || m.Dup {
				t.Errorf("got %v", m)
			}
		}
	})
}

// What the broker has received is not dropped, however many connections are lost.
func TestReceivedMessageOutlivesAnyNumberOfConnections(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		o.publishOwn(1, "x")
		wantOwn(p, false, "first")
		o.received(p, "PUBREC")
		for range 8 {
			o.Nudge(r.now())
			p = o.reconnect(p, true)
			r.pass(10 * time.Second)
		}
		o.release(1)
		wantPubrel(p, "released")
		o.finish(p)
	})
}
