package session

import (
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// subscribeVia sends SUBSCRIBE, has the broker send a message before it answers, and
// returns what asks the broker.
func (r *rig) subscribeVia(m sn12.Subscribe, filter string) Action {
	r.t.Helper()
	r.send(m)
	return r.wantAction("SUBSCRIBE goes up", Action{Kind: ActionSubscribe, Topic: filter, QoS: m.QoS})
}

func TestMessageComesAfterTheSubAckOfItsSubscription(t *testing.T) {
	cfg := func() *Config {
		c := testConfig()
		c.Predefined = predefined(t, 300, "p/q")
		return c
	}
	for _, tt := range []struct {
		name, topic string
		sub         sn12.Subscribe
		filter      string
		suback      uint16
		publish     sn12.Publish
		register    bool
	}{
		{"name", "cfg/mode", sn12.Subscribe{TopicName: []byte("cfg/mode")}, "cfg/mode", 1, sn12.Publish{TopicID: 1}, false},
		{"wildcard", "cfg/mode", sn12.Subscribe{TopicName: []byte("cfg/+")}, "cfg/+", 0, sn12.Publish{TopicID: 1}, true},
		{"group", "cfg/mode", sn12.Subscribe{TopicName: []byte("$share/g/cfg/mode")}, "$share/g/cfg/mode", 0, sn12.Publish{TopicID: 1}, true},
		{"predefined id", "p/q", sn12.Subscribe{TopicIDType: sn12.TopicIDPredefined, TopicID: 300}, "p/q", 300,
			sn12.Publish{TopicIDType: sn12.TopicIDPredefined, TopicID: 300}, false},
		{"short name", "ec", sn12.Subscribe{TopicIDType: sn12.TopicIDShort, TopicID: 0x6563}, "ec", 0x6563,
			sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: 0x6563}, false},
	} {
		for qos := range uint8(3) {
			t.Run(fmt.Sprintf("%s QoS %d", tt.name, qos), func(t *testing.T) {
				r := newRig(t, cfg())
				r.connect(true, 600)
				tt.sub.QoS, tt.sub.MsgID = qos, 7
				a := r.subscribeVia(tt.sub, tt.filter)
				ev := fromBroker(tt.topic, "retained", qos, 1)
				ev.Retain = true
				r.event(ev)
				r.wantQuiet("SUBACK first")
				r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: qos})
				r.want("SUBACK", sn12.SubAck{QoS: qos, TopicID: tt.suback, MsgID: 7})
				msgID := uint16(1)
				if tt.register {
					r.want("the id is not in the SUBACK", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte(tt.topic)})
					r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
					msgID = 2
				}
				p := tt.publish
				p.QoS, p.Retain, p.Data = qos, true, []byte("retained")
				if qos > 0 {
					p.MsgID = msgID
				}
				r.want("then the message", p)
			})
		}
	}
}

func TestMessageComesAfterTheSubAckWithAStore(t *testing.T) {
	for qos := range uint8(3) {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			r := newDurableRig(t, nil)
			r.connect(false, 600)
			// 0d 12 20 0001 cfg/mode, as one widespread client has it
			a := r.subscribeVia(sn12.Subscribe{QoS: qos, MsgID: 1, TopicName: []byte("cfg/mode")}, "cfg/mode")
			r.event(fromBroker("cfg/mode", "before", qos, 1))
			r.wantQuiet("the broker has not answered")
			r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: qos})
			r.wantQuiet("SUBACK waits for the store")
			r.event(fromBroker("cfg/mode", "after", qos, 2))
			r.wantQuiet("no REGISTER, no message: SUBACK first")
			r.stored()
			r.want("SUBACK", sn12.SubAck{QoS: qos, TopicID: 1, MsgID: 1})
			if qos == 2 { // its MsgId has to be stored
				r.stored()
			}
			msgID := uint16(min(qos, 1))
			r.want("no REGISTER: the id is in the SUBACK", pub(qos, 1, msgID, "before"))
			if qos == 0 {
				r.want("in order", pub(qos, 1, 0, "after"))
			}
		})
	}
}

func TestSubAckOfAStoreThatFailsComesBeforeTheMessages(t *testing.T) {
	r := newDurableRig(t, nil)
	r.connect(false, 600)
	a := r.subscribeVia(sn12.Subscribe{MsgID: 1, TopicName: []byte("a/b")}, "a/b")
	r.event(Event{Kind: EventSubscribed, Token: a.Token})
	r.event(fromBroker("a/b", "x", 1, 1))
	r.wantQuiet("SUBACK first")
	r.storeFailed()
	r.want("congestion", sn12.SubAck{MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.wantAction("the broker is told", Action{Kind: ActionUnsubscribe, Topic: "a/b"})
	r.stored()
	r.want("what it has sent meanwhile is delivered", sn12.Register{TopicID: 2, MsgID: 1, TopicName: []byte("a/b")})
}

func TestMessagesOfOtherSubscriptionsDoNotWaitForASubAck(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	a := r.subscribeVia(sn12.Subscribe{MsgID: 9, TopicName: []byte("c/d")}, "c/d")
	r.event(fromBroker("a/b", "x", 0, 0))
	r.want("nothing to wait for", pub(0, id, 0, "x"))
	r.event(fromBroker("c/d", "y", 0, 0))
	r.event(fromBroker("a/b", "z", 0, 0))
	r.wantQuiet("in order")
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Refused: RefusedForGood})
	r.want("refused", sn12.SubAck{MsgID: 9, ReturnCode: sn12.RejectedNotSupported})
	r.want("it came all the same", sn12.Register{TopicID: 2, MsgID: 1, TopicName: []byte("c/d")})
	r.send(sn12.RegAck{TopicID: 2, MsgID: 1})
	r.want("y", pub(0, 2, 0, "y"))
	r.want("z", pub(0, id, 0, "z"))
}

