package upstream_test

import (
	"bytes"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// Names of QoS 2 messages of the broker, and what the owner says of them in a later process.

// unknown is the identity of a message of which the link knows nothing but the identifier.
func unknown(id uint16) upstream.Identity { return upstream.Identity{byte(id >> 8), byte(id)} }

// fileIdentity is that of the message "x" to "t" with identifier 5, as files have it.
var fileIdentity = upstream.Identity{0, 5, 0x85, 0x6a, 0x5a, 0xa8, 0x8c, 0xdc, 0x16, 0x83}

func takenBefore(messages ...upstream.Identity) *upstream.Connect {
	return &upstream.Connect{ClientID: "dev", KeepAlive: 600, Unreleased: messages}
}

func (o *owned) wantForgotten(message upstream.Identity, why string) {
	o.r.t.Helper()
	if e := o.want(upstream.EventForgotten, why); e.Identity != message {
		o.r.t.Errorf("%s: got %x, want %x", why, e.Identity, message)
	}
}

// The identity is in the files of stores, so it is the same in every process and version.
func TestIdentityIsThatOfTheFiles(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		for range 2 {
			o, p := r.up(persistent, false)
			p.Publish("t", "x", 2, 5, false)
			if e := o.wantMessage("x", "first"); e.Identity != fileIdentity {
				t.Errorf("%x, want %x", e.Identity, fileIdentity)
			}
			p.Publish("t", "x", 1, 6, false)
			if e := o.wantMessage("x", "QoS 1"); e.Identity != (upstream.Identity{}) {
				t.Errorf("QoS 1: %x", e.Identity)
			}
			p.Publish("a topic of some more octets", "y", 2, 7, false)
			sum := []byte{0, 7, 0x9c, 0x47, 0x05, 0x90, 0xfb, 0xdb, 0x26, 0x15}
			if e := o.wantMessage("y", "another"); !bytes.Equal(e.Identity[:], sum) {
				t.Errorf("%x, want %x", e.Identity, sum)
			}
		}
	})
}

// What the owner took in an earlier process is acknowledged once more, and not delivered; and
// it is released under its name.
func TestRedeliveryOfWhatAnEarlierProcessTook(t *testing.T) {
	connects := map[string]func(o *owned, c *upstream.Connect) *upstreamtest.Peer{
		"connect": func(o *owned, c *upstream.Connect) *upstreamtest.Peer { return o.connect(c, true) },
		"reopen": func(o *owned, c *upstream.Connect) *upstreamtest.Peer {
			o.Reopen(o.r.now(), c, upstream.ReopenNow)
			p := o.accept(true)
			o.want(upstream.EventUp, "reopened")
			return p
		},
	}
	for name, connect := range connects {
		t.Run(name, func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				o := r.link()
				p := connect(o, takenBefore(fileIdentity))
				for i := range 2 {
					if i > 0 && name == "connect" { // one that is reopened would wait for its device
						p = o.reconnect(p, true)
					}
					p.Publish("t", "x", 2, 5, true)
					o.wantQuiet("it is taken")
					if rec := upstreamtest.Want[*packets.PubrecPacket](p, "acknowledged"); rec.MessageID != 5 {
						t.Errorf("PUBREC %d", rec.MessageID)
					}
				}
				if n := r.d.Stats().Duplicates.Load(); n != 2 || o.repeated != 2 {
					t.Errorf("%d duplicates counted, %d told", n, o.repeated)
				}
				ack(p, pubrel, 5)
				if e := o.want(upstream.EventReleased, "PUBREL"); e.Identity != fileIdentity {
					t.Errorf("released: %x", e.Identity)
				}
				if comp := upstreamtest.Want[*packets.PubcompPacket](p, "complete"); comp.MessageID != 5 {
					t.Errorf("PUBCOMP %d", comp.MessageID)
				}
				p.Publish("t", "x", 2, 5, true)
				o.wantMessage("x", "it has been released, so this is another one")
			})
		})
	}
}

