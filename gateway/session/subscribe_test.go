package session

import (
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

func TestSubscribeByName_Case102(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.sendHex("09 12 20 0007 61626344")
	a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "abcD", QoS: 1})
	r.wantQuiet("SUBACK only after the broker's")
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.wantHex("granted QoS, id, MsgId; other flags zero", "08 13 20 0001 0007 00")
	r.send(sn12.Publish{TopicID: 1, Data: []byte("x")})
	r.wantAction("the id is good for PUBLISH too", Action{Kind: ActionPublish, Topic: "abcD", Payload: []byte("x")})
}

func TestSubscribeAgainGivesTheSameID_Case102(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	registered := r.register("a/b")
	for _, qos := range []uint8{0, 2, 1} {
		if id := r.subscribe("a/b", qos); id != registered {
			t.Errorf("id %d, registered %d", id, registered)
		}
	}
}

func TestSubscribeRepeatedBeforeTheAnswer_Case102(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	m := sn12.Subscribe{QoS: 1, MsgID: 7, TopicName: []byte("a/b")}
	r.send(m)
	a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	m.DUP = true
	r.send(m)
	r.wantQuiet("asked already")
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.want("", sn12.SubAck{QoS: 1, TopicID: 1, MsgID: 7})
	r.send(m)
	a = r.wantAction("the SUBACK was lost: the broker is asked again", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.want("the same answer", sn12.SubAck{QoS: 1, TopicID: 1, MsgID: 7})
}

func TestSubscribeWithWildcard_Case103(t *testing.T) {
	for _, filter := range []string{"#", "+", "a/#", "a/+/b", "+/b", "$SYS/#"} {
		r := newRig(t, nil)
		r.connect(true, 60)
		if id := r.subscribe(filter, 2); id != 0 {
			t.Errorf("%s: topic id %d", filter, id)
		}
		if id := r.register("x"); id != 1 {
			t.Errorf("%s: an id was used up", filter)
		}
	}
}

func TestSubscribeToAShortTopic_Case104(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.sendHex("07 12 02 0007 7465")
	a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "te"})
	r.event(Event{Kind: EventSubscribed, Token: a.Token})
	r.wantHex("the short name, as it came", "08 13 00 7465 0007 00")
	r.event(fromBroker("te", "x", 0, 0))
	r.want("", sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: 0x7465, Data: []byte("x")})
}

func TestTwoCharacterNameIsANormalName_Case104(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	if id := r.subscribe("te", 0); id != 1 {
		t.Errorf("id %d", id)
	}
}

func TestSubscribeToAPredefinedTopic_Case105(t *testing.T) {
	r := newRig(t, predefinedConfig(t,
		topicreg.Entry{ID: 5, Name: "site/alarm"},
		topicreg.Entry{ID: 6, Name: "of/another", Client: "device"}))
	r.connect(true, 60)
	r.sendHex("07 12 21 0007 0005")
	a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "site/alarm", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.wantHex("", "08 13 20 0005 0007 00")
	for _, id := range []string{"0006", "0007", "0000", "ffff"} {
		r.sendHex("07 12 21 0007" + id)
		r.wantHex("unknown to this device", "08 13 00 0000 0007 02")
		r.wantDrop("", ReasonUnknownTopicID)
	}
}

func TestGrantedQoSIsTheBrokers_Case106(t *testing.T) {
	for asked := range uint8(3) {
		for granted := range asked + 1 {
			r := newRig(t, nil)
			r.connect(true, 60)
			r.send(sn12.Subscribe{QoS: asked, MsgID: 1, TopicName: []byte("a/#")})
			a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/#", QoS: asked})
			r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: granted})
			r.wantHex(fmt.Sprint("asked ", asked), fmt.Sprintf("08 13 %02x 0000 0001 00", granted<<5))
		}
	}
}

