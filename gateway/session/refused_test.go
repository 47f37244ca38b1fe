package session

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func TestDeliverCongestedDeviceIsLeftAlone_Case94(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("PUBLISH", pub(1, id, 1, "x"))
	r.send(sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.event(fromBroker("a/b", "y", 1, 2))
	r.event(fromBroker("a/b", "z", 0, 0))
	r.advance(5*time.Minute - 1)
	r.wantQuiet("nothing is sent before Twait")
	r.send(sn12.PingReq{})
	r.want("the rest works", sn12.PingResp{})
	r.advance(1)
	r.want("then in order, with the same MsgId", dup(pub(1, id, 1, "x")))
	r.send(sn12.PubAck{TopicID: id, MsgID: 1})
	r.wantAck("x", 1)
	r.want("y", pub(1, id, 2, "y"))
	r.send(sn12.PubAck{TopicID: id, MsgID: 2})
	r.wantAck("y", 2)
	r.want("z", pub(0, id, 0, "z"))
}

func TestDeliverCongestionAnswersToRegisterAndQoS0_Case94(t *testing.T) {
	r, _ := subscriber(t, nil, true, "w/#")
	r.event(fromBroker("w/1", "x", 0, 0))
	r.want("REGISTER", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("w/1")})
	r.send(sn12.RegAck{TopicID: 1, MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.advance(5 * time.Minute)
	r.want("REGISTER after Twait", sn12.Register{TopicID: 1, MsgID: 2, TopicName: []byte("w/1")})
	r.send(sn12.RegAck{TopicID: 1, MsgID: 2})
	r.want("PUBLISH", pub(0, 1, 0, "x"))
	r.send(sn12.PubAck{TopicID: 1, MsgID: 0, ReturnCode: sn12.RejectedCongestion})
	r.event(fromBroker("w/1", "y", 0, 0))
	r.wantQuiet("PUBACK 0x01 refuses QoS 0 as well (5.4.13)")
	r.advance(5 * time.Minute)
	r.want("after Twait", pub(0, 1, 0, "y"))
}

func TestDeliverLateCongestionOfAnotherMessageIsIgnored_Case94(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("PUBLISH", pub(1, id, 1, "x"))
	r.send(sn12.PubAck{TopicID: id, MsgID: 7, ReturnCode: sn12.RejectedCongestion})
	r.wantDrop("not the message in progress", ReasonUnexpectedMessage)
	r.advance(10 * time.Second)
	r.want("goes on", dup(pub(1, id, 1, "x")))
	r.send(sn12.PubAck{TopicID: id, MsgID: 1})
	r.wantAck("x", 1)
}

func TestDeliverTooLargeIsCountedAndAcknowledged_Case7(t *testing.T) {
	cfg := testConfig()
	cfg.MaxPacketSize = 100
	for qos := range uint8(3) {
		t.Run(fmt.Sprintf("QoS%d", qos), func(t *testing.T) {
			r, id := subscriber(t, cfg, true, "a/b")
			fits := bytes.Repeat([]byte{1}, 93)
			r.event(fromBroker("a/b", string(fits), 0, 0))
			r.want("exactly MaxPacketSize", sn12.Publish{TopicID: id, Data: fits})
			r.event(fromBroker("a/b", string(append(fits, 2)), qos, 1))
			r.wantDrop("one more octet", ReasonTooLarge)
			if qos > 0 {
				r.wantAck("or the broker would send it for ever", 1)
			}
			big := Event{Kind: EventMessage, Topic: "a/b", Oversize: true, QoS: qos}
			if qos > 0 {
				big.Handle = 2
			}
			r.event(big)
			r.wantDrop("not even read", ReasonTooLarge)
			if qos > 0 {
				r.wantAck("or the broker would send it for ever", 2)
			}
			r.event(fromBroker("a/b", "ok", 0, 0))
			r.want("the session goes on", pub(0, id, 0, "ok"))
		})
	}
}

func TestDeliverTopicTooLongToRegister_Case7(t *testing.T) {
	cfg := testConfig()
	cfg.MaxPacketSize = 30
	r, _ := subscriber(t, cfg, true, "w/#")
	r.event(fromBroker("w/"+string(bytes.Repeat([]byte{'t'}, 22)), "x", 1, 1))
	r.want("REGISTER of 30 octets", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("w/tttttttttttttttttttttt")})
	r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
	r.want("PUBLISH", pub(1, 1, 2, "x"))
	r.send(sn12.PubAck{TopicID: 1, MsgID: 2})
	r.wantAck("x", 1)
	r.event(fromBroker("w/"+string(bytes.Repeat([]byte{'t'}, 23)), "x", 1, 2))
	r.wantDrop("the gateway silently gives up (6.10)", ReasonTooLarge)
	r.wantAck("or the broker would send it for ever", 2)
}

func TestDeliverRegAckRefused(t *testing.T) {
	for _, code := range []sn12.ReturnCode{sn12.RejectedInvalidTopicID, sn12.RejectedNotSupported, 0x80} {
		t.Run(code.String(), func(t *testing.T) {
			r, _ := subscriber(t, nil, true, "w/#")
			r.event(fromBroker("w/1", "x", 1, 1))
			r.want("REGISTER", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("w/1")})
			r.event(fromBroker("w/2", "y", 0, 0))
			r.send(sn12.RegAck{TopicID: 1, MsgID: 1, ReturnCode: code})
			r.wantDrop("the device does not want it (6.10)", ReasonClientRejected)
			r.wantAck("given up", 1)
			r.want("the next topic is offered", sn12.Register{TopicID: 2, MsgID: 2, TopicName: []byte("w/2")})
			r.send(sn12.RegAck{TopicID: 2, MsgID: 2})
			r.want("y", pub(0, 2, 0, "y"))
		})
	}
}

