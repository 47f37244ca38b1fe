package session

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func TestWillDialogue_Case40(t *testing.T) {
	r := newRig(t, nil)
	r.sendHex("09 04 0c 01 003c 646576")
	r.wantHex("Will=1: the topic is asked for", "02 06")
	r.wantState("", StateWillTopic)
	r.sendHex("06 07 30 772f74")
	r.wantHex("the message is asked for", "02 08")
	r.wantState("", StateWillMsg)
	r.sendHex("04 09 6d73")
	r.wantAction("the will goes up", Action{
		Kind: ActionConnect, Clean: true, KeepAlive: 60,
		Will: &Will{Topic: "w/t", Message: []byte("ms"), QoS: 1, Retain: true},
	})
	r.wantQuiet("no CONNACK before the broker's")
	r.event(Event{Kind: EventConnected})
	r.wantHex("", "03 05 00")
}

func TestWillMayBeEmptyMessageOrFullTopic_Case40(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(true, &Will{Topic: "w", QoS: 2})
}

func TestWillRequestIsRepeatedThenForgotten_Case41(t *testing.T) {
	for _, step := range []State{StateWillTopic, StateWillMsg} {
		t.Run(step.String(), func(t *testing.T) {
			r := newRig(t, nil)
			r.send(connectMsg(false, true, 60))
			r.want("", sn12.WillTopicReq{})
			var req sn12.Message = sn12.WillTopicReq{}
			if step == StateWillMsg {
				r.send(sn12.WillTopic{Topic: []byte("w")})
				r.want("", sn12.WillMsgReq{})
				req = sn12.WillMsgReq{}
			}
			for range 3 {
				r.advance(10*time.Second - 1)
				r.wantQuiet("not before Tretry")
				r.advance(1)
				r.want("Tretry without an answer", req)
			}
			r.advance(10 * time.Second)
			r.wantQuiet("Nretry repeats: forgotten without a word, and no connection to the broker was made")
			r.wantDrop("") // it ended, nothing was dropped
			r.wantFreed("nothing is kept of a session that was never accepted", true)
		})
	}
}

func TestEachStepOfTheWillDialogueHasItsOwnRetries_Case41(t *testing.T) {
	r := newRig(t, nil)
	r.send(connectMsg(true, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.advance(30 * time.Second)
	for range 3 {
		r.want("", sn12.WillTopicReq{})
	}
	r.send(sn12.WillTopic{Topic: []byte("w")})
	r.want("", sn12.WillMsgReq{})
	r.advance(30 * time.Second)
	for range 3 {
		r.want("", sn12.WillMsgReq{})
	}
	r.send(sn12.WillMsg{Message: []byte("m")})
	r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60, Will: &Will{Topic: "w", Message: []byte("m")}})
	r.advance(time.Hour)
	r.wantQuiet("nothing is repeated while the broker is awaited")
}

func TestConnectRepeatedInEachStepGetsTheStepThatIsDue_Case25_40(t *testing.T) {
	r := newRig(t, nil)
	again := connectMsg(true, true, 60)
	r.send(again)
	r.want("", sn12.WillTopicReq{})
	r.send(again)
	r.want("WILLTOPICREQ was lost", sn12.WillTopicReq{})
	r.send(sn12.WillTopic{Topic: []byte("w")})
	r.want("", sn12.WillMsgReq{})
	r.send(again)
	r.want("WILLMSGREQ is due", sn12.WillMsgReq{})
	r.send(sn12.WillMsg{Message: []byte("m")})
	r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60, Will: &Will{Topic: "w", Message: []byte("m")}})
	r.send(again)
	r.wantQuiet("the broker's answer is due, and one connection is enough")
	r.event(Event{Kind: EventConnected})
	r.want("", sn12.ConnAck{})
	r.send(again)
	r.want("the CONNACK was lost; the will is known", sn12.ConnAck{})
}

// A device that repeats CONNECT must not keep a dialogue alive for ever by it.
func TestRepeatedConnectDoesNotProlongTheDialogue_Case25_40(t *testing.T) {
	r := newRig(t, nil)
	r.send(connectMsg(true, true, 60))
	r.want("", sn12.WillTopicReq{})
	for range 3 {
		r.advance(9 * time.Second)
		r.sent = nil
		r.send(connectMsg(true, true, 60))
		r.want("", sn12.WillTopicReq{})
	}
	r.advance(13 * time.Second)
	r.sent = nil // the gateway's own repeats, which are tested above
	r.wantFreed("40 s after the CONNECT", true)
}

