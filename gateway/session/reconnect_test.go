package session

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// A device that restarts sends the CONNECT it has always sent, from the same address.
// Once it has been heard in between, that is a new connection and not a repeat.
func TestConnectOfARestartedDeviceBeginsAnew_Case25_36(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	id := r.register("a/b")
	r.later()
	r.send(connectMsg(true, false, 60))
	r.wantAction("CleanSession=1 is a new session for the broker too", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.event(Event{Kind: EventConnected})
	r.want("", sn12.ConnAck{})
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
	r.want("the old id is gone", sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
}

func TestConnectWithOtherValuesPutsThemInForce_Case26(t *testing.T) {
	t.Run("keep-alive, clean session", func(t *testing.T) {
		r := newRig(t, nil)
		r.connect(true, 60)
		r.send(connectMsg(true, false, 600))
		r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 600})
		r.event(Event{Kind: EventConnected})
		r.want("", sn12.ConnAck{})
		r.advance(660*time.Second - 1)
		r.wantState("600 s and 10 %", StateActive)
	})
	t.Run("keep-alive, kept session", func(t *testing.T) {
		r := newRig(t, nil)
		r.connect(false, 60)
		r.send(connectMsg(false, false, 600))
		r.wantAction("nothing to tell the broker but the unchanged will", Action{Kind: ActionSetWill})
		r.want("", sn12.ConnAck{})
		r.advance(660*time.Second - 1)
		r.wantState("600 s and 10 %", StateActive)
	})
	for _, first := range []bool{true, false} {
		r := newRig(t, nil)
		r.connect(first, 60)
		r.send(connectMsg(!first, false, 60))
		r.wantAction("the clean flag is the broker's business", Action{Kind: ActionConnect, Clean: !first, KeepAlive: 60})
		r.event(Event{Kind: EventConnected})
		r.want("", sn12.ConnAck{})
		if r.s.clean != !first {
			t.Errorf("clean is %v", r.s.clean)
		}
		r.close()
		r.wantFreed("kept by the new flag, not the old one", !first)
	}
}

// MQTT 3.1.1 section 3.1.2.4: the state of a clean session must not be reused in a
// later one. What was subscribed in it must not come back with CleanSession=0.
func TestCleanSessionLeavesNothingToAKeptOne_Case26_36(t *testing.T) {
	r := newRig(t, nil)
	w := &Will{Topic: "w", Message: []byte("gone")}
	r.connectWill(true, w)
	id := r.register("a/b")
	r.subscribe("c/#", 1)
	r.send(connectMsg(false, false, 60))
	r.wantAction("without the will of the clean session", Action{Kind: ActionConnect, KeepAlive: 60})
	r.event(Event{Kind: EventConnected})
	r.want("", sn12.ConnAck{})
	r.wantQuiet("no subscription is restored")
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
	r.want("and no topic id", sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
}

func TestCleanConnectForgetsTheKeptSession_Case36(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(false, &Will{Topic: "w", Message: []byte("m")})
	id := r.register("a/b")
	r.subscribe("c/#", 1)
	r.sleep(60)
	r.event(fromBroker("c/1", "held", 1, 1))
	r.send(connectMsg(true, false, 60))
	r.wantDrop("the message held goes with the session", ReasonCleanSession)
	r.wantAction("neither will nor anything else", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.event(Event{Kind: EventConnected})
	r.want("", sn12.ConnAck{})
	r.wantQuiet("no subscription is restored, no message delivered")
	if n, b := r.s.Held(); n != 0 || b != 0 {
		t.Errorf("%d messages, %d octets are still held", n, b)
	}
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9})
	r.want("the id is gone", sn12.PubAck{TopicID: id, MsgID: 9, ReturnCode: sn12.RejectedInvalidTopicID})
	r.wantDrop("", ReasonUnknownTopicID)
}

func TestKeptSessionRemembersTopicIDs_Case37(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60)
	id := r.register("a/b")
	r.close()
	r.wantFreed("CleanSession=0", false)
	r.send(connectMsg(false, false, 60))
	r.wantAction("", Action{Kind: ActionConnect, KeepAlive: 60})
	r.event(Event{Kind: EventConnected, SessionPresent: true})
	r.want("", sn12.ConnAck{})
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("x")})
	a := r.wantAction("right topic", Action{Kind: ActionPublish, QoS: 1, Topic: "a/b", Payload: []byte("x")})
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.want("", sn12.PubAck{TopicID: id, MsgID: 1})
}

