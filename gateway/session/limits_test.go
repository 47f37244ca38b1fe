package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sngate/gateway/session/dialogue"
	"sngate/snpacket/sn12"
)

// taking is testConfig with a broker that takes so much.
func taking(l Limits) *Config {
	cfg := testConfig()
	cfg.Limits = &l
	return cfg
}

// all is what a broker takes that has no limits.
var all = Limits{MaxQoS: 2}

// strict is a broker such as those in the cloud.
func strict() Limits {
	return Limits{MaxQoS: 1, NoRetain: true, MaxTopicBytes: 12, MaxTopicLevels: 3, MaxPayload: 4, NoWildcards: true, NoWills: true}
}

func TestPublishThatTheBrokerDoesNotTakeIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		topic  string
		m      sn12.Publish
		why    Reason
	}{
		{"QoS 2", Limits{MaxQoS: 1, RefuseQoS: true}, "a/b", sn12.Publish{QoS: 2}, ReasonLimitsMaxQoS},
		{"QoS 1", Limits{RefuseQoS: true}, "a/b", sn12.Publish{QoS: 1}, ReasonLimitsMaxQoS},
		{"RETAIN", Limits{MaxQoS: 2, NoRetain: true, RefuseRetain: true}, "a/b", sn12.Publish{QoS: 1, Retain: true}, ReasonLimitsRetain},
		{"RETAIN, QoS 0", Limits{MaxQoS: 2, NoRetain: true, RefuseRetain: true}, "a/b", sn12.Publish{Retain: true}, ReasonLimitsRetain},
		{"payload", Limits{MaxQoS: 2, MaxPayload: 3}, "a/b", sn12.Publish{QoS: 1, Data: []byte("four")}, ReasonLimitsPayloadMax},
		{"payload, QoS 0", Limits{MaxQoS: 2, MaxPayload: 3}, "a/b", sn12.Publish{Data: []byte("four")}, ReasonLimitsPayloadMax},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, id := publisher(t, taking(c.limits))
			c.m.TopicID = id
			if c.m.QoS > 0 {
				c.m.MsgID = 7
			}
			r.send(c.m)
			r.wantDrop("counted", c.why)
			r.want("refused", sn12.PubAck{TopicID: id, MsgID: c.m.MsgID, ReturnCode: sn12.RejectedNotSupported})
		})
	}
}