func TestBrokerRefusesSubscription_Case107(t *testing.T) {
	for _, why := range []Refusal{RefusedForNow, RefusedForGood} {
		r := newRig(t, nil)
		r.connect(false, 60)
		r.send(sn12.Subscribe{QoS: 1, MsgID: 7, TopicName: []byte("a/b")})
		a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
		r.event(Event{Kind: EventSubscribed, Token: a.Token, Refused: why})
		r.want(fmt.Sprint("refused ", why), sn12.SubAck{MsgID: 7, ReturnCode: sn12.RejectedNotSupported})
		r.wantDrop("", ReasonSubscriptionRefused)
		r.send(sn12.Publish{QoS: 1, TopicID: 1, MsgID: 1})
		r.want("no id was kept", sn12.PubAck{TopicID: 1, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
		r.event(Event{Kind: EventDown})
		r.event(Event{Kind: EventUp})
		r.wantQuiet("nor a subscription to restore")
	}
}

func TestImpossibleSubscriptionIsRefused_Case11_115(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	for name, m := range map[string]sn12.Subscribe{
		"topic id type 3": {MsgID: 7, TopicIDType: sn12.TopicIDReserved, TopicName: []byte("ab")},
		"QoS 3":           {QoS: 3, MsgID: 7, TopicName: []byte("a")},
		"bad wildcard":    {MsgID: 7, TopicName: []byte("a#")},
		"short wildcard":  {MsgID: 7, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("a+")},
	} {
		r.send(m)
		r.wantHex(name, "08 13 00 0000 0007 03")
	}
}

func TestSubscriptionLimits_Case102(t *testing.T) {
	cfg := testConfig()
	cfg.MaxSubscriptions = 2
	r := newRig(t, cfg)
	r.connect(true, 60)
	r.subscribe("a", 1)
	r.subscribe("b/#", 1)
	r.send(sn12.Subscribe{MsgID: 7, TopicName: []byte("c")})
	r.want("", sn12.SubAck{MsgID: 7, ReturnCode: sn12.RejectedCongestion})
	r.wantDrop("", ReasonSubscriptionsFull)
	r.subscribe("a", 2) // not a new one
	r.unsubscribe("a")
	r.subscribe("c", 1)
}

func TestSubscribeNeedsATopicID_Case102(t *testing.T) {
	cfg := testConfig()
	cfg.MaxTopics = 1
	r := newRig(t, cfg)
	r.connect(true, 60)
	r.register("a")
	r.send(sn12.Subscribe{MsgID: 7, TopicName: []byte("b")})
	r.want("", sn12.SubAck{MsgID: 7, ReturnCode: sn12.RejectedCongestion})
	r.wantDrop("", ReasonTopicsFull)
	r.subscribe("b/#", 0) // needs none
	r.subscribe("a", 0)   // has one
}

// unsubscribe ends a subscription by name, the broker agreeing.
func (r *rig) unsubscribe(filter string) {
	r.t.Helper()
	r.send(sn12.Unsubscribe{MsgID: 0x7003, TopicName: []byte(filter)})
	a := r.wantAction("UNSUBSCRIBE goes up", Action{Kind: ActionUnsubscribe, Topic: filter})
	r.event(Event{Kind: EventUnsubscribed, Token: a.Token})
	r.want("", sn12.UnsubAck{MsgID: 0x7003})
}

func TestUnsubscribe_Case110(t *testing.T) {
	r := newRig(t, predefinedConfig(t, topicreg.Entry{ID: 5, Name: "site/alarm"}))
	r.connect(false, 60)
	r.subscribe("a/b", 1)
	for _, tc := range []struct{ hex, topic string }{
		{"08 14 00 0007 612f62", "a/b"},
		{"07 14 01 0007 0005", "site/alarm"},
		{"07 14 02 0007 7465", "te"},
	} {
		r.sendHex(tc.hex)
		a := r.wantAction("", Action{Kind: ActionUnsubscribe, Topic: tc.topic})
		r.sendHex(tc.hex)
		r.wantQuiet("only after the broker's answer, and asked once")
		r.event(Event{Kind: EventUnsubscribed, Token: a.Token})
		r.wantHex(tc.topic, "04 15 0007")
		r.sendHex(tc.hex)
		a = r.wantAction("the UNSUBACK was lost", Action{Kind: ActionUnsubscribe, Topic: tc.topic})
		r.event(Event{Kind: EventUnsubscribed, Token: a.Token})
		r.wantHex(tc.topic, "04 15 0007")
	}
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	r.wantQuiet("nothing is left to restore")
}

func TestUnsubscribeFromTheImpossibleIsConfirmed_Case110(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	for name, m := range map[string]sn12.Unsubscribe{
		"unknown predefined id": {MsgID: 7, TopicIDType: sn12.TopicIDPredefined, TopicID: 9},
		"bad filter":            {MsgID: 7, TopicName: []byte("a/#/b")},
	} {
		r.send(m)
		r.want(name+": UNSUBACK has no return code", sn12.UnsubAck{MsgID: 7})
	}
}

func TestSubscribeWithoutConnection_Case112(t *testing.T) {
	r := newRig(t, nil)
	r.sendHex("06 12 00 0001 61")
	r.wantHex("", "02 18")
	r.wantDrop("", ReasonUnknownSender)
	r.sendHex("06 14 00 0001 61")
	r.wantHex("UNSUBSCRIBE too", "02 18")
	r.wantState("", StateNew)
}

func TestSubscribeWaitsForTheBroker(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 0)
	r.event(Event{Kind: EventDown})
	r.send(sn12.Subscribe{QoS: 1, MsgID: 7, TopicName: []byte("a/b")})
	r.wantQuiet("held")
	r.advance(2 * time.Second)
	r.send(sn12.Unsubscribe{MsgID: 8, TopicName: []byte("c")})
	r.wantQuiet("held")
	r.event(Event{Kind: EventUp, SessionPresent: true})
	sub := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	unsub := r.wantAction("in order", Action{Kind: ActionUnsubscribe, Topic: "c"})
	r.event(Event{Kind: EventSubscribed, Token: sub.Token, Granted: 1})
	r.want("", sn12.SubAck{QoS: 1, TopicID: 1, MsgID: 7})
	r.event(Event{Kind: EventUnsubscribed, Token: unsub.Token})
	r.want("", sn12.UnsubAck{MsgID: 8})
	r.advance(time.Minute)
	r.wantQuiet("nothing is held any more")
}

func TestSubscribeIsRefusedAfterHold(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 0)
	r.event(Event{Kind: EventDown})
	r.send(sn12.Subscribe{QoS: 1, MsgID: 7, TopicName: []byte("a/b")})
	r.send(sn12.Unsubscribe{MsgID: 8, TopicName: []byte("c")})
	r.advance(20*time.Second - 1)
	r.wantQuiet("held")
	r.advance(1)
	r.want("congestion", sn12.SubAck{MsgID: 7, ReturnCode: sn12.RejectedCongestion})
	r.want("UNSUBACK has no code for it, and there is nothing to refuse", sn12.UnsubAck{MsgID: 8})
	r.wantDrop("", ReasonBrokerDown)
	r.advance(time.Hour / 2)
	r.event(Event{Kind: EventUp, SessionPresent: true})
	a := r.wantAction("SUBSCRIBE is forgotten, UNSUBSCRIBE is not", Action{Kind: ActionUnsubscribe, Topic: "c"})
	r.event(Event{Kind: EventUnsubscribed, Token: a.Token})
	r.wantQuiet("the device has its answer")
}