func TestSubscriptionsAreRepeatedWhereTheBrokerHasForgottenThem(t *testing.T) {
	for _, present := range []bool{true, false} {
		r := newRig(t, nil)
		r.connect(false, 60)
		r.subscribe("c/#", 2)
		r.subscribe("d", 0)
		r.close()
		r.send(connectMsg(false, false, 60))
		r.wantAction("", Action{Kind: ActionConnect, KeepAlive: 60})
		r.event(Event{Kind: EventConnected, SessionPresent: present})
		r.want("", sn12.ConnAck{})
		if !present {
			r.wantAction("", Action{Kind: ActionSubscribe, Topic: "c/#", QoS: 2})
			r.wantAction("", Action{Kind: ActionSubscribe, Topic: "d"})
		}
	}
}

// A device that restarts counts its MsgIds from the beginning: what it sends then is
// not a repeat of what it sent before, and answers to that are not for it.
func TestReconnectOfAnActiveDeviceBeginsItsMsgIDsAnew(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60)
	id := r.register("a/b")
	old := make([]Action, 2)
	for i := range old {
		r.send(sn12.Publish{QoS: uint8(i + 1), TopicID: id, MsgID: uint16(i + 1), Data: []byte("old")})
		old[i] = r.wantAction("", Action{Kind: ActionPublish, QoS: uint8(i + 1), Topic: "a/b", Payload: []byte("old")})
	}
	r.send(sn12.Subscribe{MsgID: 3, TopicName: []byte("old/topic")})
	sub := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "old/topic"})

	r.later()
	r.send(connectMsg(false, false, 60))
	r.wantAction("", Action{Kind: ActionSetWill})
	r.want("", sn12.ConnAck{})
	for i := range old {
		r.send(sn12.Publish{QoS: uint8(i + 1), TopicID: id, MsgID: uint16(i + 1), Data: []byte("new")})
		r.wantAction("a new message", Action{Kind: ActionPublish, QoS: uint8(i + 1), Topic: "a/b", Payload: []byte("new")})
	}
	r.send(sn12.Subscribe{MsgID: 3, TopicName: []byte("new/topic")})
	r.wantAction("a new request", Action{Kind: ActionSubscribe, Topic: "new/topic"})
	r.event(Event{Kind: EventPublished, Token: old[0].Token})
	r.event(Event{Kind: EventPublished, Token: old[1].Token})
	r.event(Event{Kind: EventSubscribed, Token: sub.Token})
	r.wantQuiet("late answers to the old requests would be taken for answers to the new ones")
}

// The broker's answer to the first CONNECT must not be taken for one to the second,
// whose will is still being asked for.
func TestAnotherConnectWhileTheBrokerIsAwaited(t *testing.T) {
	for name, answer := range map[string]Event{
		"accepted": {Kind: EventConnected},
		"refused":  {Kind: EventRefused, Refused: RefusedForNow},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.send(connectMsg(true, false, 60))
			r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
			r.send(connectMsg(true, true, 60))
			r.want("", sn12.WillTopicReq{})
			r.event(answer)
			r.wantQuiet("not the answer to this CONNECT")
			r.wantState("", StateWillTopic)
			r.send(sn12.WillTopic{QoS: 1, Topic: []byte("w")})
			r.want("", sn12.WillMsgReq{})
			r.send(sn12.WillMsg{Message: []byte("m")})
			r.wantAction("the will goes up", Action{
				Kind: ActionConnect, Clean: true, KeepAlive: 60, Will: &Will{Topic: "w", Message: []byte("m"), QoS: 1},
			})
			r.event(Event{Kind: EventConnected})
			r.want("", sn12.ConnAck{})
		})
	}
}

// Its first answer says that the broker has forgotten the subscriptions; the second, to
// the same session, does not say so again.
func TestAnotherConnectDoesNotLoseTheSubscriptions(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60)
	r.subscribe("c/#", 1)
	r.close()
	r.send(connectMsg(false, false, 60))
	r.wantAction("", Action{Kind: ActionConnect, KeepAlive: 60})
	r.send(connectMsg(false, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.event(Event{Kind: EventConnected})
	r.wantAction("", Action{Kind: ActionSubscribe, Topic: "c/#", QoS: 1})
	r.send(sn12.WillTopic{Empty: true})
	r.wantAction("", Action{Kind: ActionConnect, KeepAlive: 60})
	r.event(Event{Kind: EventConnected, SessionPresent: true})
	r.wantAction("it may not have got it", Action{Kind: ActionSubscribe, Topic: "c/#", QoS: 1})
	r.want("", sn12.ConnAck{})
}

func TestConnectEndsThePauseOfACongestedDevice(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 0)
	r.event(fromBroker("ab", "x", 1, 1))
	r.want("", sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, MsgID: 1, Data: []byte("x")})
	r.send(sn12.PubAck{TopicID: 0x6162, MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.wantQuiet("it asks for a pause")
	r.later()
	r.send(connectMsg(false, false, 0))
	r.wantAction("", Action{Kind: ActionSetWill})
	r.want("", sn12.ConnAck{})
	r.want("a device that connects is ready", sn12.Publish{
		DUP: true, QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, MsgID: 1, Data: []byte("x"),
	})
}

// The broker numbers its messages from the beginning when it has lost its session: the
// same number is another message, and must not go under the old MsgId.
func TestQoS2OfANewBrokerSessionIsANewMessage_Case173(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 0)
	r.event(fromBroker("ab", "old", 2, 7))
	r.want("", sn12.Publish{QoS: 2, TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, MsgID: 1, Data: []byte("old")})
	r.close()
	r.connect(false, 0) // without SessionPresent
	ev := fromBroker("ab", "new", 2, 7)
	ev.Dup = true
	r.event(ev)
	r.want("", sn12.Publish{QoS: 2, TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, MsgID: 2, Data: []byte("new")})
}

