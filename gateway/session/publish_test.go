package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// publisher connects a device that has registered "a/b", whose id it returns.
func publisher(t *testing.T, cfg *Config) (*rig, uint16) {
	t.Helper()
	r := newRig(t, cfg)
	r.connect(false, 0)
	return r, r.register("a/b")
}

// publish sends a PUBLISH to "a/b" that has to be relayed, and returns its token.
func (r *rig) publish(m sn12.Publish) Token {
	r.t.Helper()
	r.send(m)
	a := r.wantAction("relayed", Action{Kind: ActionPublish, Topic: "a/b", Payload: m.Data, QoS: m.QoS, Retain: m.Retain})
	return a.Token
}

func TestPublishQoS0IsRelayedUnanswered_Case63_76(t *testing.T) {
	r, id := publisher(t, nil)
	for _, msgID := range []uint16{0, 1, 0xFFFF} {
		if tok := r.publish(sn12.Publish{TopicID: id, MsgID: msgID, Data: []byte("x")}); tok != 0 {
			t.Errorf("QoS 0 has token %d: there is no result to wait for", tok)
		}
		r.wantQuiet("no answer to QoS 0")
	}
	if d := r.s.Deadline(); d != r.now+r.s.cfg.IdleProbe {
		t.Errorf("QoS 0 waits for %v", d-r.now)
	}
}

func TestPublishQoS0WithoutBrokerIsDroppedAndCounted(t *testing.T) {
	r, id := publisher(t, nil)
	r.event(Event{Kind: EventDown})
	r.send(sn12.Publish{TopicID: id, Data: []byte("x")})
	r.wantDrop("", ReasonBrokerDown)
	r.wantQuiet("at most once")
}

func TestPublishQoS1IsAckedAfterTheBroker_Case64(t *testing.T) {
	r, id := publisher(t, nil)
	r.sendHex(fmt.Sprintf("0a 0c 20 %04x 1234 787979", id))
	a := r.wantAction("", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("xyy"), QoS: 1})
	r.advance(19 * time.Second)
	r.wantQuiet("the broker has not acknowledged it")
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.wantHex("now", fmt.Sprintf("07 0d %04x 1234 00", id))
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.wantQuiet("once")
}

func TestPublishQoS2_Case65(t *testing.T) {
	r, id := publisher(t, nil)
	r.send(sn12.Publish{QoS: 2, TopicID: id, MsgID: 0x1234, Data: []byte("x")})
	a := r.wantAction("", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("x"), QoS: 2})
	r.send(sn12.PubRel{MsgID: 0x1234})
	r.wantDrop("no PUBREC was sent yet", ReasonUnexpectedMessage)
	r.wantQuiet("PUBCOMP would say that the message is safe")
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.wantHex("", "04 0f 1234")
	for range 3 {
		r.sendHex("04 10 1234")
		r.wantHex("also again, the PUBCOMP may be lost", "04 0e 1234")
	}
	tok := r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 0x1234, Data: []byte("next")}) // the MsgId is free again
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("", sn12.PubRec{MsgID: 0x1234})
	r.advance(10 * time.Minute)
	r.wantQuiet("Hold is over for a message that has arrived")
}

func TestRepeatedPublishQoS2IsOneMessage_Case66(t *testing.T) {
	r, id := publisher(t, nil)
	m := sn12.Publish{QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")}
	tok := r.publish(m)
	m.DUP = true
	r.send(m)
	r.wantQuiet("with the broker already")
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("", sn12.PubRec{MsgID: 5})
	for range 3 {
		r.send(m)
		r.want("the PUBREC was lost", sn12.PubRec{MsgID: 5})
	}
	m.DUP = false
	r.send(m)
	r.want("a device that forgets DUP", sn12.PubRec{MsgID: 5})
	r.send(sn12.PubRel{MsgID: 5})
	r.want("", sn12.PubComp{MsgID: 5})
}

func TestMsgIDWithAnotherQoSIsAnotherMessage(t *testing.T) {
	r, id := publisher(t, nil)
	tok := r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 1, Data: []byte("old")})
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("PUBREL never comes", sn12.PubRec{MsgID: 1})
	tok = r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1, Data: []byte("new")})
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("", sn12.PubAck{TopicID: id, MsgID: 1})
}

