package upstream_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream"
	"sngate/upstream/credential"
	"sngate/upstream/upstreamtest"
)

// mapped are credentials with the topics of a client below its place.
type mapped struct{ credential.Topics }

func (m *mapped) of(id string) (credential.Connect, error) {
	return credential.Connect{ClientID: id, Topics: m.Topics}, nil
}

// below is a broker that closes on topics and filters outside of a prefix each.
func below(publish, subscribe string) upstreamtest.Habits {
	return upstreamtest.Habits{Rules: upstreamtest.Rules{
		Prefix:  func(string) string { return publish },
		Filters: func(string) string { return subscribe },
	}}
}

// take takes the events of a kind.
func (o *owned) take(kind upstream.EventKind) (list []upstream.Event) {
	o.r.runUntilIdle()
	o.events = slices.DeleteFunc(o.events, func(e upstream.Event) bool {
		if e.Kind == kind {
			list = append(list, e)
		}
		return e.Kind == kind
	})
	return list
}

func topics(events []upstream.Event) (list []string) {
	for _, e := range events {
		list = append(list, e.Topic)
	}
	return list
}

func TestAllTopicsGoThroughTheTopicMap(t *testing.T) {
	m := &mapped{credential.Topics{Publish: "up/dev/", Subscribe: "down/dev/"}}
	opt := fast
	opt.Credentials = m.of
	withBroker(t, opt, below("up/dev/", "down/dev/"), func(w *ward) {
		var wills, arrived []string
		w.b.Will = func(_ string, m upstreamtest.Message) { wills = append(wills, m.Topic) }
		w.b.Observe = func(_ string, m upstreamtest.Message) { arrived = append(arrived, m.Topic) }
		o := w.link()
		o.Publish(w.now(), 9, "early", nil, 1, false)
		o.Connect(w.now(), &upstream.Connect{ClientID: "dev", Will: &upstream.Will{Topic: "gone", Message: []byte("x")}})
		w.runUntilIdle()
		for qos := range uint8(3) {
			o.send(upstream.Token(qos+1), "t", "x", qos, false)
		}
		if want := []string{"up/dev/early", "up/dev/t", "up/dev/t", "up/dev/t"}; !slices.Equal(arrived, want) {
			t.Errorf("arrived %v", arrived)
		}
		o.Subscribe(w.now(), 4, "#", 1)
		o.Subscribe(w.now(), 5, "a", 1)
		o.Unsubscribe(w.now(), 6, "a")
		if got := topics(o.take(upstream.EventSubscribed)); !slices.Equal(got, []string{"#", "a"}) {
			t.Errorf("subscribed to %v", got)
		}
		for _, topic := range []string{"down/dev/x/y", "down/other/x", "x", "down/dev"} {
			w.b.Publish(upstreamtest.Message{Topic: topic, QoS: 1})
		}
		if got := topics(o.take(upstream.EventMessage)); !slices.Equal(got, []string{"x/y"}) {
			t.Errorf("delivered %v", got)
		}
		w.b.Drop("dev")
		w.pass(5 * time.Second)
		if !slices.Equal(wills, []string{"up/dev/gone"}) {
			t.Errorf("wills %v", wills)
		}
		if broken := w.b.Broken(); len(broken) > 0 {
			t.Errorf("broken: %q", broken)
		}
	})
}

func TestMessagesOutsideOfTheTopicMapAreDropped(t *testing.T) {
	m := &mapped{credential.Topics{Subscribe: "down/dev/"}}
	bubble(t, upstream.Options{Credentials: m.of}, func(r *rig) {
		o, p := r.up(persistent, false)
		for id, topic := range []string{"x", "down/dev/", "down/dev", "down/device/x"} {
			qos := byte(id % 3)
			p.Publish(topic, "x", qos, uint16(id), false)
			e := o.want(upstream.EventBadPacket, topic)
			if e.Topic != topic || e.Err == nil {
				t.Errorf("%+v", e)
			}
			switch qos {
			case 1:
				upstreamtest.Want[*packets.PubackPacket](p, "it does not come again")
			case 2:
				upstreamtest.Want[*packets.PubrecPacket](p, "it does not come again")
				p.SendRaw(pubrel, 2, 0, byte(id))
				o.want(upstream.EventReleased, "the end")
				upstreamtest.Want[*packets.PubcompPacket](p, "the end")
			}
		}
		if n := r.d.Stats().Outside.Load(); n != 4 {
			t.Errorf("%d counted", n)
		}
	})
}

