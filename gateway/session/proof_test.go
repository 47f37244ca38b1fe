package session

import (
	"strings"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// movedWake is the PINGREQ of a sleeper from an address it has not been at before.
func (r *rig) movedWake() {
	r.t.Helper()
	r.s.AddressChanged()
	r.wake()
}

// TestSleeperThatAnswersRegisterOnlyWakesAtNewPorts: its PINGREQ of five octets has no room
// for the REGISTER of a long topic, which is the only thing it would answer.
func TestSleeperThatAnswersRegisterOnlyWakesAtNewPorts(t *testing.T) {
	r := newRig(t, proofConfig())
	r.connect(false, 60)
	r.subscribe("#", 0)
	r.sleep(600)
	for n := range 5 {
		topic := strings.Repeat("t", 59) + string(rune('0'+n))
		r.event(fromBroker(topic, "x", 0, 0))
		r.movedWake()
		m := sn12.Register{TopicID: uint16(n + 1), MsgID: uint16(n + 1), TopicName: []byte(topic)}
		r.want("at once, and no PINGREQ", m)
		r.send(sn12.RegAck{TopicID: m.TopicID, MsgID: m.MsgID})
		r.want("then the message", pub(0, m.TopicID, 0, "x"))
		r.pong("no more")
		r.want("last", sn12.PingResp{})
		r.advance(time.Minute)
	}
}

// TestDeviceThatAnswersPublishOnlyIsSentOne: of QoS 1 and 2, up to 256 octets.
func TestDeviceThatAnswersPublishOnlyIsSentOne(t *testing.T) {
	for qos := uint8(1); qos <= 2; qos++ {
		fits := strings.Repeat("x", proofLimit-1-sn12.Publish{}.Len()) // from 256 on the length itself takes two octets more
		r := subscribed(t, proofConfig(), "a/b", qos)
		r.event(fromBroker("a/b", fits, qos, 1))
		r.want("its answer proves the address", pub(qos, 1, 1, fits))
		if qos == 1 {
			r.send(sn12.PubAck{TopicID: 1, MsgID: 1})
		} else {
			r.send(sn12.PubRec{MsgID: 1})
			r.want("goes on", sn12.PubRel{MsgID: 1})
		}
		r.wantAck("it has it", 1)
		if !r.s.Proven() {
			t.Errorf("QoS %d: not proven", qos)
		}

		r = subscribed(t, proofConfig(), "a/b", qos)
		r.event(fromBroker("a/b", fits+"x", qos, 1))
		r.want("too long to be sent unproven", sn12.PingReq{})
	}
}

// TestProofDatagramIsRepeatedWithinTheAccount: unanswered, PINGREQ takes its place.
func TestProofDatagramIsRepeatedWithinTheAccount(t *testing.T) {
	long := strings.Repeat("x", 200)
	r := subscribed(t, proofConfig(), "a/b", 1)
	r.event(fromBroker("a/b", long, 1, 1))
	r.want("once", pub(1, 1, 1, long))
	r.advance(10 * time.Second)
	r.want("there is no room for it again", sn12.PingReq{})
	r.send(sn12.PingResp{})
	r.advance(10 * time.Second)
	r.want("now there is", dup(pub(1, 1, 1, long)))
}

// TestListenerToALongTopicThatAnswersRegisterOnly: at QoS 0 it is REGISTER that proves the
// address, also where the account has no room for it.
func TestListenerToALongTopicThatAnswersRegisterOnly(t *testing.T) {
	topic, long := strings.Repeat("t", 200), strings.Repeat("x", 1000)
	r := newRig(t, proofConfig())
	r.connect(false, 65535)
	r.subscribe(topic, 0)
	r.s.AddressChanged()
	r.send(sn12.PingReq{})
	r.want("it speaks from elsewhere", sn12.PingResp{})
	r.event(fromBroker(topic, long, 0, 0))
	r.want("which it ignores", sn12.PingReq{})
	r.advance(10 * time.Second)
	r.want("the id it knows", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte(topic)})
	r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
	for range 100 {
		r.want("its stream", pub(0, 1, 0, long))
		r.event(fromBroker(topic, long, 0, 0))
	}
	r.want("its stream", pub(0, 1, 0, long))
}

// TestForgerOfManyAddressesGetsLittle: whoever forges one port of a victim after the other
// is not given the datagram for each.
func TestForgerOfManyAddressesGetsLittle(t *testing.T) {
	r := newRig(t, proofConfig())
	r.connect(false, 60)
	r.subscribe("a/b", 1)
	r.sleep(65535)
	r.event(fromBroker("a/b", strings.Repeat("x", 200), 1, 1))
	sent := 0
	for range 360 { // ten seconds each
		r.movedWake()
		first := r.sent
		r.sent, r.acts = nil, nil
		r.advance(10 * time.Second)
		r.sent = append(r.sent, first...)
		for _, b := range r.sent {
			if m, _ := sn12.Parse(b); m.Type() == sn12.TypePublish {
				sent++
			}
		}
		r.sent, r.acts = nil, nil
		r.sleep(65535)
	}
	if sent < 1 || sent > 7 {
		t.Errorf("%d messages in an hour, want one at once and every ten minutes", sent)
	}
}

// TestWithheldMessagesAreExplained: counted when they begin to wait, not for each.
func TestWithheldMessagesAreExplained(t *testing.T) {
	long := strings.Repeat("x", 1000)
	r := subscribed(t, proofConfig(), "a/b", 1)
	r.event(fromBroker("a/b", long, 1, 1))
	r.wantDrop("it is asked first")
	r.want("is anybody there?", sn12.PingReq{})
	r.advance(30 * time.Second)
	r.sent = nil
	r.wantDrop("it is still asked")
	r.advance(10 * time.Second)
	r.wantDrop("no answer", ReasonAddressUnproven)
	r.event(fromBroker("a/b", long, 1, 2))
	r.wantDrop("the same")
	r.send(sn12.PingReq{})
	r.want("it lives", sn12.PingResp{})
	r.want("and is asked", sn12.PingReq{})
	r.send(sn12.PingResp{})
	r.want("and gets it", pub(1, 1, r.s.down.delivery.msgID, long))
}