func TestRepeatedPublishQoS1_Case68(t *testing.T) {
	r, id := publisher(t, nil)
	m := sn12.Publish{QoS: 1, TopicID: id, MsgID: 5, Data: []byte("x")}
	tok := r.publish(m)
	m.DUP = true
	r.send(m)
	r.wantQuiet("pending: once up")
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("", sn12.PubAck{TopicID: id, MsgID: 5})
	tok = r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("the PUBACK was lost: at least once, acknowledged again", sn12.PubAck{TopicID: id, MsgID: 5})
}

func TestPublishToAnUnknownTopicID_Case69_71(t *testing.T) {
	for _, idType := range []sn12.TopicIDType{sn12.TopicIDNormal, sn12.TopicIDPredefined} {
		for _, topicID := range []uint16{0, 77, 0xFFFF} {
			for _, qos := range []uint8{0, 1, 2} {
				r := newRig(t, nil)
				r.connect(true, 60)
				r.send(sn12.Publish{QoS: qos, TopicIDType: idType, TopicID: topicID, MsgID: 9, Data: []byte("x")})
				r.want(fmt.Sprint(idType, topicID, " QoS ", qos),
					sn12.PubAck{TopicID: topicID, MsgID: 9, ReturnCode: sn12.RejectedInvalidTopicID})
				r.wantDrop("", ReasonUnknownTopicID)
				r.wantState("the session goes on", StateActive)
			}
		}
	}
}

func TestPublishToAPredefinedTopic_Case72(t *testing.T) {
	r := newRig(t, predefinedConfig(t,
		topicreg.Entry{ID: 5, Name: "site/alarm"},
		topicreg.Entry{ID: 6, Name: "of/another", Client: "device"}))
	r.connect(true, 60)
	r.sendHex("08 0c 21 0005 0042 78")
	a := r.wantAction("", Action{Kind: ActionPublish, Topic: "site/alarm", Payload: []byte("x"), QoS: 1})
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.wantHex("", "07 0d 0005 0042 00")
	r.send(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDNormal, TopicID: 5, MsgID: 1})
	r.want("a normal id of the same number is another thing", sn12.PubAck{TopicID: 5, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
	r.send(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDPredefined, TopicID: 6, MsgID: 1})
	r.want("predefined for another device", sn12.PubAck{TopicID: 6, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID})
}

func TestPublishToAShortTopic_Case73(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.sendHex("08 0c 22 6162 0001 78")
	a := r.wantAction("", Action{Kind: ActionPublish, Topic: "ab", Payload: []byte("x"), QoS: 1})
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.wantHex("the two octets as they came", "07 0d 6162 0001 00")
}

func TestPublishRetain_Case75(t *testing.T) {
	r, id := publisher(t, nil)
	for _, data := range []string{"x", ""} {
		r.send(sn12.Publish{Retain: true, TopicID: id, Data: []byte(data)})
		r.wantAction("an empty one clears", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte(data), Retain: true})
	}
}

func TestPublishOfEverySize_Case6(t *testing.T) {
	r, id := publisher(t, nil)
	for i, size := range []int{0, 1, 247, 248, 249, 250, 300, 1200, 60000} {
		data := []byte(strings.Repeat("p", size))
		msgID := uint16(i + 1)
		tok := r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: msgID, Data: data})
		r.event(Event{Kind: EventPublished, Token: tok})
		r.want("", sn12.PubAck{TopicID: id, MsgID: msgID})
	}
}

func TestPublishQoSMinusOneFromAConnectedDevice_Case79_81(t *testing.T) {
	r := newRig(t, predefinedConfig(t, topicreg.Entry{ID: 5, Name: "site/alarm"}))
	r.connect(true, 60)
	id := r.register("a/b")
	for _, tc := range []struct {
		idType  sn12.TopicIDType
		topicID uint16
		topic   string
	}{
		{sn12.TopicIDNormal, id, "a/b"},
		{sn12.TopicIDPredefined, 5, "site/alarm"},
		{sn12.TopicIDShort, sn12.ShortID("ab"), "ab"},
	} {
		r.send(sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: tc.idType, TopicID: tc.topicID, Data: []byte("x")})
		r.wantAction("as QoS 0", Action{Kind: ActionPublish, Topic: tc.topic, Payload: []byte("x")})
		r.wantQuiet("never answered")
	}
	r.send(sn12.Publish{QoS: sn12.QoSMinusOne, TopicID: 99})
	r.wantDrop("", ReasonUnknownTopicID)
	r.wantQuiet("never answered, unlike QoS 0")
}