// A topic that the broker does not take is refused where it is named, and where it is used.
func TestTopicThatTheBrokerDoesNotTakeIsRefusedEverywhere(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		why    Reason
	}{
		{"octets", Limits{MaxQoS: 2, MaxTopicBytes: 5}, ReasonLimitsMaxTopicBytes},
		{"levels", Limits{MaxQoS: 2, MaxTopicLevels: 2}, ReasonLimitsMaxTopicLevels},
		{"octets with what is put before it", Limits{MaxQoS: 2, MaxTopicBytes: 15, PrefixSize: prefix}, ReasonLimitsMaxTopicBytes},
		{"levels with what is put before it", Limits{MaxQoS: 2, MaxTopicLevels: 4, PrefixSize: prefix}, ReasonLimitsMaxTopicLevels},
	} {
		t.Run(c.name, func(t *testing.T) {
			const name = "aa/b/c"
			cfg := taking(c.limits)
			cfg.Predefined = predefined(t, 1, name)
			cfg.LongNames = true
			r := newRig(t, cfg)
			r.connect(false, 0)
			r.send(sn12.Register{MsgID: 1, TopicName: []byte(name)})
			r.wantDrop("REGISTER", c.why)
			r.want("REGISTER", sn12.RegAck{MsgID: 1, ReturnCode: sn12.RejectedNotSupported})
			r.send(sn12.Publish{TopicIDType: sn12.TopicIDPredefined, TopicID: 1, QoS: 2, MsgID: 2})
			r.wantDrop("predefined id", c.why)
			r.want("predefined id", sn12.PubAck{TopicID: 1, MsgID: 2, ReturnCode: sn12.RejectedNotSupported})
			r.send(sn12.Publish{TopicIDType: sn12.TopicIDPredefined, TopicID: 1, QoS: sn12.QoSMinusOne})
			r.wantDrop("QoS -1", c.why)
			r.send(sn12.Publish{TopicID: uint16(len(name)), QoS: sn12.QoSMinusOne, Data: []byte(name + "x")})
			r.wantDrop("QoS -1, with the name", c.why)
			r.send(sn12.Subscribe{QoS: 1, MsgID: 3, TopicName: []byte(name)})
			r.wantDrop("SUBSCRIBE", c.why)
			r.want("SUBSCRIBE", sn12.SubAck{MsgID: 3, ReturnCode: sn12.RejectedNotSupported})
			r.send(sn12.WillTopicUpd{Topic: []byte(name)})
			r.wantDrop("WILLTOPICUPD", c.why)
			r.want("WILLTOPICUPD", sn12.WillTopicResp{ReturnCode: sn12.RejectedNotSupported})
			r.send(sn12.Unsubscribe{MsgID: 4, TopicName: []byte(name)})
			r.want("no such subscription can exist", sn12.UnsubAck{MsgID: 4})
			if id := r.register("a/b"); id == 0 {
				t.Error("a shorter one")
			}
			r.send(sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: 'h'<<8 | 'i'})
			r.wantAction("a short one", Action{Kind: ActionPublish, Topic: "hi"})
		})
	}
	r := newRig(t, taking(Limits{MaxQoS: 2, MaxTopicBytes: 11, PrefixSize: prefix}))
	r.connect(false, 0)
	r.send(sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: 'h'<<8 | 'i'})
	r.wantDrop("short names too", ReasonLimitsMaxTopicBytes)
	r.want("", sn12.PubAck{TopicID: 'h'<<8 | 'i', ReturnCode: sn12.RejectedNotSupported})
}

// prefix is that of a broker that has "devices/x/" before each name.
func prefix(clientID string, _ bool) (octets, slashes int) {
	p := "devices/" + clientID[:1] + "/"
	return len(p), strings.Count(p, "/")
}

func TestFiltersWithWildcardsAreRefused(t *testing.T) {
	l := all
	l.NoWildcards = true
	r := newRig(t, taking(l))
	r.connect(false, 0)
	for i, filter := range []string{"#", "a/#", "+/b", "+"} {
		msgID := uint16(i + 1)
		r.send(sn12.Subscribe{MsgID: msgID, TopicName: []byte(filter)})
		r.wantDrop(filter, ReasonLimitsWildcards)
		r.want(filter, sn12.SubAck{MsgID: msgID, ReturnCode: sn12.RejectedNotSupported})
	}
	r.subscribe("a/b", 1)
}