func TestMessagesDoNotWaitForASubAckThatNeverComes(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 600)
	r.subscribeVia(sn12.Subscribe{MsgID: 9, TopicName: []byte("c/d")}, "c/d")
	r.event(fromBroker("c/d", "y", 0, 0))
	r.advance(20 * time.Second)
	r.want("Hold is over", sn12.SubAck{MsgID: 9, ReturnCode: sn12.RejectedCongestion})
	r.want("then", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("c/d")})
}

func TestHeldMessagesOfASleeperComeAfterTheSubAck(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.sleep(60)
	r.event(fromBroker("a/b", "held", 1, 1))
	a := r.subscribeVia(sn12.Subscribe{QoS: 1, MsgID: 9, TopicName: []byte("a/b")}, "a/b")
	r.wake()
	r.wantQuiet("SUBACK first")
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.want("SUBACK", sn12.SubAck{QoS: 1, TopicID: id, MsgID: 9})
	r.want("then the message", pub(1, id, 1, "held"))
	r.advance(6 * time.Second) // longer than SUBACK would have been waited for
	r.send(sn12.PubAck{TopicID: id, MsgID: 1})
	r.wantAck("held", 1)
	ping := r.wantAction("the barrier, as always", Action{Kind: ActionPing})
	r.event(Event{Kind: EventPong, Token: ping.Token})
	r.want("last", sn12.PingResp{})
}

func TestWakeDoesNotWaitForASubAckForLong(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.sleep(600)
	r.event(fromBroker("a/b", "held", 1, 1))
	a := r.subscribeVia(sn12.Subscribe{QoS: 1, MsgID: 9, TopicName: []byte("a/b")}, "a/b")
	r.wake()
	r.advance(5*time.Second - 1)
	r.wantQuiet("the broker has some time")
	r.advance(1)
	r.want("the device is not kept awake", sn12.PingResp{})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.want("asleep, it is answered", sn12.SubAck{QoS: 1, TopicID: id, MsgID: 9})
	r.wake()
	r.want("the next time", pub(1, id, 1, "held"))
}

func TestSubAckAnswersTheRegisterOfItsTopic(t *testing.T) {
	for qos := range uint8(3) {
		r, id := subscriber(t, nil, false, "e/s2")
		r.event(fromBroker("e/s2", "zero", 0, 0))
		r.want("known", pub(0, id, 0, "zero"))
		r.comeBackKept()
		r.event(fromBroker("e/s2", "queued", qos, 1))
		r.want("it may have restarted", sn12.Register{TopicID: id, MsgID: 1, TopicName: []byte("e/s2")})
		a := r.subscribeVia(sn12.Subscribe{QoS: 1, MsgID: 0x1235, TopicName: []byte("e/s2")}, "e/s2")
		r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
		r.want("the id is in there", sn12.SubAck{QoS: 1, TopicID: id, MsgID: 0x1235})
		r.want("which is as good as REGACK", pub(qos, id, 2*min(uint16(qos), 1), "queued"))
		r.send(sn12.RegAck{TopicID: id, MsgID: 1})
		r.wantDrop("late", ReasonUnexpectedMessage)
		if qos == 0 {
			r.advance(15 * time.Second)
			r.wantQuiet("nothing is repeated")
		}
	}
}

