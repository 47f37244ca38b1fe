package session

import (
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func TestEndDisconnectIsAnsweredEachTime_Case150(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(false, &Will{Topic: "w", Message: []byte("m")})
	r.sendHex("02 18")
	r.wantHex("confirmed", "02 18")
	r.wantAction("DISCONNECT to the broker: no will", Action{Kind: ActionCloseClean})
	r.wantState("ended", StateDisconnected)
	r.sendHex("02 18")
	r.wantHex("again, and no second close", "02 18")
	r.event(Event{Kind: EventClosed})
	r.wantFreed("CleanSession=0", false)
	r.sendHex("02 18")
	r.wantHex("and again", "02 18")
	r.sendHex("04 18 003C")
	r.wantHex("it cannot fall asleep without a connection", "02 18")
	r.wantState("ended", StateDisconnected)
	r.advance(24 * time.Hour)
	r.wantQuiet("nothing runs")
}

func TestEndDisconnectDuringAConnectPublishesNoWill_Case48_150(t *testing.T) {
	// A live session whose device changes its mind in the middle of a CONNECT.
	for _, answered := range []int{0, 1} {
		r := newRig(t, nil)
		r.connectWill(false, &Will{Topic: "w", Message: []byte("m")})
		r.send(sn12.PingReq{})
		r.want("active", sn12.PingResp{})
		r.later()
		r.send(sn12.Connect{Will: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		r.want("prompt", sn12.WillTopicReq{})
		if answered == 1 {
			r.send(sn12.WillTopic{Topic: []byte("other")})
			r.want("prompt", sn12.WillMsgReq{})
		}
		r.send(sn12.Disconnect{})
		r.want("confirmed", sn12.Disconnect{})
		r.wantAction("it said goodbye: no will", Action{Kind: ActionCloseClean})
		r.wantState("ended", StateDisconnected)
		r.advance(time.Hour)
		r.wantQuiet("no prompt is repeated")
	}
}

func TestEndDisconnectBeforeTheBrokerAnswers(t *testing.T) {
	r := newRig(t, nil)
	r.send(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
	r.wantAction("connect", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.send(sn12.Disconnect{})
	r.want("confirmed", sn12.Disconnect{})
	r.wantAction("given up", Action{Kind: ActionCloseClean})
	r.event(Event{Kind: EventClosed})
	r.wantFreed("nothing is kept", true)
}

func TestEndBrokerLossIsNotTheDevices_Case151(t *testing.T) {
	for _, present := range []bool{true, false} {
		r, id := subscriber(t, nil, false, "a/b")
		r.event(Event{Kind: EventDown})
		r.wantQuiet("the link reconnects; the device need not know")
		r.wantState("active", StateActive)
		r.send(sn12.PingReq{})
		r.want("answered", sn12.PingResp{})
		r.send(sn12.Publish{TopicID: id, Data: []byte("x")})
		r.wantDrop("QoS 0 has nowhere to go", ReasonBrokerDown)
		r.event(Event{Kind: EventUp, SessionPresent: present})
		if !present {
			r.wantAction("restored", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
		}
		r.event(fromBroker("a/b", "y", 0, 0))
		r.want("ids are still known", pub(0, id, 0, "y"))
	}
}

func TestEndPublishWhileTheBrokerIsAway_Case152(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(Event{Kind: EventDown})
	up := Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x"), QoS: 1}
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("x")})
	a := r.wantAction("held by the link", up)
	r.advance(20*time.Second - 1)
	r.wantQuiet("for Hold")
	r.advance(1)
	r.want("then congestion", sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.wantAction("and taken back", Action{Kind: ActionAwait, Token: a.Token})
	r.event(Event{Kind: EventPublishFailed, Token: a.Token})
	r.event(Event{Kind: EventUp})
	r.wantAction("restored", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
	r.send(sn12.Publish{DUP: true, QoS: 1, TopicID: id, MsgID: 1, Data: []byte("x")})
	a = r.wantAction("works again without CONNECT", up)
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.want("acknowledged", sn12.PubAck{TopicID: id, MsgID: 1})
}

func TestEndStop_Case20(t *testing.T) {
	start := func(t *testing.T) (*rig, uint16) {
		r := newRig(t, nil)
		r.connectWill(true, &Will{Topic: "w", Message: []byte("m")})
		return r, r.subscribe("a/b", 1)
	}
	stop := func(r *rig) { r.step("stop", func() { r.s.Stop(r.at(), &r.out) }) }
	t.Run("active", func(t *testing.T) {
		r, _ := start(t)
		stop(r)
		r.wantHex("told", "02 18")
		r.wantAction("no will", Action{Kind: ActionCloseClean})
		r.wantState("ended", StateDisconnected)
		r.event(Event{Kind: EventClosed})
		r.wantFreed("over", true)
	})
	t.Run("asleep", func(t *testing.T) {
		r, _ := start(t)
		r.sleep(60)
		r.event(fromBroker("a/b", "x", 1, 1))
		stop(r)
		r.wantDrop("what is held", ReasonSessionEnded)
		r.wantAction("nothing is sent to a sleeper", Action{Kind: ActionCloseClean})
	})
	t.Run("awake", func(t *testing.T) {
		r, id := start(t)
		r.sleep(60)
		r.event(fromBroker("a/b", "x", 1, 1))
		r.wake()
		r.want("x", pub(1, id, 1, "x"))
		stop(r)
		r.want("told", sn12.Disconnect{})
		r.wantAction("no will", Action{Kind: ActionCloseClean})
	})
	t.Run("connecting", func(t *testing.T) {
		r := newRig(t, nil)
		r.send(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
		r.wantAction("connect", Action{Kind: ActionConnect, KeepAlive: 60})
		stop(r)
		r.wantAction("given up", Action{Kind: ActionCloseClean})
		r.event(Event{Kind: EventClosed})
		r.wantFreed("it never was accepted", true)
	})
	t.Run("disconnected", func(t *testing.T) {
		r := newRig(t, nil)
		r.connect(false, 60)
		r.send(sn12.Disconnect{})
		r.want("bye", sn12.Disconnect{})
		r.wantAction("bye", Action{Kind: ActionCloseClean})
		r.event(Event{Kind: EventClosed})
		stop(r)
		r.wantQuiet("nothing to do")
	})
}

func TestEndCleanConnectEmptiesEverything_Case36(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.send(sn12.Publish{QoS: 2, TopicID: id, MsgID: 5, Data: []byte("up")})
	a := r.wantAction("half an exchange", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("up"), QoS: 2})
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.want("PUBREC", sn12.PubRec{MsgID: 5})
	r.sleep(60)
	r.event(fromBroker("a/b", "0", 0, 0))
	r.event(fromBroker("a/b", "1", 1, 1))
	r.send(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
	r.wantAction("anew", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.wantDrop("all that was held", ReasonCleanSession, ReasonCleanSession)
	r.wantHeld("nothing", 0, 0)
	r.event(Event{Kind: EventConnected})
	r.want("no SUBSCRIBE is repeated, nothing delivered", sn12.ConnAck{})
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 6})
	r.wantDrop("the id is gone", ReasonUnknownTopicID)
	r.want("invalid topic id", sn12.PubAck{TopicID: id, MsgID: 6, ReturnCode: sn12.RejectedInvalidTopicID})
	r.send(sn12.PubRel{MsgID: 5})
	r.want("the exchange is not known any more", sn12.PubComp{MsgID: 5})
	r.event(fromBroker("a/b", "x", 1, 2))
	r.want("a late message for an old filter is announced anew", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("a/b")})
}

func TestEndEventsOfAnEarlierConnectionChangeNothing(t *testing.T) {
	for _, ev := range []Event{{Kind: EventDown}, {Kind: EventUp}, {Kind: EventPong, Token: 1}, {Kind: EventParked}} {
		t.Run(fmt.Sprint(ev.Kind), func(t *testing.T) {
			r, _ := subscriber(t, nil, true, "a/b")
			r.send(sn12.Disconnect{})
			r.want("bye", sn12.Disconnect{})
			r.wantAction("bye", Action{Kind: ActionCloseClean})
			r.event(ev)
			r.wantQuiet("it was on its way")
			r.event(Event{Kind: EventClosed})
			r.wantFreed("the session is not kept for it", true)
		})
	}
}

func TestEndReconnectBeforeTheCloseIsAnswered(t *testing.T) {
	r, _ := subscriber(t, nil, true, "a/b")
	r.send(sn12.Disconnect{})
	r.want("bye", sn12.Disconnect{})
	r.wantAction("bye", Action{Kind: ActionCloseClean})
	r.send(sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	r.wantAction("at once", Action{Kind: ActionConnect, Clean: true, KeepAlive: 600})
	r.event(Event{Kind: EventClosed})
	r.wantFreed("the answer to the earlier close does not end the new session", false)
	r.event(Event{Kind: EventConnected})
	r.want("connected", sn12.ConnAck{})
	r.wantState("active", StateActive)
}

func TestEndSleepExpiryPublishesAChangedWill_Case49_137(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(true, &Will{Topic: "w", Message: []byte("old")})
	r.send(sn12.WillMsgUpd{Message: []byte("new")})
	r.wantAction("for reconnects", Action{Kind: ActionSetWill, Will: &Will{Topic: "w", Message: []byte("new")}})
	r.want("accepted", sn12.WillMsgResp{})
	r.sleep(60)
	r.advance(90 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("the broker has the old will: ours is published", Action{Kind: ActionPublish, Topic: "w", Payload: []byte("new")})
	r.wantAction("and the broker's is not", Action{Kind: ActionCloseDrain})
}

func TestEndUnansweredPromptOfALiveDeviceIsALoss(t *testing.T) {
	r, _ := subscriber(t, nil, true, "a/b")
	r.send(sn12.Connect{CleanSession: true, Will: true, ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	r.want("prompt", sn12.WillTopicReq{})
	r.advance(40 * time.Second)
	for range 3 {
		r.want("prompt", sn12.WillTopicReq{})
	}
	r.want("told", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
	r.wantState("lost", StateLost)
}

func TestEndIdleProbeOfADeviceWithoutKeepAlive(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 0)
	id := r.subscribe("a/b", 1)
	r.advance(time.Hour - 1)
	r.wantQuiet("not yet")
	r.advance(1)
	r.want("are you there", sn12.PingReq{})
	r.send(sn12.PingResp{})
	r.advance(time.Hour)
	r.want("again", sn12.PingReq{})
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("a message takes the probe's place", pub(1, id, 1, "x"))
	r.advance(10 * time.Second)
	r.want("it is supervised itself", dup(pub(1, id, 1, "x")))
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("x", 1)
	r.advance(time.Hour)
	r.want("counted from the answer", sn12.PingReq{})
	r.advance(40 * time.Second)
	for range 3 {
		r.want("Nretry", sn12.PingReq{})
	}
	r.want("lost", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
}