func TestDeliverUnexpectedRegAck(t *testing.T) {
	r, _ := subscriber(t, nil, true, "w/#")
	r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
	r.wantDrop("no REGISTER", ReasonUnexpectedMessage)
	r.event(fromBroker("w/1", "x", 1, 1))
	r.want("REGISTER", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("w/1")})
	r.send(sn12.RegAck{TopicID: 1, MsgID: 2})
	r.wantDrop("another MsgId", ReasonUnexpectedMessage)
	r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
	r.want("PUBLISH", pub(1, 1, 2, "x"))
	r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
	r.wantDrop("a repeat", ReasonUnexpectedMessage)
}

func TestDeliverUnknownTopicIDIsRegisteredAgain(t *testing.T) {
	for qos := uint8(1); qos <= 2; qos++ {
		t.Run(fmt.Sprintf("QoS%d", qos), func(t *testing.T) {
			r, id := subscriber(t, nil, true, "a/b")
			r.event(fromBroker("a/b", "x", qos, 1))
			r.want("PUBLISH", pub(qos, id, 1, "x"))
			r.send(sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
			r.want("the device has forgotten the id", sn12.Register{TopicID: id, MsgID: 2, TopicName: []byte("a/b")})
			r.send(sn12.RegAck{TopicID: id, MsgID: 2})
			r.want("the same message", dup(pub(qos, id, 1, "x")))
			r.send(sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
			r.wantDrop("it may be the first refusal, delivered twice", ReasonUnexpectedMessage)
			r.advance(testConfig().RetryInterval)
			r.want("Tretry", dup(pub(qos, id, 1, "x")))
			r.send(sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
			r.wantDrop("no third try", ReasonClientRejected)
			r.wantAck("or the broker would send it for ever", 1)
			r.wantHeld("gone", 0, 0)
		})
	}
}

func TestDeliverRefusedShortNameEndsTheMessage(t *testing.T) {
	for qos := uint8(1); qos <= 2; qos++ {
		r, _ := subscriber(t, nil, true, "#")
		r.event(fromBroker("ab", "x", qos, 1))
		short := sn12.Publish{QoS: qos, TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, MsgID: 1, Data: []byte("x")}
		r.want("by its two octets", short)
		r.send(sn12.PubAck{TopicID: short.TopicID, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
		r.wantAck("no REGISTER: the name is the id", 1)
		r.wantDrop("named", ReasonClientRejected)
		r.wantHeld("gone", 0, 0)
		r.event(fromBroker("ab", "y", 0, 0))
		r.want("the next one as before", sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, Data: []byte("y")})
	}
}

func TestDeliverRefusedPredefinedIsRegistered(t *testing.T) {
	cfg := testConfig()
	cfg.Predefined = predefined(t, 300, "p/q")
	for _, tc := range []struct {
		topic string
		first sn12.Publish
		id    uint16
	}{
		{"p/q", sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: 300, MsgID: 1, Data: []byte("x")}, 300},
	} {
		r, _ := subscriber(t, cfg, true, "#")
		r.event(fromBroker(tc.topic, "x", 1, 1))
		r.want(tc.topic, tc.first)
		r.send(sn12.PubAck{TopicID: tc.first.TopicID, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
		r.want("an id the device can know", sn12.Register{TopicID: tc.id, MsgID: 2, TopicName: []byte(tc.topic)})
		r.send(sn12.RegAck{TopicID: tc.id, MsgID: 2})
		r.want("again", dup(pub(1, tc.id, 1, "x")))
		r.send(sn12.PubAck{TopicID: tc.id, MsgID: 1})
		r.wantAck("x", 1)
		r.event(fromBroker(tc.topic, "y", 0, 0))
		r.want("by the id from then on", pub(0, tc.id, 0, "y"))
	}
}

func TestDeliverUnknownTopicIDOfAQoS0Publish(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 0, 0))
	r.want("PUBLISH", pub(0, id, 0, "x"))
	r.send(sn12.PubAck{TopicID: id, ReturnCode: sn12.RejectedInvalidTopicID})
	r.wantQuiet("QoS 0 is not sent again")
	r.event(fromBroker("a/b", "y", 0, 0))
	r.want("but the next one comes with REGISTER", sn12.Register{TopicID: id, MsgID: 1, TopicName: []byte("a/b")})
}

func TestDeliverPubAckRefused(t *testing.T) {
	for _, code := range []sn12.ReturnCode{sn12.RejectedNotSupported, 0x04, 0xFF} {
		r, id := subscriber(t, nil, true, "a/b")
		r.event(fromBroker("a/b", "x", 2, 1))
		r.want("PUBLISH", pub(2, id, 1, "x"))
		r.send(sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: code})
		r.wantDrop("refused", ReasonClientRejected)
		r.wantAck("given up", 1)
		// The broker uses the number for another message, which is new.
		ev := fromBroker("a/b", "y", 2, 1)
		ev.Dup, ev.Handle = true, 2
		r.event(ev)
		r.want("a MsgId of its own", pub(2, id, 2, "y"))
	}
}

func TestDeliverCongestionDuringARelease_Case94(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 2, 1))
	r.want("PUBLISH", pub(2, id, 1, "x"))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("x", 1)
	r.want("PUBREL", sn12.PubRel{MsgID: 1})
	r.event(fromBroker("a/b", "y", 0, 0))
	r.send(sn12.PubAck{TopicID: id, ReturnCode: sn12.RejectedCongestion})
	r.advance(10 * time.Second)
	r.want("the exchange goes on to its end", sn12.PubRel{MsgID: 1})
	r.send(sn12.PubComp{MsgID: 1})
	r.wantQuiet("but no new message")
	r.advance(5 * time.Minute)
	r.want("until Twait is over", pub(0, id, 0, "y"))
}

