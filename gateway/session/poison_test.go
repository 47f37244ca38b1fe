package session

import (
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// A subscription that connections have ended of may be refused by the broker, or the broker
// may just have been ill: it is asked for again, and nothing else is.
func TestRepeatedSubscriptionThatEndsConnectionsIsAskedForAgain_Case107(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 600)
	r.subscribe("a/b", 2)
	r.subscribe("c/d", 1)
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	bad := r.wantAction("restored", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
	r.wantAction("restored", Action{Kind: ActionSubscribe, Topic: "c/d", QoS: 1})
	refuse := func(token Token) {
		r.event(Event{Kind: EventSubscribed, Token: token, Topic: "a/b", Refused: RefusedForGood, Failed: true, Rejected: true})
		r.wantDrop("connections end of it", ReasonSubscriptionRefused)
	}
	r.event(Event{Kind: EventDown})
	refuse(bad.Token)
	r.event(Event{Kind: EventSubscribed, Token: bad.Token, Failed: true})
	r.event(Event{Kind: EventUp})
	good := r.wantAction("the other one goes on", Action{Kind: ActionSubscribe, Topic: "c/d", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: good.Token, Topic: "c/d", Granted: 1})
	if !r.s.Resubscribing() {
		t.Error("the broker has all of the session")
	}
	for _, pause := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		r.advance(pause - time.Millisecond)
		r.wantQuiet("too early")
		r.advance(time.Millisecond)
		again := r.wantAction("once more", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
		r.wantQuiet("and nothing else")
		r.event(Event{Kind: EventDown})
		refuse(again.Token)
		r.event(Event{Kind: EventUp, SessionPresent: true})
		r.wantQuiet("not at once")
		r.ping()
	}
	r.advance(8 * time.Minute)
	again := r.wantAction("once more", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	again = r.wantAction("that connection had another end", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
	r.wantQuiet("and nothing else")
	r.event(Event{Kind: EventSubscribed, Token: again.Token, Topic: "a/b", Granted: 2})
	if r.s.Resubscribing() {
		t.Error("the broker is well")
	}
	r.ping()
	r.advance(time.Hour / 10)
	r.wantQuiet("it is granted")
}

// The link may have no room for a repetition: it must not be forgotten.
func TestRepeatedSubscriptionWithoutRoomIsAskedForAgain_Case147(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 600)
	r.subscribe("a/b", 2)
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	for range 2 {
		a := r.wantAction("restored", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
		r.event(Event{Kind: EventSubscribed, Token: a.Token, Topic: "a/b", Failed: true, Congested: true})
		r.wantDrop("no room", ReasonBrokerCongested)
		r.advance(2 * time.Minute)
	}
	a := r.wantAction("once more", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Topic: "a/b", Granted: 2})
	if r.s.Resubscribing() {
		t.Error("complete")
	}
}

// With CleanSession=1 every connection has all subscriptions repeated.
func TestSubscriptionThatEndsConnectionsDoesNotEndEach_Case107(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 600)
	r.subscribe("a/b", 1)
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	a := r.wantAction("restored", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Topic: "a/b", Refused: RefusedForGood, Failed: true, Rejected: true})
	r.wantDrop("connections end of it", ReasonSubscriptionRefused)
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	r.wantQuiet("it has its pause")
	r.unsubscribe("a/b")
	r.advance(time.Minute)
	r.wantQuiet("nothing is left to ask for")
}

// The device has its SUBACK: the broker's answer is to come.
func TestSubscribeThatEndsConnectionsIsAnswered_Case107(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.send(sn12.Subscribe{QoS: 1, MsgID: 7, TopicName: []byte("a/b")})
	a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Topic: "a/b", Refused: RefusedForGood, Failed: true, Rejected: true})
	r.wantDrop("counted", ReasonSubscriptionRefused)
	r.want("refused", sn12.SubAck{MsgID: 7, ReturnCode: sn12.RejectedNotSupported})
}

// spools has the device publish a message to the topic of id, which goes into the store.
func (r durableRig) spools(id uint16, msgID uint16, qos uint8, payload string) {
	r.t.Helper()
	r.send(sn12.Publish{QoS: qos, TopicID: id, MsgID: msgID, Data: []byte(payload)})
	r.stored()
	if qos == 2 {
		r.want("", sn12.PubRec{MsgID: msgID})
		r.send(sn12.PubRel{MsgID: msgID})
		r.want("", sn12.PubComp{MsgID: msgID})
	} else {
		r.want("", sn12.PubAck{TopicID: id, MsgID: msgID})
	}
}

// However many messages connections have ended of, and however many wait behind them: the
// other topics are served.
func TestManyDoubtedMessagesHoldUpOnlyTheirTopics_Case152(t *testing.T) {
	for _, test := range []struct {
		name        string
		qos         uint8
		bad, behind int
	}{{"one", 2, 1, 20}, {"two", 2, 2, 0}, {"many", 2, 20, 0}, {"many with others", 2, 20, 20}, {"QoS 1", 1, 20, 20}} {
		t.Run(test.name, func(t *testing.T) {
			r := newDurableRig(t, nil)
			id := r.begin()
			r.send(sn12.Register{MsgID: 2, TopicName: []byte("c/d")})
			r.stored()
			r.want("", sn12.RegAck{TopicID: 2, MsgID: 2})
			r.event(Event{Kind: EventDown})
			msgID := uint16(10)
			for i := range test.bad {
				msgID++
				r.spools(id, msgID, test.qos, fmt.Sprint("bad", i))
			}
			for i := range test.behind {
				msgID++
				r.spools(id, msgID, uint8(i%2+1), fmt.Sprint("behind", i))
			}
			for i := range 3 {
				msgID++
				r.spools(2, msgID, 1, fmt.Sprint("other", i))
			}
			r.event(Event{Kind: EventUp, SessionPresent: true})
			r.serveOthers(3)
		})
	}
}

// serveOthers plays a link that connections end of every message to a/b, and expects n
// messages to be handed to it all the same.
func (r durableRig) serveOthers(n int) {
	r.t.Helper()
	var tokens []Token // of messages to a/b
	for others := 0; others < n; {
		actions := r.acts
		r.acts = nil
		for _, a := range actions {
			if a.Topic == "a/b" {
				tokens = append(tokens, a.Token)
				continue
			}
			if want := fmt.Sprint("other", others); string(a.Payload) != want {
				r.t.Fatalf("got %q, want %q", a.Payload, want)
			}
			others++
			r.event(Event{Kind: EventPublished, Token: a.Token})
		}
		switch {
		case len(actions) > 0:
		case len(tokens) == 0:
			r.t.Fatalf("%d others were handed over", others)
		default:
			r.event(Event{Kind: EventDoubted, Token: tokens[0]})
			tokens = tokens[1:]
		}
	}
}
