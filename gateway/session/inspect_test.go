package session

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sngate/snpacket/sn12"
)

func TestInspectShowsTheSessionWithoutPayloads(t *testing.T) {
	r := newRelay(t, false)
	feed := func(m sn12.Message) {
		t.Helper()
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		r.out.Reset()
		r.s.Datagram(r.at(), b, &r.out)
	}
	feed(sn12.Subscribe{QoS: 1, MsgID: 3, TopicName: []byte("cmd/#")})
	token := r.out.Actions[0].Token
	r.out.Reset()
	r.s.Upstream(r.at(), &Event{Kind: EventSubscribed, Token: token, Granted: 1}, &r.out)
	feed(sn12.Disconnect{HasDuration: true, Duration: 300})
	r.s.Upstream(r.at(), &Event{Kind: EventMessage, QoS: 1, Handle: 1, Topic: "cmd/x", Payload: []byte("open")}, &r.out)
	want := View{
		State: StateAsleep, CleanSession: true, KeepAlive: 60, Sleep: 300, BrokerLink: "up",
		Topics:        []TopicView{{ID: 1, Name: "site/7/temperature", Announced: true}},
		Subscriptions: []SubscriptionView{{Filter: "cmd/#", QoS: 1}},
		HeldMessages:  1, HeldOctets: len("cmd/xopen") + messageOverhead,
	}
	if d := cmp.Diff(want, r.s.Inspect()); d != "" {
		t.Error(d)
	}
	if topics, subs := r.s.Counts(); topics != 1 || subs != 1 {
		t.Errorf("%d topic ids, %d subscriptions", topics, subs)
	}
}

// What neither the datagram nor the event says comes out with the drop.
func TestDropsSayWhatTheyConcern(t *testing.T) {
	r := newRelay(t, false)
	r.out.Reset()
	b, err := sn12.Subscribe{QoS: 1, MsgID: 3, TopicName: []byte("secret/#")}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.s.Datagram(r.at(), b, &r.out)
	token := r.out.Actions[0].Token
	r.out.Reset()
	r.out.Drops = append(r.out.Drops, ReasonMalformed)
	r.s.Upstream(r.at(), &Event{Kind: EventSubscribed, Token: token, Refused: RefusedForGood}, &r.out)
	if d := cmp.Diff([]Reason{ReasonMalformed, ReasonSubscriptionRefused}, r.out.Drops); d != "" {
		t.Fatal(d)
	}
	if got := r.out.About(1); got != (About{Topic: "secret/#"}) || r.out.About(0) != (About{}) {
		t.Errorf("about the second: %+v, the first: %+v", got, r.out.About(0))
	}
	r.out.Reset()
	if r.out.About(1) != (About{}) {
		t.Error("Reset keeps what the drops were about")
	}
}