func TestRetainIsNotPassedOn(t *testing.T) {
	l := all
	l.NoRetain = true
	r, id := publisher(t, taking(l))
	for qos := range uint8(3) {
		m := sn12.Publish{QoS: qos, Retain: true, TopicID: id, Data: []byte("x")}
		if qos > 0 {
			m.MsgID = uint16(qos)
		}
		r.send(m)
		r.wantAction("relayed", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x"), QoS: qos})
	}
	r.send(sn12.Publish{QoS: sn12.QoSMinusOne, Retain: true, TopicID: id, Data: []byte("x")})
	r.wantAction("QoS -1", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x")})
}

// The exchange with the device is that of its QoS, whatever the broker takes.
func TestHigherQoSIsRelayedAtTheHighestOfTheBroker(t *testing.T) {
	for _, c := range []struct{ max, qos uint8 }{{1, 2}, {0, 2}, {0, 1}} {
		t.Run(fmt.Sprintf("%d at %d", c.qos, c.max), func(t *testing.T) {
			r, id := publisher(t, taking(Limits{MaxQoS: c.max}))
			m := sn12.Publish{QoS: c.qos, TopicID: id, MsgID: 7, Data: []byte("x")}
			r.send(m)
			a := r.wantAction("once", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x"), QoS: c.max})
			m.DUP = true
			r.send(m)
			r.wantQuiet("no second one towards the broker")
			r.event(Event{Kind: EventPublished, Token: a.Token})
			if c.qos == 1 {
				r.want("the broker has it, or it is on its way", sn12.PubAck{TopicID: id, MsgID: 7})
				return
			}
			r.want("", sn12.PubRec{MsgID: 7})
			r.send(m)
			r.want("the exchange goes on", sn12.PubRec{MsgID: 7})
			r.send(sn12.PubRel{MsgID: 7})
			r.want("", sn12.PubComp{MsgID: 7})
			r.send(sn12.PubRel{MsgID: 7})
			r.want("", sn12.PubComp{MsgID: 7})
		})
	}
}

func TestMessageAtQoS0IsRefusedWhereItCannotBeSentNow(t *testing.T) {
	r, id := publisher(t, taking(Limits{}))
	m := sn12.Publish{QoS: 1, TopicID: id, MsgID: 7, Data: []byte("x")}
	refused := sn12.PubAck{TopicID: id, MsgID: 7, ReturnCode: sn12.RejectedCongestion}
	r.send(m)
	a := r.wantAction("", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x")})
	r.event(Event{Kind: EventPublishFailed, Token: a.Token, Congested: true})
	r.want("the link had no room", refused)
	r.event(Event{Kind: EventDown})
	r.send(m)
	r.want("nothing waits at QoS 0", refused)
	r.wantDrop("", ReasonBrokerDown)
	r.event(Event{Kind: EventUp, SessionPresent: true})
	r.send(m)
	a = r.wantAction("again", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x")})
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.want("", sn12.PubAck{TopicID: id, MsgID: 7})
}

// durably is durableConfig with limits.
func durably(l Limits) *Config {
	cfg := durableConfig()
	cfg.Limits = &l
	return cfg
}

// changeLimits has the next restart find other limits.
func (r durableRig) changeLimits(l Limits) {
	cfg := *r.s.cfg
	cfg.Limits = &l
	r.s.cfg = &cfg
}

// Wherever the gateway dies, the device's exchange is over once, and the broker is sent the
// message again only if it may not have it.
func TestLoweredQoS2OfTheDeviceOutlivesACrashAtEveryStep(t *testing.T) {
	publish := sn12.Publish{QoS: 2, TopicID: 1, MsgID: 7, Data: []byte("x")}
	again := publish
	again.DUP = true
	steps := []string{"publish", "stored", "done", "recorded"}
	for _, max := range []uint8{1, 0} {
		for crash, name := range steps {
			t.Run(fmt.Sprintf("%s, QoS %d", name, max), func(t *testing.T) {
				r := newDurableRig(t, durably(Limits{MaxQoS: max}))
				r.begin()
				want := Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x"), QoS: max}
				r.send(publish)
				var a Action
				for step := 1; step <= crash; step++ {
					switch steps[step] {
					case "stored":
						r.stored()
						r.want("safe", sn12.PubRec{MsgID: 7})
						if a = r.wantAction("", want); a.Exchange != 0 {
							t.Fatalf("exchange %d of QoS %d", a.Exchange, max)
						}
					case "done":
						r.event(Event{Kind: EventPublished, Token: a.Token})
					case "recorded":
						r.stored()
					}
				}
				r.crash()
				r.wantAction("", Action{Kind: ActionReopen, KeepAlive: 600, Lazy: crash == 0 || crash == 3})
				r.event(Event{Kind: EventUp, SessionPresent: true})
				if crash == 1 || crash == 2 {
					a = r.wantAction("once more", want)
				}
				r.send(again)
				if crash == 0 {
					r.stored()
					a = r.wantAction("as if new", want)
				}
				r.want("safe", sn12.PubRec{MsgID: 7})
				r.send(sn12.PubRel{MsgID: 7})
				r.want("", sn12.PubComp{MsgID: 7})
				if crash < 3 {
					r.event(Event{Kind: EventPublished, Token: a.Token})
				}
				r.stored()
				if n, _ := r.s.Spooled(); n != 0 {
					t.Errorf("%d messages are left", n)
				}
			})
		}
	}
}

func TestSpoolAtQoS0IsSentToItsEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		qos    uint8
	}{{"lowered", Limits{}, 1}, {"as it came", all, 0}} {
		t.Run(c.name, func(t *testing.T) {
			r := newDurableRig(t, durably(c.limits))
			id := r.begin()
			r.event(Event{Kind: EventDown})
			for i := range uint16(3 * spoolAtOnce) {
				msgID := (1 + i) * uint16(c.qos)
				r.send(sn12.Publish{QoS: c.qos, TopicID: id, MsgID: msgID, Data: []byte("x")})
				r.stored()
				if c.qos > 0 {
					r.want("safe", sn12.PubAck{TopicID: id, MsgID: msgID})
				}
			}
			r.event(Event{Kind: EventUp, SessionPresent: true})
			var sent []Action
			for range spoolAtOnce {
				sent = append(sent, r.wantPublish("some at a time", "x", 0))
			}
			for _, a := range sent {
				r.event(Event{Kind: EventPublishFailed, Token: a.Token, Congested: true})
				r.wantQuiet("what the link had no room for stays")
			}
			r.advance(spoolRetry)
			for len(r.acts) > 0 {
				a := r.wantPublish("and is sent, and the rest", "x", 0)
				rest := r.acts
				r.acts = nil
				r.event(Event{Kind: EventPublished, Token: a.Token})
				r.acts = append(rest, r.acts...)
			}
			if left, _ := r.s.Spooled(); left != 0 {
				t.Errorf("%d messages are left", left)
			}
		})
	}
}

// What was taken in under other limits is promised: it goes as the broker takes it, or is counted.
func TestSpoolOfOtherLimitsIsMadeRight(t *testing.T) {
	r, id := away(t, durably(all))
	r.send(sn12.Register{MsgID: 2, TopicName: []byte("a/long/topic")})
	r.stored()
	const long = 2
	r.want("", sn12.RegAck{TopicID: long, MsgID: 2})
	for i, m := range []sn12.Publish{
		{QoS: 2, TopicID: id, Retain: true, Data: []byte("2")},
		{QoS: 1, TopicID: id, Data: []byte("large")},
		{QoS: 1, TopicID: long, Data: []byte("deep")},
		{QoS: 1, TopicID: id, Retain: true, Data: []byte("1")},
	} {
		m.MsgID = uint16(10 + i)
		r.send(m)
		r.stored()
		if m.QoS == 2 {
			r.want("safe", sn12.PubRec{MsgID: m.MsgID})
		} else {
			r.want("safe", sn12.PubAck{TopicID: m.TopicID, MsgID: m.MsgID})
		}
	}
	l := strict()
	l.RefuseQoS, l.RefuseRetain, l.MaxTopicLevels = true, true, 2
	r.changeLimits(l)
	r.restart()
	r.up()
	r.wantDrop("neither can be made right", ReasonLimitsPayloadMax, ReasonLimitsMaxTopicLevels)
	a := r.wantPublish("QoS 1 and no RETAIN", "2", 1)
	b := r.wantPublish("not behind a PUBREL", "1", 1)
	for _, a := range []Action{a, b} {
		if a.Exchange != 0 || a.Released {
			t.Errorf("got %+v", a)
		}
		r.event(Event{Kind: EventPublished, Token: a.Token})
	}
	r.restart()
	r.wantAction("nothing is left", Action{Kind: ActionReopen, KeepAlive: 600, Lazy: true})
}

// A message whose PUBREL may have been sent is not taken for delivered: the broker that had it
// took QoS 2, and is gone.
func TestReleasedMessageOfOtherLimitsIsSentAgain(t *testing.T) {
	r := newDurableRig(t, durably(all))
	id := r.begin()
	r.send(sn12.Publish{QoS: 2, TopicID: id, MsgID: 7, Data: []byte("x")})
	r.stored()
	r.want("", sn12.PubRec{MsgID: 7})
	a := r.wantPublish("", "x", 2)
	r.event(Event{Kind: EventReceived, Token: a.Token})
	r.stored()
	r.wantAction("", Action{Kind: ActionRelease, Token: a.Token})
	r.changeLimits(Limits{MaxQoS: 1})
	r.restart()
	r.up()
	a = r.wantPublish("anew", "x", 1)
	if a.Exchange != 0 || a.Released {
		t.Errorf("got %+v", a)
	}
	r.changeLimits(all)
	r.restart()
	r.up()
	if a = r.wantPublish("and anew", "x", 2); a.Released {
		t.Error("released without having been published again")
	}
}

// What is stored is not refused when the device repeats it: it would be delivered all the same.
func TestRepeatOfWhatWasStoredUnderOtherLimitsIsNotRefused(t *testing.T) {
	refusing := Limits{MaxQoS: 1, RefuseQoS: true, NoRetain: true, RefuseRetain: true}
	for _, l := range []Limits{refusing, {MaxQoS: 2, MaxPayload: 4, MaxTopicBytes: 2}} {
		r, id := away(t, durably(all))
		m := sn12.Publish{QoS: 2, Retain: true, TopicID: id, MsgID: 7, Data: []byte("x")}
		r.send(m)
		r.stored()
		r.want("safe", sn12.PubRec{MsgID: 7})
		r.changeLimits(l)
		r.restart()
		r.wantAction("", Action{Kind: ActionReopen, KeepAlive: 600})
		m.DUP = true
		r.send(m)
		r.wantDrop("not refused")
		r.want("still safe", sn12.PubRec{MsgID: 7})
		m.MsgID = 8
		r.send(m)
		r.want("a new one is", sn12.PubAck{TopicID: id, MsgID: 8, ReturnCode: sn12.RejectedNotSupported})
	}
}

func TestSubscriptionsAreGrantedWhatTheBrokerTakes(t *testing.T) {
	for _, c := range []struct{ max, qos, granted, want uint8 }{{1, 2, 1, 1}, {0, 2, 0, 0}, {1, 1, 1, 1}, {1, 2, 0, 0}, {2, 2, 2, 2}} {
		r := newRig(t, taking(Limits{MaxQoS: c.max}))
		r.connect(false, 0)
		m := sn12.Subscribe{QoS: c.qos, MsgID: 3, TopicName: []byte("a/b")}
		r.send(m)
		a := r.wantAction("asked for no more", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: min(c.max, c.qos)})
		r.send(m)
		r.wantQuiet("a repeat is one")
		r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: c.granted})
		r.want("", sn12.SubAck{QoS: c.want, TopicID: 1, MsgID: 3})
	}
}