// What only the owner's word tells of is not repeated by a message without DUP, nor by one of
// other content or QoS: those are new, and show that the broker has forgotten the other.
func TestOtherMessageThanAnEarlierProcessTook(t *testing.T) {
	for _, c := range []struct {
		name, payload string
		qos           uint8
		dup           bool
	}{
		{"without DUP", "x", 2, false}, {"other content", "y", 2, true}, {"other QoS", "x", 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, upstream.Options{}, func(r *rig) {
				o, p := r.up(takenBefore(fileIdentity), true)
				p.Publish("t", c.payload, c.qos, 5, c.dup)
				o.wantForgotten(fileIdentity, "the broker has got past it")
				h := o.wantMessage(c.payload, "another message").Handle
				p.WantQuiet("not acknowledged yet")
				o.Ack(r.now(), h)
				r.runUntilIdle()
				p.Read()
			})
		})
	}
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(takenBefore(fileIdentity), true)
		p.SendRaw(0x3c, 7, 0, 1, '#', 0, 5, 'x', 'y') // a name that is none
		o.want(upstream.EventBadPacket, "it is dropped")
		o.wantForgotten(fileIdentity, "a bad packet takes its place, too")
		p.SendRaw(0x3c, 7, 0, 1, '#', 0, 5, 'x', 'y')
		o.want(upstream.EventBadPacket, "again")
		o.wantQuiet("the bad packet is nobody's")
	})
}

// A broker that has lost the session, or another broker, knows nothing of what was taken.
func TestTakenMessagesAreOfTheBrokersSession(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(takenBefore(fileIdentity), false)
		p.Publish("t", "x", 2, 5, true)
		o.wantMessage("x", "of another session")
	})
	bubble(t, upstream.Options{}, func(r *rig) {
		o := r.link()
		c := takenBefore(fileIdentity)
		c.CleanSession = true
		o.Connect(r.now(), c)
		p := o.accept(true)
		o.want(upstream.EventConnected, "a broker that does not care for CleanSession")
		p.Publish("t", "x", 2, 5, true)
		o.wantMessage("x", "of another session")
	})
}

// The owner has a message without the broker having heard so when it connects anew: it says so
// again. Others are the broker's.
func TestOwnerSaysAgainWhatItHasTakenWhenItConnects(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(persistent, false)
		p.Publish("t", "x", 2, 5, false)
		p.Publish("t", "y", 2, 6, false)
		o.wantMessage("x", "first")
		o.wantMessage("y", "second")
		o.Connect(r.now(), takenBefore(fileIdentity))
		r.runUntilIdle()
		upstreamtest.Want[*packets.DisconnectPacket](p, "the old connection ends")
		p.Conn.Close()
		p = o.accept(true)
		o.want(upstream.EventConnected, "connected")
		p.Publish("t", "x", 2, 5, true)
		p.Publish("t", "y", 2, 6, true)
		o.wantMessage("y", "which is not taken")
		upstreamtest.Want[*packets.PubrecPacket](p, "the other is")
		p.WantQuiet("and only that")
	})
}

// A PUBREL that comes when the connection is being left comes again in the next, and finds the
// message under its name.
func TestPubrelBehindDisconnectIsForTheNextConnection(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		o, p := r.up(takenBefore(fileIdentity), true)
		o.Close(r.now(), upstream.CloseGraceful)
		r.runUntilIdle()
		upstreamtest.Want[*packets.DisconnectPacket](p, "closing")
		ack(p, pubrel, 5)
		r.runUntilIdle()
		p.Conn.Close()
		o.want(upstream.EventClosed, "closed")
		p = o.connect(takenBefore(fileIdentity), true)
		ack(p, pubrel, 5)
		if e := o.want(upstream.EventReleased, "PUBREL"); e.Identity != fileIdentity {
			t.Errorf("released: %x", e.Identity)
		}
	})
}