// comeBackKept connects once more with CleanSession=0; what is known stays.
func (r *rig) comeBackKept() {
	r.t.Helper()
	r.later()
	r.send(sn12.Connect{ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	r.wantAction("no will, as before", Action{Kind: ActionSetWill})
	r.want("it goes on", sn12.ConnAck{})
}

func TestRegAckAndUseOfATopicIDAnswerItsRegister(t *testing.T) {
	for name, tt := range map[string]struct {
		send   sn12.Message
		answer sn12.Message
		act    *Action
	}{
		"REGISTER of the device": {sn12.Register{MsgID: 5, TopicName: []byte("a/b")}, sn12.RegAck{TopicID: 1, MsgID: 5}, nil},
		"PUBLISH with the id":    {sn12.Publish{TopicID: 1, Data: []byte("u")}, nil, &Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("u")}},
	} {
		r, id := subscriber(t, nil, false, "a/b")
		r.comeBackKept()
		r.event(fromBroker("a/b", "x", 1, 1))
		r.want(name, sn12.Register{TopicID: id, MsgID: 1, TopicName: []byte("a/b")})
		r.send(tt.send)
		if tt.answer != nil {
			r.want(name, tt.answer)
		}
		if tt.act != nil {
			r.wantAction(name, *tt.act)
		}
		r.want(name+": the device knows the id", pub(1, id, 2, "x"))
	}
}

func TestSubAckTellsAnIDThatIsOnItsWayToTheStore(t *testing.T) {
	r := newDurableRig(t, nil)
	r.connect(false, 600)
	a := r.subscribeVia(sn12.Subscribe{QoS: 1, MsgID: 1, TopicName: []byte("#")}, "#")
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.stored()
	r.want("", sn12.SubAck{QoS: 1, MsgID: 1})
	a = r.subscribeVia(sn12.Subscribe{QoS: 1, MsgID: 2, TopicName: []byte("a/b")}, "a/b")
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.event(fromBroker("c/d", "other", 0, 0))
	r.wantQuiet("its id is to be stored")
	r.event(fromBroker("a/b", "x", 0, 0))
	r.stored()
	r.want("SUBACK", sn12.SubAck{QoS: 1, TopicID: 1, MsgID: 2})
	r.want("REGISTER of the other", sn12.Register{TopicID: 2, MsgID: 1, TopicName: []byte("c/d")})
	r.send(sn12.RegAck{TopicID: 2, MsgID: 1})
	r.want("other", pub(0, 2, 0, "other"))
	r.want("x needs none", pub(0, 1, 0, "x"))
}

func TestSubAckWithMoreRetainedMessagesBeforeItThanMayBeHeld(t *testing.T) {
	for qos := range uint8(2) {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprintf("QoS %d store %v", qos, stored), func(t *testing.T) {
				cfg := testConfig()
				if stored {
					cfg = durableConfig()
				}
				cfg.MaxMessages = 4
				r := newRig(t, cfg)
				if stored {
					r.store = newModelStore()
				}
				r.connect(true, 600)
				a := r.subscribeVia(sn12.Subscribe{QoS: 1, MsgID: 9, TopicName: []byte("r/#")}, "r/#")
				for n := range uint16(8) {
					ev := fromBroker("r/x", "x", qos, n+1)
					ev.Retain = true
					if r.event(ev); n < 7 {
						r.wantQuiet("SUBACK first")
					}
				}
				r.wantDrop("nothing is lost")
				r.wantAction("the answer is behind what is not read", Action{Kind: ActionPause})
				if stored {
					r.wantQuiet("the subscription is stored")
					durableRig{r}.stored()
				}
				r.want("the broker would not send them otherwise", sn12.SubAck{QoS: 1, MsgID: 9})
				if stored {
					durableRig{r}.stored()
				}
				r.want("then", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("r/x")})
				r.event(Event{Kind: EventSubscribed, Token: a.Token, Refused: RefusedForGood})
				r.wantDrop("the broker has thought better of it", ReasonSubscriptionRefused)
				if len(r.s.subs.list) != 0 {
					t.Error("the subscription is kept")
				}
			})
		}
	}
}

func TestSubscribeToAGroupHasNoTopicID(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	if id := r.subscribe("$share/g/sh/x", 1); id != 0 {
		t.Errorf("topic id %d", id)
	}
	r.event(fromBroker("sh/x", "m", 0, 0))
	r.want("as for wildcards", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("sh/x")})
}

func TestRequestWithoutATopicIsAnswered(t *testing.T) {
	r := newRig(t, predefinedConfig(t, topicreg.Entry{ID: 5, Name: "site/alarm"}))
	r.connect(true, 60)
	for _, tt := range []struct{ name, hex, answer string }{
		{"SUBSCRIBE without a name", "05 12 20 0007", "08 13 00 0000 0007 03"},
		{"and without a name of the reserved type", "05 12 23 0007", "08 13 00 0000 0007 03"},
		{"without an id", "05 12 21 0007", "08 13 00 0000 0007 03"},
		{"with half an id", "06 12 21 0007 05", "08 13 00 0000 0007 03"},
		{"with half a short name", "06 12 22 0007 61", "08 13 00 0000 0007 03"},
		{"with a short name that is not short", "08 12 22 0007 616263", "08 13 00 0000 0007 03"},
		{"UNSUBSCRIBE without a name", "05 14 00 0007", "04 15 0007"},
		{"without an id", "05 14 01 0007", "04 15 0007"},
		{"with half a short name", "06 14 02 0007 61", "04 15 0007"},
		{"REGISTER without a name", "06 0a 0000 0007", "07 0b 0000 0007 03"},
	} {
		r.sendHex(tt.hex)
		r.wantHex(tt.name, tt.answer)
		r.wantDrop(tt.name, ReasonInvalidTopic)
	}
	for _, hex := range []string{"04 12 20 00", "04 14 00 00", "02 12", "02 14", "05 0a 0000 00"} {
		r.sendHex(hex)
		r.wantDrop("no MsgId: nothing to answer", ReasonMalformed)
	}
}