func TestSubscriptionsOfOtherLimits(t *testing.T) {
	r := newDurableRig(t, durably(all))
	r.begin()
	r.subscribed()
	r.send(sn12.Subscribe{QoS: 1, MsgID: 3, TopicName: []byte("a/#")})
	a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/#", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.stored()
	r.want("", sn12.SubAck{QoS: 1, MsgID: 3})

	reconnected := func() {
		r.wantAction("", Action{Kind: ActionReopen, KeepAlive: 600})
		r.event(Event{Kind: EventUp})
	}
	r.changeLimits(strict())
	r.restart()
	reconnected()
	r.wantDrop("not asked for", ReasonLimitsWildcards)
	a = r.wantAction("the other one with less", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Topic: "a/b", Granted: 1})
	r.stored()

	r.changeLimits(all)
	r.restart()
	reconnected()
	for _, want := range []Action{{Topic: "a/#", QoS: 1}, {Topic: "a/b", QoS: 2}} {
		want.Kind = ActionSubscribe
		a = r.wantAction("both are there", want)
	}
	for _, filter := range []string{"a/#", "a/b"} {
		r.event(Event{Kind: EventSubscribed, Token: a.Token, Topic: filter})
	}

	r.changeLimits(strict())
	r.restart()
	r.wantAction("", Action{Kind: ActionReopen, KeepAlive: 600})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	r.send(sn12.Unsubscribe{MsgID: 4, TopicName: []byte("a/#")})
	r.stored()
	r.want("the broker is not asked", sn12.UnsubAck{MsgID: 4})
	r.restart()
	reconnected()
	r.wantDrop("it is gone")
	r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
}