func TestConnectWithOtherValuesRestartsTheDialogue_Case25_40(t *testing.T) {
	r := newRig(t, nil)
	r.send(connectMsg(true, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.send(sn12.WillTopic{Topic: []byte("old")})
	r.want("", sn12.WillMsgReq{})
	r.send(connectMsg(true, true, 120))
	r.want("from the beginning", sn12.WillTopicReq{})
	r.send(connectMsg(true, false, 120))
	r.wantAction("and without will there is no dialogue", Action{Kind: ActionConnect, Clean: true, KeepAlive: 120})
	r.event(Event{Kind: EventConnected})
	r.want("", sn12.ConnAck{})
	r.advance(60 * time.Second)
	r.wantQuiet("WILLTOPICREQ is not repeated any more")
}

func TestRepeatedWillTopicAndWillMsg_Case40(t *testing.T) {
	r := newRig(t, nil)
	r.send(connectMsg(true, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.send(sn12.WillTopic{Topic: []byte("w")})
	r.want("", sn12.WillMsgReq{})
	r.send(sn12.WillTopic{Topic: []byte("w")})
	r.want("WILLMSGREQ was lost", sn12.WillMsgReq{})
	r.send(sn12.WillMsg{Message: []byte("m")})
	r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60, Will: &Will{Topic: "w", Message: []byte("m")}})
	r.send(sn12.WillMsg{Message: []byte("m")})
	r.wantQuiet("one connection; the CONNACK comes when the broker has answered")
	r.send(sn12.WillTopic{Topic: []byte("w")})
	r.wantQuiet("a late duplicate")
	r.event(Event{Kind: EventConnected})
	r.want("", sn12.ConnAck{})
}

func TestWillStepsOutOfOrderAreDropped_Case40(t *testing.T) {
	r := newRig(t, nil)
	r.send(connectMsg(true, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.send(sn12.WillMsg{Message: []byte("early")})
	r.wantDrop("WILLMSG without WILLTOPIC", ReasonUnexpectedMessage)
	r.send(sn12.Publish{QoS: 1, MsgID: 1})
	r.wantDrop("not connected yet", ReasonUnexpectedMessage)
	r.wantQuiet("a DISCONNECT would end the dialogue of a device that is only too early")
	r.wantState("", StateWillTopic)
}

func TestWillTopicWithFlagsAndNoTopicIsRefused_Case40(t *testing.T) {
	for _, hex := range []string{"03 07 00", "03 07 10", "03 07 60"} {
		r := newRig(t, nil)
		r.send(connectMsg(true, true, 60))
		r.want("", sn12.WillTopicReq{})
		r.sendHex(hex)
		r.wantHex("neither a will nor none", "03 05 03")
		r.wantDrop("", ReasonWill)
		r.wantFreed("over", true)
		r.advance(time.Minute)
		r.wantQuiet("no prompt is left")
	}
}

func TestEmptyWillTopicMeansNoWill_Case40(t *testing.T) {
	r := newRig(t, nil)
	r.send(connectMsg(true, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.sendHex("02 07")
	r.wantAction("no WILLMSGREQ, no will", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.event(Event{Kind: EventConnected})
	r.want("", sn12.ConnAck{})
}

func TestEmptyWillTopicDeletesTheStoredWill_Case40(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(false, &Will{Topic: "w", Message: []byte("m")})
	r.close()
	r.send(connectMsg(false, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.send(sn12.WillTopic{Empty: true})
	r.wantAction("deleted", Action{Kind: ActionConnect, KeepAlive: 60})
	r.event(Event{Kind: EventConnected})
	r.want("", sn12.ConnAck{})
	r.close()
	r.connect(false, 60) // expects no will in ActionConnect: it stays deleted
}

func TestImpossibleWillIsRefused_Case40(t *testing.T) {
	for name, m := range map[string]sn12.WillTopic{
		"wildcard": {Topic: []byte("w/#")}, "not UTF-8": {Topic: []byte{0xfe}},
		"NUL": {Topic: []byte("a\x00")}, "QoS 3": {QoS: 3, Topic: []byte("w")},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.send(connectMsg(true, true, 60))
			r.want("", sn12.WillTopicReq{})
			r.send(m)
			r.wantHex("", "03 05 03")
			r.wantDrop("", ReasonWill)
			r.wantFreed("", true)
		})
	}
}

// The table of MQTT-SN 1.2 section 6.3: what becomes of a stored will and of stored
// subscriptions. Unlike in MQTT the will is part of the session: with CleanSession=0 and
// Will=0 the gateway puts the stored one into its own CONNECT.
func TestCleanSessionAndWillFlags_Case40(t *testing.T) {
	stored, other := &Will{Topic: "w", Message: []byte("stored"), QoS: 1, Retain: true}, &Will{Topic: "v", Message: []byte("new")}
	for _, tc := range []struct {
		name        string
		clean, will bool
		wantWill    *Will
		keepsSubs   bool
	}{
		{"clean=1 will=1", true, true, other, false},
		{"clean=1 will=0", true, false, nil, false},
		{"clean=0 will=1", false, true, other, true},
		{"clean=0 will=0", false, false, stored, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.connectWill(false, stored)
			r.subscribe("s/#", 1)
			r.close()
			r.send(connectMsg(tc.clean, tc.will, 60))
			if tc.will {
				r.want("", sn12.WillTopicReq{})
				r.send(sn12.WillTopic{Topic: []byte(other.Topic)})
				r.want("", sn12.WillMsgReq{})
				r.send(sn12.WillMsg{Message: other.Message})
			}
			r.wantAction(tc.name, Action{Kind: ActionConnect, Clean: tc.clean, KeepAlive: 60, Will: tc.wantWill})
			r.event(Event{Kind: EventConnected})
			r.want("", sn12.ConnAck{})
			if tc.keepsSubs {
				r.wantAction("the broker had forgotten it", Action{Kind: ActionSubscribe, Topic: "s/#", QoS: 1})
			}
			r.advance(90 * time.Second)
			r.want("silence", sn12.Disconnect{})
			r.wantAction("the broker holds the right will, if any", Action{Kind: ActionCloseAbort})
		})
	}
}

func TestDisconnectPublishesNoWill_Case48(t *testing.T) {
	for _, changed := range []bool{false, true} {
		r := newRig(t, nil)
		r.connectWill(true, &Will{Topic: "w", Message: []byte("m"), QoS: 1})
		if changed {
			r.send(sn12.WillMsgUpd{Message: []byte("n")})
			r.want("", sn12.WillMsgResp{})
			r.wantAction("", Action{Kind: ActionSetWill, Will: &Will{Topic: "w", Message: []byte("n"), QoS: 1}})
		}
		r.send(sn12.Disconnect{})
		r.want("", sn12.Disconnect{})
		r.wantAction("in good order: the broker drops the will", Action{Kind: ActionCloseClean})
		r.event(Event{Kind: EventClosed})
		r.wantFreed("", true)
	}
}

func TestRefusedWillOfAConnectedDeviceEndsItsConnection_Case40(t *testing.T) {
	r := newRig(t, nil)
	r.connectWill(false, &Will{Topic: "w", Message: []byte("m")})
	r.subscribe("s", 0)
	r.later()
	r.send(connectMsg(false, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.send(sn12.WillTopic{Topic: []byte("+")})
	r.want("the CONNECT is refused", sn12.ConnAck{ReturnCode: sn12.RejectedNotSupported})
	r.wantAction("and the device is not connected any more", Action{Kind: ActionCloseAbort})
	r.wantState("", StateLost)
	r.wantFreed("CleanSession=0", false)
}

func TestConnectWithoutWillDuringTheDialogueStillAsksTheBroker_Case25_40(t *testing.T) {
	r := newRig(t, nil)
	r.send(connectMsg(false, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.send(connectMsg(false, false, 60))
	r.wantAction("there was no connection yet", Action{Kind: ActionConnect, KeepAlive: 60})
}

func TestNothingIsRepeatedOnceTheDialogueIsOver_Case41(t *testing.T) {
	r := newRig(t, nil)
	r.send(connectMsg(true, true, 60))
	r.want("", sn12.WillTopicReq{})
	r.advance(35 * time.Second)
	for range 3 {
		r.want("", sn12.WillTopicReq{})
	}
	r.send(sn12.WillTopic{Empty: true})
	r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.advance(time.Minute)
	r.wantQuiet("the retries of the dialogue do not end the CONNECT")
	r.wantState("", StateConnecting)
}