func TestSubscribeLostWithTheConnectionIsAskedAgain(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 0)
	r.send(sn12.Subscribe{QoS: 1, MsgID: 7, TopicName: []byte("a/b")})
	first := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventSubscribed, Token: first.Token, Failed: true})
	r.wantQuiet("the device still waits")
	r.event(Event{Kind: EventUp})
	second := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: first.Token, Refused: RefusedForGood})
	r.wantQuiet("not an answer to the second")
	r.event(Event{Kind: EventSubscribed, Token: second.Token, Granted: 1})
	r.want("", sn12.SubAck{QoS: 1, TopicID: 1, MsgID: 7})
}

func TestSubscriptionsComeBackWithTheBroker(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 0)
	r.subscribe("a/b", 1)
	r.subscribe("c/#", 2)
	for range 2 {
		r.event(Event{Kind: EventDown})
		r.event(Event{Kind: EventUp, SessionPresent: true})
		r.wantQuiet("the broker has them")
		r.event(Event{Kind: EventDown})
		r.event(Event{Kind: EventUp})
		one := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
		r.wantAction("", Action{Kind: ActionSubscribe, Topic: "c/#", QoS: 2, Token: one.Token})
		r.event(Event{Kind: EventSubscribed, Token: one.Token, Granted: 1})
		r.event(Event{Kind: EventSubscribed, Token: one.Token, Granted: 2})
		r.wantQuiet("the device has not asked for anything")
	}
}

// The broker has forgotten the subscriptions, and the connection is lost again before
// they are all repeated. After that the broker has a session, but not all of them.
func TestRepetitionOfSubscriptionsThatIsCutShortBeginsAnew(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 0)
	r.subscribe("a/b", 1)
	r.subscribe("c/#", 2)
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	cut := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	r.wantAction("", Action{Kind: ActionSubscribe, Topic: "c/#", QoS: 2, Token: cut.Token})
	r.event(Event{Kind: EventSubscribed, Token: cut.Token, Granted: 1})
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventSubscribed, Token: cut.Token, Failed: true})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	again := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	r.wantAction("", Action{Kind: ActionSubscribe, Topic: "c/#", QoS: 2, Token: again.Token})
}

