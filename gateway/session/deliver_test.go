package session

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// subscriber is a device with keep-alive 600 that is connected (clean as said) and has
// subscribed to filter; id is what SUBACK said.
func subscriber(t *testing.T, cfg *Config, clean bool, filter string) (r *rig, id uint16) {
	t.Helper()
	r = newRig(t, cfg)
	r.connect(clean, 600)
	return r, r.subscribe(filter, 2)
}

// comeBack connects the device again; the broker has its session unless clean.
func (r *rig) comeBack(clean bool) {
	r.t.Helper()
	r.send(sn12.Connect{CleanSession: clean, ProtocolID: 1, Duration: 600, ClientID: []byte("dev")})
	r.wantAction("CONNECT opens the broker session", Action{Kind: ActionConnect, Clean: clean, KeepAlive: 600})
	r.event(Event{Kind: EventConnected, SessionPresent: !clean})
	r.want("CONNACK before all else", sn12.ConnAck{})
}

// wantAck expects that the broker is told: message n has arrived.
func (r *rig) wantAck(why string, n Handle) {
	r.t.Helper()
	r.wantAction(why, Action{Kind: ActionAck, Handle: n})
}

func (r *rig) wantHeld(why string, messages, octets int) {
	r.t.Helper()
	if n, b := r.s.Held(); n != messages || b != octets {
		r.t.Fatalf("%s: held are %d messages of %d octets, want %d of %d", why, n, b, messages, octets)
	}
}

// pub is a PUBLISH to the device with a normal topic id.
func pub(qos uint8, topicID, msgID uint16, data string) sn12.Publish {
	return sn12.Publish{QoS: qos, TopicID: topicID, MsgID: msgID, Data: []byte(data)}
}

func dup(p sn12.Publish) sn12.Publish {
	p.DUP = true
	return p
}

func TestDeliverWithTheIDOfTheSubAck_Case84(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	// The broker has lowered the QoS to what it granted; the device gets the same.
	r.event(fromBroker("a/b", "zero", 0, 0))
	r.want("QoS 0 has MsgId 0 (5.4.12)", pub(0, id, 0, "zero"))
	r.event(fromBroker("a/b", "one", 1, 1))
	r.want("QoS 1", pub(1, id, 1, "one"))
	r.send(sn12.PubAck{TopicID: id, MsgID: 1})
	r.wantAck("the device has it", 1)
	r.event(fromBroker("a/b", "two", 2, 2))
	r.want("QoS 2", pub(2, id, 2, "two"))
	r.send(sn12.PubRec{MsgID: 2})
	r.wantAck("the device has it", 2)
	r.want("second half", sn12.PubRel{MsgID: 2})
	r.send(sn12.PubComp{MsgID: 2})
	r.wantHeld("all delivered", 0, 0)
}

func TestDeliverRegistersAnUnknownTopicFirst_Case85(t *testing.T) {
	r, _ := subscriber(t, nil, true, "w/#")
	r.event(fromBroker("w/new", "x", 0, 0))
	r.want("REGISTER before the first message (6.10)", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("w/new")})
	r.wantHeld("until REGACK", 1, len("w/new")+1+messageOverhead)
	r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
	r.want("then the QoS 0 PUBLISH", pub(0, 1, 0, "x"))
	r.event(fromBroker("w/new", "y", 0, 0))
	r.want("known now", pub(0, 1, 0, "y"))
}

func TestDeliverRegisterUnansweredIsRepeatedThenLost_Case87(t *testing.T) {
	r, _ := subscriber(t, nil, true, "w/#")
	r.event(fromBroker("w/new", "x", 0, 0))
	reg := sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("w/new")}
	r.want("first", reg)
	for range 3 {
		r.advance(10*time.Second - 1)
		r.wantQuiet("not before Tretry")
		r.advance(1)
		r.want("REGISTER has no DUP flag: the same again", reg)
	}
	r.want("is it there at all?", sn12.PingReq{})
	r.advance(10 * time.Second)
	r.want("Nretry used up", sn12.Disconnect{})
	r.wantAction("the will is published", Action{Kind: ActionCloseAbort})
	r.wantState("lost", StateLost)
	r.wantDrop("the message and its reason", ReasonSessionEnded)
	r.event(Event{Kind: EventClosed})
	r.wantFreed("clean session", true)
}

