package upstream_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

// A broker may be ill for one device alone: what it takes of others says nothing about that
// one's messages.
func TestBrokerThatIsIllForOneDeviceLosesNothing_Case152(t *testing.T) {
	for _, topics := range []int{1, 4} {
		h := upstreamtest.Habits{Deny: func(id string, _ upstreamtest.Message) bool { return id == "dev" }}
		withBroker(t, fast, h, func(w *ward) {
			o, other := w.device("dev"), w.device("other")
			for i := range upstream.Token(8) {
				o.send(1+i, fmt.Sprint("t", int(i)%topics), fmt.Sprint(i), 1, false)
			}
			for i := range upstream.Token(600) {
				other.send(1+i, "u", "x", 1, false)
				w.pass(500 * time.Millisecond)
			}
			w.b.SetHabits(upstreamtest.Habits{})
			w.pass(time.Minute)
			if published, rejected := o.outcomes(); len(published) != 8 || len(rejected) != 0 {
				t.Errorf("%d topics: published %v, rejected %v", topics, published, rejected)
			}
		})
	}
}

// A broker that closes now and then, whatever it is sent, has nothing against the message
// that happened to be unanswered, though others pass.
func TestBrokerThatClosesNowAndThenLosesNothing_Case152(t *testing.T) {
	n := 0
	h := upstreamtest.Habits{Deny: func(string, upstreamtest.Message) bool { n++; return n%3 != 0 }}
	withBroker(t, fast, h, func(w *ward) {
		o := w.device("dev")
		for i := range upstream.Token(60) {
			o.send(1+i, fmt.Sprint("t", i%5), fmt.Sprint(i), 1, false)
			w.pass(2 * time.Second)
		}
		w.pass(10 * time.Minute)
		if published, rejected := o.outcomes(); len(published) != 60 || len(rejected) != 0 {
			t.Errorf("%d published, rejected %v", len(published), rejected)
		}
	})
}

// A broker that closes at PUBREL may have lost the session each time: the message goes on.
func TestMessageIsNotGivenUpBehindItsPubrec_Case152(t *testing.T) {
	bubble(t, fast, func(r *rig) {
		o, p := r.up(persistent, false)
		o.send(1, "t", "x", 2, false)
		for i := range 20 {
			m := upstreamtest.Want[*packets.PublishPacket](p, fmt.Sprint("connection ", i))
			ack(p, pubrec, m.MessageID)
			r.runUntilIdle()
			upstreamtest.Want[*packets.PubrelPacket](p, "PUBREC")
			p.Conn.Close()
			o.want(upstream.EventDown, "lost")
			r.pass(5 * time.Second)
			p = o.accept(false)
			o.want(upstream.EventUp, "back, without the session")
			if i > 0 {
				pong(p, "does it work?")
			}
			r.runUntilIdle()
		}
		m := upstreamtest.Want[*packets.PublishPacket](p, "the broker is well")
		ack(p, pubrec, m.MessageID)
		r.runUntilIdle()
		upstreamtest.Want[*packets.PubrelPacket](p, "PUBREC")
		ack(p, pubcomp, m.MessageID)
		o.want(upstream.EventPublished, "finished")
	})
}

// Properties of MQTT 5 may make an acknowledgement long.
func TestLongAcknowledgementIsOne(t *testing.T) {
	for _, n := range []int{300, 5000, 60_000} {
		bubble(t, upstream.Options{}, func(r *rig) {
			o, p := r.up(persistent, false)
			o.Publish(r.now(), 1, "t", []byte("x"), 1, false)
			o.Flush(r.now())
			id := wantPublish(p, "x", 1, false, "written")
			raw := []byte{0x40, byte(n)&0x7f | 0x80, byte(n >> 7)}
			if n >= 1<<14 {
				raw = []byte{0x40, byte(n)&0x7f | 0x80, byte(n>>7) | 0x80, byte(n >> 14)}
			}
			raw = append(raw, byte(id>>8), byte(id))
			p.SendRaw(append(raw, make([]byte, n-2)...)...)
			o.want(upstream.EventPublished, "acknowledged")
			p.Publish("t", "m", 0, 0, false)
			o.wantMessage("m", "what comes behind it")
		})
	}
}

// QoS 0 that the broker closes on has no answer that could tell it from the others.
func TestQoS0ThatIsDeniedAmongOthersCostsNoOther_Case152(t *testing.T) {
	withBroker(t, fast, upstreamtest.Habits{Deny: upstreamtest.DenyTopic("bad/t")}, func(w *ward) {
		o := w.device("dev")
		for i := range 100 {
			o.Publish(w.now(), upstream.Token(1+i), "good/t", []byte(fmt.Sprint(i)), uint8(1+i%2), false)
			o.Publish(w.now(), 0, "bad/t", []byte("poison"), 0, false)
			w.pass(700 * time.Millisecond)
		}
		w.pass(time.Minute)
		published, rejected := o.outcomes()
		rejected = slices.DeleteFunc(rejected, func(t upstream.Token) bool { return t == 0 }) // QoS 0
		if len(published) != 100 || len(rejected) != 0 {
			t.Errorf("%d published, rejected %v", len(published), rejected)
		}
		if slices.Contains(w.arrived, "poison") {
			t.Error("the broker denies that")
		}
	})
}