func TestConnectOfASleeperIsAWakeUp_Case142_143(t *testing.T) {
	for _, clean := range []bool{true, false} {
		r := newRig(t, nil)
		w := &Will{Topic: "w", Message: []byte("m")}
		if clean { // a will would be a sign of a restart
			w = nil
			r.connect(true, 60)
		} else {
			r.connectWill(false, w)
		}
		id := r.subscribe("a/b", 0)
		r.sleep(600)
		r.event(fromBroker("a/b", "held", 0, 0))
		r.send(connectMsg(clean, false, 60))
		r.wantAction("no second connection; the will stays", Action{Kind: ActionSetWill, Will: w})
		r.want("", sn12.ConnAck{})
		r.want("its topic ids are still good", sn12.Publish{TopicID: id, Data: []byte("held")})
		r.advance(90*time.Second - 1)
		r.wantState("", StateActive)
		r.advance(1)
		r.want("keep-alive is in force again", sn12.Disconnect{})
		r.wantAction("", Action{Kind: ActionCloseAbort})
	}
}

func TestCleanConnectDuringAWakeUpDialogueIsStillClean_Case143(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(false, &Will{Topic: "w", Message: []byte("m")})
	r.sleep(600)
	r.send(connectMsg(false, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.send(connectMsg(true, false, 60))
	r.wantAction("no will, nothing kept", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
}

func TestConnectFromAwakeLeavesNoBarrierBehind_Case142(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60)
	r.sleep(600)
	r.event(fromBroker("ab", "x", 1, 1))
	r.send(sn12.PingReq{ClientID: []byte("dev")})
	r.want("", sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, MsgID: 1, Data: []byte("x")})
	r.send(sn12.PubAck{TopicID: 0x6162, MsgID: 1})
	r.wantAction("", Action{Kind: ActionAck, Handle: 1})
	ping := r.wantAction("", Action{Kind: ActionPing})
	r.send(connectMsg(false, false, 60))
	r.wantAction("", Action{Kind: ActionSetWill})
	r.want("", sn12.ConnAck{})
	if d := r.s.Deadline(); d != r.now+90*time.Second {
		t.Errorf("waits for %v, want the keep-alive only", d-r.now)
	}
	r.event(Event{Kind: EventPong, Token: ping.Token})
	r.wantQuiet("no PINGRESP: it is not asleep any more")
}

func TestRepeatedConnectShowsThatTheDeviceIsStillHere_Case25_157(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventParked})
	r.event(fromBroker("ab", "x", 0, 0))
	r.wantQuiet("it may be connected elsewhere")
	r.send(connectMsg(true, false, 60))
	r.want("it is not", sn12.ConnAck{})
	r.want("", sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, Data: []byte("x")})
}

func TestClosedLinkDoesNotEndTheWillDialogue(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.send(sn12.Disconnect{})
	r.want("", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseClean})
	r.send(connectMsg(true, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.event(Event{Kind: EventClosed})
	r.wantFreed("the device is connecting", false)
	r.send(sn12.WillTopic{Empty: true})
	r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
}

func TestRepeatedWillMsgIsAnsweredWithConnAck(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(true, &Will{Topic: "w", Message: []byte("m")})
	for range 2 {
		r.send(sn12.WillMsg{Message: []byte("m")})
		r.want("the CONNACK was lost", sn12.ConnAck{})
	}
	r.send(connectMsg(true, true, 60))
	r.want("", sn12.ConnAck{})
}

func TestLateDuplicateOfConnectChangesNothing_Case25(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	id := r.register("a/b")
	r.subscribe("c/d", 1)
	r.send(connectMsg(true, false, 60))
	r.want("the network has delivered it twice", sn12.ConnAck{})
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
	r.wantAction("the topic id is still there", Action{Kind: ActionPublish, Topic: "a/b", QoS: 1})
}