func TestDeliverQoS1UnansweredIsRepeatedWithDUPThenLost_Case89(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	r.wantHex("flags 20", "08 0C 20 0001 0001 78")
	for range 3 {
		r.advance(10*time.Second - 1)
		r.wantQuiet("not before Tretry")
		r.advance(1)
		r.wantHex("flags A0, same MsgId", "08 0C A0 0001 0001 78")
	}
	r.want("is it there at all?", sn12.PingReq{})
	r.advance(10 * time.Second)
	r.want("Nretry used up", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
	r.wantDrop("the message is still the broker's")
	r.event(Event{Kind: EventClosed})
	r.wantFreed("kept, CleanSession=0", false)

	// The message comes again after the device has come back, and has not been acked.
	r.comeBack(false)
	r.event(Event{Kind: EventMessage, Topic: "a/b", Payload: []byte("x"), QoS: 1, Dup: true, Handle: 9})
	r.want("told the id again", sn12.Register{TopicID: id, MsgID: 2, TopicName: []byte("a/b")})
	r.send(sn12.RegAck{TopicID: id, MsgID: 2})
	r.want("delivered", pub(1, id, 3, "x"))
	r.send(sn12.PubAck{TopicID: id, MsgID: 3})
	r.wantAck("now", 9)
}

func TestDeliverQoS2PubRecLost_Case90(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 2, 1))
	r.want("first", pub(2, id, 1, "x"))
	r.advance(10 * time.Second)
	r.want("no PUBREC", dup(pub(2, id, 1, "x")))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("the device has it", 1)
	r.want("PUBREL", sn12.PubRel{MsgID: 1})
	r.send(sn12.PubRec{MsgID: 1})
	r.want("the late first PUBREC is answered again, and acknowledges nothing twice", sn12.PubRel{MsgID: 1})
	r.send(sn12.PubComp{MsgID: 1})
	r.wantQuiet("done")
}

func TestDeliverQoS2PubCompLost_Case90(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 2, 1))
	r.want("first", pub(2, id, 1, "x"))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("the device has it", 1)
	r.want("PUBREL", sn12.PubRel{MsgID: 1})
	for range 3 {
		r.advance(10 * time.Second)
		r.want("no PUBCOMP: PUBREL again, never the PUBLISH", sn12.PubRel{MsgID: 1})
	}
	r.want("is it there at all?", sn12.PingReq{})
	r.event(fromBroker("a/b", "next", 1, 2))
	r.wantQuiet("one exchange at a time (6.6)")
	r.send(sn12.PubComp{MsgID: 1})
	r.want("next", pub(1, id, 2, "next"))
	r.send(sn12.PubComp{MsgID: 1})
	r.wantDrop("a second PUBCOMP means nothing", ReasonUnexpectedMessage)
	r.advance(40 * time.Second)
	for range 3 {
		r.want("next", dup(pub(1, id, 2, "next")))
	}
	r.want("is it there at all?", sn12.PingReq{})
	r.want("lost", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
}

func TestDeliverQoS2PubRelUnansweredIsLost_Case90(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 2, 1))
	r.want("first", pub(2, id, 1, "x"))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("the device has it", 1)
	r.want("PUBREL", sn12.PubRel{MsgID: 1})
	r.advance(40 * time.Second)
	for range 3 {
		r.want("again", sn12.PubRel{MsgID: 1})
	}
	r.want("is it there at all?", sn12.PingReq{})
	r.want("lost", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
	r.wantDrop("nothing is lost: the device has the message")
}

func TestDeliverAcksTheBrokerOnlyAfterTheDevice_Case91(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("PUBLISH, and no ActionAck yet", pub(1, id, 1, "x"))
	r.send(sn12.PubAck{TopicID: id, MsgID: 99})
	r.wantDrop("another MsgId", ReasonUnexpectedMessage)
	r.send(sn12.PubAck{TopicID: 0, MsgID: 1})
	r.wantAck("by its MsgId; the topic id need not be echoed", 1)
	r.send(sn12.PubAck{TopicID: id, MsgID: 1})
	r.wantDrop("once only", ReasonUnexpectedMessage)
}