func TestOneTopicForAllBelow(t *testing.T) {
	m := &mapped{credential.Topics{Subscribe: "devices/dev/messages/devicebound/", DeliverAs: "commands"}}
	withBroker(t, upstream.Options{Credentials: m.of}, below("", m.Subscribe), func(w *ward) {
		o := w.device("dev")
		o.Subscribe(w.now(), 1, "commands", 1)
		if got := topics(o.take(upstream.EventSubscribed)); !slices.Equal(got, []string{"commands"}) {
			t.Errorf("subscribed to %v", got)
		}
		for _, rest := range []string{"%24.mid=1&a=b", "%24.mid=2", ""} {
			w.b.Publish(upstreamtest.Message{Topic: m.Subscribe + rest, QoS: 1})
		}
		w.b.Publish(upstreamtest.Message{Topic: strings.TrimSuffix(m.Subscribe, "/"), QoS: 1})
		if got := topics(o.take(upstream.EventMessage)); !slices.Equal(got, []string{"commands", "commands", "commands", "commands"}) {
			t.Errorf("delivered %v", got)
		}
		for _, other := range []string{"#", "+", "other", "commands/#"} {
			o.Subscribe(w.now(), 3, other, 1)
			o.Unsubscribe(w.now(), 4, other)
			if e := o.want(upstream.EventSubscribed, other); e.Refusal.Kind != upstream.RefusedForGood {
				t.Errorf("%q: %+v", other, e)
			}
			if e := o.want(upstream.EventUnsubscribed, other); e.Err != nil || e.Refusal.Kind != upstream.NotRefused {
				t.Errorf("%q: %+v", other, e)
			}
		}
		o.Unsubscribe(w.now(), 2, "commands")
		w.runUntilIdle()
		w.b.Publish(upstreamtest.Message{Topic: m.Subscribe + "x", QoS: 1})
		if got := o.take(upstream.EventMessage); len(got) > 0 || len(w.b.Broken()) > 0 {
			t.Errorf("delivered %v, broken %q", got, w.b.Broken())
		}
	})
}

func TestASharedSubscriptionStaysOne(t *testing.T) {
	m := &mapped{credential.Topics{Subscribe: "site/"}}
	bubble(t, upstream.Options{Credentials: m.of}, func(r *rig) {
		o, p := r.up(persistent, false)
		for filter, want := range map[string]string{"$share/g/a/#": "$share/g/site/a/#", "$share/g": "site/$share/g", "$SYS/#": "site/$SYS/#"} {
			o.Subscribe(r.now(), 1, filter, 0)
			r.runUntilIdle()
			if got := upstreamtest.Want[*packets.SubscribePacket](p, filter).Topics[0]; got != want {
				t.Errorf("%q became %q", filter, got)
			}
		}
	})
}

// What the owner has is of its device: what it takes back, and what it is told.
func TestTheOwnerSeesTheTopicsOfTheDevice(t *testing.T) {
	m := &mapped{credential.Topics{Publish: "up/"}}
	opt := fast
	opt.Credentials = m.of
	withBroker(t, opt, upstreamtest.Habits{Deny: upstreamtest.DenyTopic("up/bad"), Withhold: upstreamtest.Only(packets.Puback)}, func(w *ward) {
		o := w.device("dev")
		o.send(1, "back", "x", 1, true)
		if p, ok := o.Retract(1); !ok || p.Topic != "back" || string(p.Payload) != "x" || !p.Retain {
			t.Errorf("%+v", p)
		}
		w.b.SetHabits(upstreamtest.Habits{Deny: upstreamtest.DenyTopic("up/bad")})
		o.send(2, "bad", "x", 1, false)
		for i := range 400 {
			o.send(upstream.Token(100+i), "good", "x", 1, false)
			w.pass(500 * time.Millisecond)
		}
		failed := o.take(upstream.EventPublishFailed)
		if len(failed) != 1 || failed[0].Topic != "bad" || strings.Contains(failed[0].Err.Error(), "up/") {
			t.Errorf("given up: %+v", failed)
		}
	})
}

// The row of a device has changed while messages wait: they go where its topics are now, and the
// owner subscribes again.
func TestTopicsThatMoveTakeAllAlong(t *testing.T) {
	m := &mapped{credential.Topics{Publish: "old/", Subscribe: "old/"}}
	bubble(t, upstream.Options{Credentials: m.of}, func(r *rig) {
		o, p := r.up(persistent, false)
		home := o.Home()
		o.Publish(r.now(), 1, "t", []byte("x"), 1, false)
		r.runUntilIdle()
		if m := upstreamtest.Want[*packets.PublishPacket](p, "before"); m.TopicName != "old/t" {
			t.Errorf("%v", m)
		}
		m.Publish, m.Subscribe = "new/place/", "new/place/"
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		r.pass(2 * time.Second)
		p = o.accept(true)
		if e := o.want(upstream.EventUp, "back"); e.SessionPresent {
			t.Error("the broker has the subscriptions of other topics")
		}
		if m := upstreamtest.Want[*packets.PublishPacket](p, "after"); m.TopicName != "new/place/t" || string(m.Payload) != "x" || !m.Dup {
			t.Errorf("%v", m)
		}
		p.Conn.Close()
		o.want(upstream.EventDown, "lost")
		r.pass(2 * time.Second)
		o.accept(true)
		if e := o.want(upstream.EventUp, "back"); !e.SessionPresent {
			t.Error("nothing has moved")
		}
		for at, present := range map[string]bool{home: false, o.Home(): true, "": true, "broker.example:1883": false} { // in later processes
			again := r.link()
			again.Reopen(r.now(), &upstream.Connect{ClientID: "dev", Home: at}, upstream.ReopenNow)
			again.accept(true)
			if e := again.want(upstream.EventUp, at); e.SessionPresent != present {
				t.Errorf("from %q: session present %v", at, e.SessionPresent)
			}
		}
	})
}

func TestWithoutATopicMapTheHomeIsTheAddress(t *testing.T) {
	bubble(t, upstream.Options{}, func(r *rig) {
		if o, _ := r.up(persistent, false); o.Home() != "broker.example:1883" {
			t.Errorf("%q", o.Home())
		}
	})
}