func TestManySubscriptionsAreRepeatedAFewAtATime(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 0)
	for i := range 40 {
		r.subscribe(fmt.Sprintf("t/%d/#", i), 1)
	}
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	token := r.acts[0].Token
	for i := range 40 {
		if open := len(r.acts); open > resubscribeAtOnce {
			t.Fatalf("%d at once", open)
		}
		r.wantAction("", Action{Kind: ActionSubscribe, Topic: fmt.Sprintf("t/%d/#", i), QoS: 1, Token: token})
		pending := r.acts
		r.acts = nil
		r.event(Event{Kind: EventSubscribed, Token: token, Granted: 1})
		r.acts = append(pending, r.acts...)
	}
}

func TestAnotherSubscribeUnderTheSameMsgIDTakesItsPlace(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 0)
	r.send(sn12.Subscribe{MsgID: 1, TopicName: []byte("a/#")})
	first := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/#"})
	r.send(sn12.Subscribe{MsgID: 1, TopicName: []byte("a/#")})
	r.wantQuiet("a repeat")
	r.send(sn12.Subscribe{MsgID: 1, TopicName: []byte("b/#")})
	second := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "b/#"})
	r.event(Event{Kind: EventSubscribed, Token: first.Token})
	r.wantQuiet("the device does not wait for the first any more")
	r.event(Event{Kind: EventSubscribed, Token: second.Token})
	r.want("", sn12.SubAck{MsgID: 1})
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	again := r.wantAction("both are the broker's business", Action{Kind: ActionSubscribe, Topic: "a/#"})
	r.wantAction("", Action{Kind: ActionSubscribe, Topic: "b/#", Token: again.Token})
}

func TestManySubscribesAtOnceAreCongestion(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	var asked []Action
	for i := range maxAsked {
		r.send(sn12.Subscribe{MsgID: uint16(i + 1), TopicName: []byte("#")})
		asked = append(asked, r.wantAction("", Action{Kind: ActionSubscribe, Topic: "#"}))
	}
	r.send(sn12.Subscribe{MsgID: 99, TopicName: []byte("#")})
	r.want("", sn12.SubAck{MsgID: 99, ReturnCode: sn12.RejectedCongestion})
	r.send(sn12.Unsubscribe{MsgID: 98, TopicName: []byte("not/known")})
	r.want("there is no such subscription", sn12.UnsubAck{MsgID: 98})
	r.wantDrop("", ReasonSubscriptionsFull)
	for i, a := range asked {
		r.event(Event{Kind: EventSubscribed, Token: a.Token})
		r.want("", sn12.SubAck{MsgID: uint16(i + 1)})
	}
}

func TestLimitsCountWhatIsAskedFor_Case102(t *testing.T) {
	for name, limit := range map[string]func(*Config){
		"subscriptions": func(c *Config) { c.MaxSubscriptions = 1 },
		"topic ids":     func(c *Config) { c.MaxTopics = 1 },
	} {
		cfg := testConfig()
		limit(cfg)
		r := newRig(t, cfg)
		r.connect(true, 60)
		r.send(sn12.Subscribe{MsgID: 1, TopicName: []byte("a")})
		a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a"})
		r.send(sn12.Subscribe{MsgID: 2, TopicName: []byte("b")})
		r.want(name, sn12.SubAck{MsgID: 2, ReturnCode: sn12.RejectedCongestion})
		r.event(Event{Kind: EventSubscribed, Token: a.Token})
		r.want(name, sn12.SubAck{TopicID: 1, MsgID: 1})
	}
}

func TestTopicIDsUsedUpWhileTheBrokerIsAsked_Case107(t *testing.T) {
	cfg := testConfig()
	cfg.MaxTopics = 1
	r := newRig(t, cfg)
	r.connect(true, 60)
	r.send(sn12.Subscribe{MsgID: 1, TopicName: []byte("a")})
	a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a"})
	r.register("b")
	r.event(Event{Kind: EventSubscribed, Token: a.Token})
	r.want("granted, but there is no id to name it by", sn12.SubAck{MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.wantDrop("", ReasonTopicsFull)
	r.wantAction("what the device does not have, the broker should not send", Action{Kind: ActionUnsubscribe, Topic: "a"})
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	r.wantQuiet("nothing to restore")
}

func TestRepeatedSubscriptionHasTheLastRequestedQoS(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 0)
	r.subscribe("a/#", 0)
	r.send(sn12.Subscribe{QoS: 2, MsgID: 3, TopicName: []byte("a/#")})
	a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/#", QoS: 2})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.want("the broker grants less today", sn12.SubAck{QoS: 1, MsgID: 3})
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	r.wantAction("and may grant more tomorrow", Action{Kind: ActionSubscribe, Topic: "a/#", QoS: 2})
}