func TestConnectWithAWillIsRefusedWhereTheBrokerTakesNone(t *testing.T) {
	cfg := taking(Limits{MaxQoS: 2, NoWills: true, RefuseWills: true})
	m := parsed(t, unhex(t, "09 04 08 01 0000 646576"))
	if code, why := CheckConnect(cfg, &m); code != dialogue.NotSupported || why != ReasonLimitsWill {
		t.Errorf("got %v, %v", code, why)
	}
	anonymous := parsed(t, unhex(t, "06 04 0c 01 0000"))
	if code, why := CheckAssigned(cfg, &anonymous, "x"); code != dialogue.NotSupported || why != ReasonLimitsWill {
		t.Errorf("without a client id: got %v, %v", code, why)
	}
	m.Will = false
	if code, why := CheckConnect(cfg, &m); code != dialogue.Accepted || why != ReasonNone {
		t.Errorf("without a will: got %v, %v", code, why)
	}
	r := newRig(t, cfg)
	r.connect(false, 0)
	r.send(sn12.WillTopicUpd{Topic: []byte("w")})
	r.wantDrop("nor later", ReasonLimitsWill)
	r.want("", sn12.WillTopicResp{ReturnCode: sn12.RejectedNotSupported})
}

func TestWillsAreWhatTheBrokerTakes(t *testing.T) {
	r := newRig(t, taking(Limits{MaxQoS: 1, NoRetain: true, MaxPayload: 4}))
	r.send(connectMsg(false, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.send(sn12.WillTopic{QoS: 2, Retain: true, Topic: []byte("w")})
	r.want("", sn12.WillMsgReq{})
	r.send(sn12.WillMsg{Message: []byte("gone")})
	r.wantAction("QoS 1 and no RETAIN", Action{Kind: ActionConnect, KeepAlive: 60, Will: &Will{Topic: "w", Message: []byte("gone"), QoS: 1}})
	r.event(Event{Kind: EventConnected})
	r.want("", sn12.ConnAck{})
	r.send(sn12.WillMsgUpd{Message: []byte("large")})
	r.wantDrop("", ReasonLimitsPayloadMax)
	r.want("", sn12.WillMsgResp{ReturnCode: sn12.RejectedNotSupported})
	r.send(sn12.WillTopicUpd{QoS: 2, Retain: true, Topic: []byte("v")})
	r.wantAction("", Action{Kind: ActionSetWill, Will: &Will{Topic: "v", Message: []byte("gone"), QoS: 1}})
	r.want("", sn12.WillTopicResp{})
}

func TestWillDialogueEndsWhereTheBrokerDoesNotTakeTheWill(t *testing.T) {
	for _, c := range []struct {
		limits Limits
		topic  sn12.WillTopic
		why    Reason
	}{
		{Limits{MaxQoS: 2, NoRetain: true, RefuseRetain: true}, sn12.WillTopic{Retain: true, Topic: []byte("w")}, ReasonLimitsRetain},
		{Limits{MaxQoS: 2, MaxTopicBytes: 2}, sn12.WillTopic{Topic: []byte("wid")}, ReasonLimitsMaxTopicBytes},
		{Limits{MaxQoS: 2, MaxTopicLevels: 1}, sn12.WillTopic{Topic: []byte("w/1")}, ReasonLimitsMaxTopicLevels},
		{Limits{MaxQoS: 1, RefuseQoS: true, MaxPayload: 3}, sn12.WillTopic{QoS: 2, Topic: []byte("w")}, ReasonLimitsPayloadMax},
	} {
		r := newRig(t, taking(c.limits))
		r.send(connectMsg(false, true, 60))
		r.want("", sn12.WillTopicReq{})
		r.send(c.topic)
		if c.why == ReasonLimitsPayloadMax {
			r.want("QoS is always lowered", sn12.WillMsgReq{})
			r.send(sn12.WillMsg{Message: []byte("gone")})
		}
		r.wantDrop("", c.why)
		r.want("", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
	}
}

// A will from before is promised. A broker that takes none is not told of it.
func TestWillOfOtherLimits(t *testing.T) {
	w := &Will{Topic: "w/1", Message: []byte("gone"), QoS: 2, Retain: true}
	for _, c := range []struct {
		name   string
		limits Limits
		want   *Will
		why    Reason
	}{
		{"made right", Limits{MaxQoS: 1, NoRetain: true, RefuseRetain: true, RefuseQoS: true}, &Will{Topic: "w/1", Message: w.Message, QoS: 1}, ReasonNone},
		{"too large", Limits{MaxQoS: 2, MaxPayload: 3}, nil, ReasonLimitsPayloadMax},
		{"too deep", Limits{MaxQoS: 2, MaxTopicLevels: 1}, nil, ReasonLimitsMaxTopicLevels},
		{"wills are refused now", Limits{MaxQoS: 2, NoWills: true, RefuseWills: true}, w, ReasonNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newDurableRig(t, durably(all))
			r.connectWill(false, w)
			r.stored()
			r.changeLimits(c.limits)
			keeps := c.limits.NoWills
			r.s.cfg.PublishesWills = keeps
			r.restart()
			reopen := Action{Kind: ActionReopen, KeepAlive: 60, Will: c.want, Lazy: true}
			if keeps {
				reopen.Will = nil
			}
			r.wantAction("the broker is told what it takes", reopen)
			if c.why != ReasonNone {
				r.wantDrop("counted", c.why)
			}
			r.event(Event{Kind: EventUp, SessionPresent: true})
			r.advance(90 * time.Second)
			r.want("lost", sn12.Disconnect{})
			switch {
			case keeps:
				r.wantAction("the gateway publishes it", Action{Kind: ActionPublish, Topic: w.Topic, Payload: w.Message, QoS: 2, Retain: true})
				r.wantAction("", Action{Kind: ActionCloseDrain})
			default:
				r.wantAction("the broker does", Action{Kind: ActionCloseAbort})
			}
		})
	}
}

// The link keeps nothing of QoS 0, so such a will waits in the session.
func TestWillAtQoS0WaitsForTheBroker(t *testing.T) {
	w := &Will{Topic: "w", Message: []byte("gone")}
	published := func(r *rig) {
		r.t.Helper()
		r.wantAction("now", Action{Kind: ActionPublish, Topic: "w", Payload: w.Message})
		r.wantAction("and the end", Action{Kind: ActionCloseDrain})
		r.event(Event{Kind: EventClosed})
		r.wantWillDue("published", nil)
	}
	begin := func() *rig {
		cfg := taking(Limits{NoWills: true})
		cfg.PublishesWills = true
		r := newRig(t, cfg)
		r.connectKept(false, w)
		return r
	}
	r := begin()
	r.lostSilently()
	published(r)

	r = begin()
	r.event(Event{Kind: EventDown})
	r.lostSilently()
	r.wantQuiet("there is no connection")
	r.wantWillDue("", w)
	r.event(Event{Kind: EventUp})
	published(r)

	r = begin()
	r.event(Event{Kind: EventDown})
	r.lostSilently()
	r.advance(time.Hour)
	r.connectKept(false, w)
	r.wantQuiet("the device is back: it would be false")
}

func TestWillAtQoS0WaitsForTheBrokerOverARestart(t *testing.T) {
	w := &Will{Topic: "w", Message: []byte("gone")}
	r := newDurableRig(t, durably(all))
	r.connectWill(false, w)
	r.stored()
	r.changeLimits(Limits{NoWills: true})
	r.s.cfg.PublishesWills = true
	r.restart()
	r.wantAction("", Action{Kind: ActionReopen, KeepAlive: 60, Lazy: true})
	r.lostSilently()
	r.wantQuiet("there is no connection")
	r.restart()
	r.wantAction("for the will", Action{Kind: ActionReopen, KeepAlive: 60})
	r.event(Event{Kind: EventUp})
	r.wantAction("now", Action{Kind: ActionPublish, Topic: "w", Payload: w.Message})
	r.wantAction("and the end", Action{Kind: ActionCloseDrain})
}