func TestPublishWithoutConnection_Case82(t *testing.T) {
	r := newRig(t, nil)
	for _, qos := range []uint8{0, 1, 2} {
		r.send(sn12.Publish{QoS: qos, TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), MsgID: 1})
		r.wantHex("", "02 18")
		r.wantDrop("", ReasonUnknownSender)
	}
	r.wantState("no session comes of it", StateNew)
}

func TestWindowFullIsCongestion_Case83(t *testing.T) {
	cfg := testConfig()
	cfg.MaxInFlight = 2
	r, id := publisher(t, cfg)
	first := r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
	r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 2})
	for _, qos := range []uint8{1, 2} {
		r.send(sn12.Publish{QoS: qos, TopicID: id, MsgID: 3})
		r.want("", sn12.PubAck{TopicID: id, MsgID: 3, ReturnCode: sn12.RejectedCongestion})
		r.wantDrop("", ReasonWindowFull)
	}
	r.publish(sn12.Publish{TopicID: id}) // QoS 0 needs no place
	r.send(sn12.Publish{DUP: true, QoS: 1, TopicID: id, MsgID: 1})
	r.wantQuiet("a repeat needs none either")
	r.event(Event{Kind: EventPublished, Token: first})
	r.want("", sn12.PubAck{TopicID: id, MsgID: 1})
	r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 3})
}

func TestCongestedLinkRefusesAndLaterTakesIt_Case83(t *testing.T) {
	r, id := publisher(t, nil)
	for _, qos := range []uint8{1, 2} {
		tok := r.publish(sn12.Publish{QoS: qos, TopicID: id, MsgID: 3})
		r.event(Event{Kind: EventPublishFailed, Token: tok})
		r.want("the link would not take it", sn12.PubAck{TopicID: id, MsgID: 3, ReturnCode: sn12.RejectedCongestion})
		r.wantDrop("", ReasonBrokerCongested)
		tok = r.publish(sn12.Publish{DUP: true, QoS: qos, TopicID: id, MsgID: 3})
		r.event(Event{Kind: EventPublished, Token: tok})
		if qos == 1 {
			r.want("after the pause", sn12.PubAck{TopicID: id, MsgID: 3})
		} else {
			r.want("after the pause", sn12.PubRec{MsgID: 3})
		}
	}
}

func TestPipelinedPublishesAreAnsweredEachWithItsOwnTopicID(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	type sent struct {
		id  uint16
		tok Token
	}
	var all []sent
	for i := range 16 {
		topic := fmt.Sprint("t/", i)
		id := r.register(topic)
		r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: uint16(100 + i)})
		a := r.wantAction("", Action{Kind: ActionPublish, Topic: topic, QoS: 1})
		all = append(all, sent{id, a.Token})
	}
	for _, i := range []int{15, 0, 7, 8, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14} {
		r.event(Event{Kind: EventPublished, Token: all[i].tok})
		r.want("in the broker's order, whatever it is", sn12.PubAck{TopicID: all[i].id, MsgID: uint16(100 + i)})
	}
}

func TestMsgIDsOfDeviceAndGatewayAreIndependent(t *testing.T) {
	r, id := publisher(t, nil)
	r.subscribe("a/b", 2)
	r.event(fromBroker("a/b", "down", 2, 1))
	r.want("the gateway's MsgId 1", sn12.Publish{QoS: 2, TopicID: id, MsgID: 1, Data: []byte("down")})
	tok := r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 1, Data: []byte("up")})
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAction("for the gateway's", Action{Kind: ActionAck, Handle: 1})
	r.want("", sn12.PubRel{MsgID: 1})
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("for the device's", sn12.PubRec{MsgID: 1})
	r.send(sn12.PubComp{MsgID: 1})
	r.wantQuiet("ends the gateway's")
	r.send(sn12.PubRel{MsgID: 1})
	r.want("ends the device's", sn12.PubComp{MsgID: 1})
}