func TestDeliverGivenUpMessageLeavesTheProbeAlone(t *testing.T) {
	cfg := testConfig()
	cfg.MaxPacketSize = 32
	r := newRig(t, cfg)
	r.connect(true, 0)
	r.advance(time.Hour)
	r.want("probe", sn12.PingReq{})
	r.event(fromBroker("w/"+strings.Repeat("t", 32), "x", 1, 1))
	r.wantDrop("its REGISTER is too long", ReasonTooLarge)
	r.wantAck("given up", 1)
	r.advance(40 * time.Second)
	for range 3 {
		r.want("the probe is still repeated", sn12.PingReq{})
	}
	r.want("and the device lost", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
}

func TestDeliverForgottenTopicIDIsNotUsedAgain(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("PUBLISH", pub(1, id, 1, "x"))
	r.send(sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
	r.want("REGISTER", sn12.Register{TopicID: id, MsgID: 2, TopicName: []byte("a/b")})
	r.send(sn12.RegAck{TopicID: id, MsgID: 2, ReturnCode: sn12.RejectedNotSupported})
	r.wantAck("given up", 1)
	r.event(fromBroker("a/b", "y", 1, 2))
	r.want("the device does not know the id", sn12.Register{TopicID: id, MsgID: 3, TopicName: []byte("a/b")})
}