func TestDeliverRetainFlag_Case95(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	ev := fromBroker("a/b", "x", 0, 0)
	ev.Retain = true
	r.event(ev)
	r.want("flags 10", sn12.Publish{Retain: true, TopicID: id, Data: []byte("x")})
	ev = fromBroker("a/b", "y", 1, 1)
	ev.Retain = true
	r.event(ev)
	r.wantHex("flags 30", "08 0C 30 0001 0001 79")
	r.advance(10 * time.Second)
	r.wantHex("flags B0", "08 0C B0 0001 0001 79")
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("y", 1)
}

func TestDeliverShortTopicName_Case96(t *testing.T) {
	r, _ := subscriber(t, nil, true, "+")
	r.event(fromBroker("ab", "x", 0, 0))
	r.wantHex("short, QoS 0", "08 0C 02 6162 0000 78")
	r.event(fromBroker("ab", "y", 1, 1))
	r.wantHex("short, QoS 1", "08 0C 22 6162 0001 79")
	r.send(sn12.PubAck{TopicID: 0x6162, MsgID: 1})
	r.wantAck("y", 1)
	r.event(fromBroker("é", "z", 0, 0))
	r.wantHex("one character of two octets is one too", "08 0C 02 C3A9 0000 7A")

	id := r.register("ab")
	r.event(fromBroker("ab", "z", 0, 0))
	r.want("registered: by its id from then on", pub(0, id, 0, "z"))
}

func predefined(t *testing.T, id uint16, name string) *topicreg.Predefined {
	t.Helper()
	p, faults := topicreg.NewPredefined([]topicreg.Entry{{ID: id, Name: name}})
	if faults != nil {
		t.Fatal(faults)
	}
	return p
}

func TestDeliverPredefinedTopic_Case99(t *testing.T) {
	cfg := testConfig()
	cfg.Predefined = predefined(t, 300, "p/q")
	r, _ := subscriber(t, cfg, true, "p/#")
	r.event(fromBroker("p/q", "x", 1, 1))
	r.wantHex("topic id type 1", "08 0C 21 012C 0001 78")
	r.send(sn12.PubAck{TopicID: 300, MsgID: 1})
	r.wantAck("x", 1)
	id := r.subscribe("p/q", 1)
	if id != 300 {
		t.Fatalf("subscribed by name: topic id %d, want the predefined number", id)
	}
	r.event(fromBroker("p/q", "y", 0, 0))
	r.want("subscribed by name: by the id of the SUBACK", pub(0, 300, 0, "y"))
}

func TestDeliverOneAtATime_Case100(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	for n := range uint16(5) {
		r.event(fromBroker("a/b", fmt.Sprint(n+1), 1, n+1))
		if n == 0 {
			r.want("the first", pub(1, id, 1, "1"))
		}
	}
	for n := range uint16(5) {
		r.send(sn12.PubAck{TopicID: id, MsgID: n + 1})
		r.wantAck("in order", Handle(n+1))
		if n < 4 {
			r.want("the next only now", pub(1, id, n+2, fmt.Sprint(n+2)))
		}
	}
}

func TestDeliverEveryDatagramOfOneStepInOrder(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "1", 1, 1))
	r.want("1", pub(1, id, 1, "1"))
	r.event(fromBroker("a/b", "2", 0, 0))
	r.event(fromBroker("a/b", "3", 0, 0))
	r.event(fromBroker("a/b", "4", 2, 2))
	r.event(fromBroker("a/b", "5", 0, 0))
	r.send(sn12.PubAck{TopicID: id, MsgID: 1})
	r.wantAck("1", 1)
	r.want("2", pub(0, id, 0, "2"))
	r.want("3", pub(0, id, 0, "3"))
	r.want("4", pub(2, id, 2, "4"))
	r.send(sn12.PubRec{MsgID: 2})
	r.wantAck("4", 2)
	r.want("4", sn12.PubRel{MsgID: 2})
	r.wantHeld("the exchange and 5", 2, messageOverhead+len("a/b5")+messageOverhead)
	r.send(sn12.PubComp{MsgID: 2})
	r.want("5", pub(0, id, 0, "5"))
}