func TestPubRelOfAnUnknownExchangeIsAnswered_Case65(t *testing.T) {
	r, id := publisher(t, nil)
	r.send(sn12.PubRel{MsgID: 9})
	r.want("the device can go on", sn12.PubComp{MsgID: 9})
	tok := r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 9})
	r.send(sn12.PubRel{MsgID: 9})
	r.want("QoS 1 is not an exchange", sn12.PubComp{MsgID: 9})
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("and goes its own way", sn12.PubAck{TopicID: id, MsgID: 9})
}

func TestTopicIDTheDeviceUsesNeedsNoRegister_Case37(t *testing.T) {
	for how, use := range map[string]func(r *rig, id uint16){
		"PUBLISH":  func(r *rig, id uint16) { r.publish(sn12.Publish{TopicID: id}) },
		"REGISTER": func(r *rig, _ uint16) { r.register("a/b") },
		"neither":  func(*rig, uint16) {},
	} {
		t.Run(how, func(t *testing.T) {
			r, id := publisher(t, nil)
			r.subscribe("a/#", 0)
			r.close()
			r.send(connectMsg(false, false, 0))
			r.wantAction("", Action{Kind: ActionConnect})
			r.event(Event{Kind: EventConnected, SessionPresent: true})
			r.want("", sn12.ConnAck{})
			use(r, id)
			r.event(fromBroker("a/b", "x", 0, 0))
			if how == "neither" {
				r.want("it may have forgotten the id", sn12.Register{TopicID: id, MsgID: 1, TopicName: []byte("a/b")})
				return
			}
			r.want("it has shown that it knows the id", sn12.Publish{TopicID: id, Data: []byte("x")})
		})
	}
}

func TestLateDuplicateOfAFinishedQoS2PublishIsNotRelayed_Case66(t *testing.T) {
	r, id := publisher(t, nil)
	m := sn12.Publish{QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")}
	finish := func() {
		t.Helper()
		tok := r.publish(m)
		r.event(Event{Kind: EventPublished, Token: tok})
		r.want("", sn12.PubRec{MsgID: 5})
		r.send(sn12.PubRel{MsgID: 5})
		r.want("", sn12.PubComp{MsgID: 5})
	}
	m.MsgID = 4
	tok := r.publish(m)
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("", sn12.PubRec{MsgID: 4})
	m.MsgID = 5
	finish()
	r.send(m)
	r.want("the device counts: the network has delivered it twice", sn12.PubRec{MsgID: 5})
	r.send(sn12.PubRel{MsgID: 5})
	r.want("", sn12.PubComp{MsgID: 5})
	r.send(dup(m))
	r.want("a late repetition", sn12.PubRec{MsgID: 5})
	r.send(sn12.PubRel{MsgID: 5})
	r.want("", sn12.PubComp{MsgID: 5})
	m.Data = []byte("y")
	finish() // another message under the same MsgId
	r.later()
	finish() // and the same one later
}

// There are devices that use one MsgId for all messages: PUBREL ends the exchange, and
// what comes after it without DUP is new, whatever it says.
func TestQoS2WithAlwaysTheSameMsgID_Case66(t *testing.T) {
	r, id := publisher(t, nil)
	m := sn12.Publish{QoS: 2, TopicID: id, MsgID: 1, Data: []byte("x")}
	for range 3 {
		tok := r.publish(m) // the broker gets each
		r.send(m)
		r.wantQuiet("before PUBREC it is a repetition")
		r.event(Event{Kind: EventPublished, Token: tok})
		r.want("", sn12.PubRec{MsgID: 1})
		r.send(m)
		r.want("and before PUBREL", sn12.PubRec{MsgID: 1})
		r.send(sn12.PubRel{MsgID: 1})
		r.want("", sn12.PubComp{MsgID: 1})
		r.send(sn12.PubRel{MsgID: 1})
		r.want("PUBCOMP was lost", sn12.PubComp{MsgID: 1})
		r.send(dup(m))
		r.want("a late repetition", sn12.PubRec{MsgID: 1})
		r.send(sn12.PubRel{MsgID: 1})
		r.want("", sn12.PubComp{MsgID: 1})
		r.advance(100 * time.Millisecond)
	}
}
