package session

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func TestWillUpdatesAreConfirmedAndUsedOnLoss_Case49(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(true, &Will{Topic: "w", Message: []byte("m"), QoS: 1})
	r.sendHex("06 1a 50 6e6577")
	r.wantHex("exactly three octets", "03 1b 00")
	r.wantAction("for later reconnects", Action{Kind: ActionSetWill, Will: &Will{Topic: "new", Message: []byte("m"), QoS: 2, Retain: true}})
	r.sendHex("05 1c 6d7367")
	r.wantHex("", "03 1d 00")
	now := &Will{Topic: "new", Message: []byte("msg"), QoS: 2, Retain: true}
	r.wantAction("", Action{Kind: ActionSetWill, Will: now})
	r.advance(90 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("MQTT cannot change a will: the gateway publishes the new one",
		Action{Kind: ActionPublish, Topic: "new", Payload: []byte("msg"), QoS: 2, Retain: true})
	r.wantAction("and ends the connection so that the broker keeps the old one to itself", Action{Kind: ActionCloseDrain})
}

func TestChangedWillIsTheBrokersAfterAReconnect_Case49(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(true, &Will{Topic: "w", Message: []byte("m"), QoS: 1})
	r.send(sn12.WillMsgUpd{Message: []byte("n")})
	r.want("", sn12.WillMsgResp{})
	r.wantAction("", Action{Kind: ActionSetWill, Will: &Will{Topic: "w", Message: []byte("n"), QoS: 1}})
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	r.advance(90 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("the new connection carries the new will: published once, by the broker", Action{Kind: ActionCloseAbort})
}

func TestChangedWillIsPublishedByTheGatewayWhileTheBrokerIsAway_Case49(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(true, &Will{Topic: "w", Message: []byte("m"), QoS: 1})
	r.event(Event{Kind: EventDown})
	r.send(sn12.WillMsgUpd{Message: []byte("n")})
	r.want("updates need no broker", sn12.WillMsgResp{})
	r.wantAction("", Action{Kind: ActionSetWill, Will: &Will{Topic: "w", Message: []byte("n"), QoS: 1}})
	r.advance(90 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionPublish, Topic: "w", Payload: []byte("n"), QoS: 1})
	r.wantAction("delivered when the broker is back", Action{Kind: ActionCloseDrain})
}

func TestChangedWillSurvivesDisconnect_Case49(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(false, &Will{Topic: "w", Message: []byte("m")})
	r.send(sn12.WillTopicUpd{QoS: 1, Topic: []byte("v")})
	r.want("", sn12.WillTopicResp{})
	w := &Will{Topic: "v", Message: []byte("m"), QoS: 1}
	r.wantAction("", Action{Kind: ActionSetWill, Will: w})
	r.close()
	r.send(connectMsg(false, false, 60))
	r.wantAction("the stored will is the changed one", Action{Kind: ActionConnect, KeepAlive: 60, Will: w})
}

func TestRepeatedWillUpdateIsConfirmedAgain_Case49(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(true, &Will{Topic: "w", Message: []byte("m")})
	for range 2 {
		r.send(sn12.WillTopicUpd{Topic: []byte("v")})
		r.want("", sn12.WillTopicResp{})
		r.wantAction("", Action{Kind: ActionSetWill, Will: &Will{Topic: "v", Message: []byte("m")}})
	}
}

func TestWillSetBackToTheBrokersNeedsNoPublish_Case49(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(true, &Will{Topic: "w", Message: []byte("m")})
	for _, text := range []string{"n", "m"} {
		r.send(sn12.WillMsgUpd{Message: []byte(text)})
		r.want("", sn12.WillMsgResp{})
		r.wantAction("", Action{Kind: ActionSetWill, Will: &Will{Topic: "w", Message: []byte(text)}})
	}
	r.advance(90 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseAbort})
}

func TestEmptyWillTopicUpdDeletesTheWill_Case50(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(true, &Will{Topic: "w", Message: []byte("m"), QoS: 1})
	r.sendHex("02 1a")
	r.wantHex("", "03 1b 00")
	r.wantAction("", Action{Kind: ActionSetWill})
	r.send(sn12.WillMsgUpd{Message: []byte("n")})
	r.want("there is no will any more", sn12.WillMsgResp{ReturnCode: sn12.RejectedNotSupported})
	r.advance(90 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("the broker's will is suppressed, and none takes its place", Action{Kind: ActionCloseClean})
}

func TestWillMsgUpdWithoutWill_Case51(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.sendHex("05 1c 6d7367")
	r.wantHex("", "03 1d 03")
	r.wantDrop("", ReasonWill)
}

func TestWillTopicUpdWithoutWillMakesOneWithEmptyMessage_Case51(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.send(sn12.WillTopicUpd{Topic: []byte("w")})
	r.want("", sn12.WillTopicResp{})
	r.wantAction("", Action{Kind: ActionSetWill, Will: &Will{Topic: "w"}})
	r.advance(90 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("the broker knows of no will", Action{Kind: ActionPublish, Topic: "w"})
	r.wantAction("", Action{Kind: ActionCloseDrain})
}

func TestImpossibleWillTopicUpdIsRefusedAndChangesNothing_Case51(t *testing.T) {
	for name, m := range map[string]sn12.WillTopicUpd{
		"wildcard": {Topic: []byte("w/+")}, "not UTF-8": {Topic: []byte{0xc0, 0xaf}}, "QoS 3": {QoS: 3, Topic: []byte("w")},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.connectWill(true, &Will{Topic: "w", Message: []byte("m")})
			r.send(m)
			r.want("", sn12.WillTopicResp{ReturnCode: sn12.RejectedNotSupported})
			r.wantDrop("", ReasonWill)
			r.sendHex("03 1a 10")
			r.wantHex("flags without topic", "03 1b 03")
			r.wantDrop("", ReasonWill)
			r.advance(90 * time.Second)
			r.want("lost", sn12.Disconnect{})
			r.wantAction("still the broker's will", Action{Kind: ActionCloseAbort})
		})
	}
}

func TestNewWillOfAConnectedDeviceTakesTheOldOnesPlace_Case40(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(false, &Will{Topic: "w", Message: []byte("m")})
	r.subscribe("s", 0)
	r.later()
	r.send(connectMsg(false, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.send(sn12.WillTopic{Topic: []byte("v")})
	r.want("", sn12.WillMsgReq{})
	r.send(sn12.WillMsg{Message: []byte("n")})
	r.wantAction("no second connection is needed", Action{Kind: ActionSetWill, Will: &Will{Topic: "v", Message: []byte("n")}})
	r.want("", sn12.ConnAck{})
	r.advance(90 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionPublish, Topic: "v", Payload: []byte("n")})
	r.wantAction("", Action{Kind: ActionCloseDrain})
}