func TestDeliverSizes_Case6_7(t *testing.T) {
	// PUBLISH has 7 octets around its data in the short form, 9 in the long one: 248 is
	// the last payload that fits the short form (total 255), 249 makes 258.
	for _, tc := range []struct {
		size   int
		header string
	}{
		{0, "07"}, {1, "08"}, {247, "FE"}, {248, "FF"}, {249, "01 0102"}, {1200, "01 04B9"}, {60000, "01 EA69"},
	} {
		for qos := range uint8(3) {
			t.Run(fmt.Sprintf("%d_QoS%d", tc.size, qos), func(t *testing.T) {
				r, id := subscriber(t, nil, true, "a/b")
				data := bytes.Repeat([]byte{0x5A}, tc.size)
				r.event(fromBroker("a/b", string(data), qos, uint16(qos)))
				if head := unhex(t, tc.header); len(r.sent) != 1 || !bytes.HasPrefix(r.sent[0], head) {
					t.Fatalf("want one datagram with Length %x", head)
				}
				var msgID uint16
				if qos > 0 {
					msgID = 1
				}
				r.want("every octet", sn12.Publish{QoS: qos, TopicID: id, MsgID: msgID, Data: data})
			})
		}
	}
}

func TestDeliverRedeliveredQoS2KeepsItsMsgID(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.event(fromBroker("a/b", "x", 2, 7))
	r.want("PUBLISH; the PUBREC is lost, and so is the device", pub(2, id, 1, "x"))
	r.advance(40 * time.Second)
	for range 3 {
		r.want("again", dup(pub(2, id, 1, "x")))
	}
	r.want("is it there at all?", sn12.PingReq{})
	r.want("lost", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
	r.event(Event{Kind: EventClosed})

	r.comeBack(false)
	r.send(sn12.PubRec{MsgID: 1})
	r.wantDrop("a PUBREC that comes before the redelivery must not release it", ReasonUnexpectedMessage)
	again := fromBroker("a/b", "x", 2, 7)
	again.Dup, again.Handle = true, 8
	r.event(again)
	r.want("topic ids are told again (6.10)", sn12.Register{TopicID: id, MsgID: 2, TopicName: []byte("a/b")})
	r.send(sn12.RegAck{TopicID: id, MsgID: 2})
	r.want("the same MsgId: the device can tell that it has it", dup(pub(2, id, 1, "x")))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("by the new handle", 8)
	r.want("PUBREL", sn12.PubRel{MsgID: 1})
	r.send(sn12.PubComp{MsgID: 1})

	r.event(fromBroker("a/b", "new", 2, 7))
	r.want("without DUP: a new message", pub(2, id, 3, "new"))
}

func TestDeliverReleasingGoesOnAfterReconnect(t *testing.T) {
	for _, clean := range []bool{false, true} {
		r, id := subscriber(t, nil, clean, "a/b")
		r.event(fromBroker("a/b", "x", 2, 1))
		r.want("PUBLISH", pub(2, id, 1, "x"))
		r.send(sn12.PubRec{MsgID: 1})
		r.wantAck("x", 1)
		r.want("PUBREL", sn12.PubRel{MsgID: 1})
		r.send(sn12.Disconnect{})
		r.want("bye", sn12.Disconnect{})
		r.wantAction("bye", Action{Kind: ActionCloseClean})
		r.event(Event{Kind: EventClosed})
		r.comeBack(clean)
		if !clean {
			r.want("the exchange is part of the session", sn12.PubRel{MsgID: 1})
			r.advance(10 * time.Second)
			r.want("supervised", sn12.PubRel{MsgID: 1})
			r.send(sn12.PubComp{MsgID: 1})
		}
		r.wantHeld("over", 0, 0)
	}
}

func TestDeliverTwiceWhatTheBrokerSendsTwice_Case173(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("PUBLISH", pub(1, id, 1, "x"))
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	again := fromBroker("a/b", "x", 1, 1)
	again.Dup, again.Handle = true, 2
	r.event(again)
	r.wantQuiet("one at a time, and nothing acknowledged unseen")
	r.send(sn12.PubAck{TopicID: id, MsgID: 1})
	r.wantAck("the first", 1)
	r.want("the second copy", pub(1, id, 2, "x"))
	r.send(sn12.PubAck{TopicID: id, MsgID: 2})
	r.wantAck("the second", 2)
}

func TestDeliverGoesOnWhileTheBrokerIsAway(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("PUBLISH", pub(1, id, 1, "x"))
	r.event(fromBroker("a/b", "y", 1, 2))
	r.event(Event{Kind: EventDown})
	r.advance(10 * time.Second)
	r.want("again", dup(pub(1, id, 1, "x")))
	r.send(sn12.PubAck{TopicID: id, MsgID: 1})
	r.wantAck("the link keeps it for the broker", 1)
	r.want("y", pub(1, id, 2, "y"))
}

func TestDeliverMsgIDsSkipZero(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.s.down.nextMsgID = 0xFFFE
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("0xFFFF", pub(1, id, 0xFFFF, "x"))
	r.send(sn12.PubAck{MsgID: 0xFFFF})
	r.wantAck("x", 1)
	r.event(fromBroker("a/b", "y", 1, 2))
	r.want("0 means none", pub(1, id, 1, "y"))
}

func TestDeliverMessagesAfterTheEndAreCounted(t *testing.T) {
	for _, clean := range []bool{true, false} {
		r, _ := subscriber(t, nil, clean, "a/b")
		r.send(sn12.Disconnect{})
		r.want("bye", sn12.Disconnect{})
		r.wantAction("bye", Action{Kind: ActionCloseClean})
		r.event(fromBroker("a/b", "x", 0, 0))
		r.wantDrop("QoS 0 is lost", ReasonSessionEnded)
		r.event(fromBroker("a/b", "x", 1, 1))
		if clean {
			r.wantDrop("as QoS 1 is with the session", ReasonSessionEnded)
		} else {
			r.wantDrop("QoS 1 is the broker's still")
		}
		r.wantHeld("nothing", 0, 0)
	}
}

func TestDeliverReleasingIsNotDisturbedByTheLink(t *testing.T) {
	r, id := subscriber(t, nil, false, "a/b")
	r.event(fromBroker("a/b", "x", 2, 1))
	r.want("PUBLISH", pub(2, id, 1, "x"))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("x", 1)
	r.want("PUBREL", sn12.PubRel{MsgID: 1})
	r.event(Event{Kind: EventParked})
	r.event(fromBroker("a/b", "y", 0, 0))
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	r.wantQuiet("PUBREL is repeated by Tretry only")
	r.send(sn12.PubComp{MsgID: 1})
	r.want("a link that is up cannot be parked", pub(0, id, 0, "y"))
}

func TestDeliverIdentityOfAnotherMessage(t *testing.T) {
	// The broker may use a number again: the message is known by more.
	for _, tc := range []struct {
		name    string
		present bool
		dup     bool
		payload string
		msgID   uint16
	}{
		{"redelivered", true, true, "x", 1},
		{"without DUP", true, false, "x", 3},
		{"of another session of the broker", false, true, "x", 3},
		{"of another session, of which no CONNACK has told", true, true, "y", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, id := subscriber(t, nil, false, "a/b")
			r.event(fromBroker("a/b", "x", 2, 7))
			r.want("PUBLISH", pub(2, id, 1, "x"))
			r.event(Event{Kind: EventDown})
			r.event(Event{Kind: EventUp, SessionPresent: tc.present})
			if !tc.present {
				a := r.wantAction("restored", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
				r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 2})
			}
			r.send(sn12.Disconnect{})
			r.want("bye", sn12.Disconnect{})
			r.wantAction("bye", Action{Kind: ActionCloseClean})
			r.comeBack(false)
			ev := fromBroker("a/b", tc.payload, 2, 7)
			ev.Dup = tc.dup
			r.event(ev)
			r.want("the id is told again", sn12.Register{TopicID: id, MsgID: 2, TopicName: []byte("a/b")})
			r.send(sn12.RegAck{TopicID: id, MsgID: 2})
			want := pub(2, id, tc.msgID, tc.payload)
			want.DUP = tc.msgID == 1
			r.want("PUBLISH", want)
		})
	}
}
