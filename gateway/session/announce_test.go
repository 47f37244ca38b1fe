package session

import (
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// reg is a REGISTER for the device.
func reg(topicID, msgID uint16, topic string) sn12.Register {
	return sn12.Register{TopicID: topicID, MsgID: msgID, TopicName: []byte(topic)}
}

// ping has the device send PINGREQ, and expects the answer.
func (r *rig) ping() {
	r.t.Helper()
	r.send(sn12.PingReq{})
	r.want("it is active", sn12.PingResp{})
}

func TestAnnounceUnansweredByADeviceThatLives(t *testing.T) {
	for qos := range uint8(3) {
		t.Run(fmt.Sprintf("QoS%d", qos), func(t *testing.T) {
			r, _ := subscriber(t, nil, true, "w/#")
			r.event(fromBroker("w/1", "x", qos, 1))
			r.want("REGISTER", reg(1, 1, "w/1"))
			repetitions := 3
			if qos > 0 {
				repetitions = 7 // twice as often
			}
			for range repetitions {
				r.advance(10 * time.Second)
				r.want("repeated", reg(1, 1, "w/1"))
				r.sent = nil // PINGREQ
				r.ping()
			}
			r.advance(10 * time.Second)
			r.wantDrop("the message is given up, not the device", ReasonRegisterUnanswered)
			r.wantLost("and said so", fmt.Sprintf("register_unanswered w/1 QoS %d, 1 octets", qos))
			if qos > 0 {
				r.wantAck("or the broker would send it for ever", 1)
			}
			r.wantState("it goes on", StateActive)
			r.wantHeld("gone", 0, 0)
		})
	}
}

func TestAnnounceUnansweredIsNoLossWhenOnlyPingReqIsAnswered(t *testing.T) {
	r, _ := subscriber(t, nil, true, "w/#")
	r.event(fromBroker("w/1", "x", 0, 0))
	for n := range 4 {
		r.want("REGISTER", reg(1, 1, "w/1"))
		if n < 3 {
			r.advance(10 * time.Second)
		}
	}
	r.wantHex("the device has nothing to say: it is asked", "02 16")
	r.send(sn12.PingResp{})
	r.advance(10 * time.Second)
	r.wantDrop("it lives", ReasonRegisterUnanswered)
	r.wantState("it lives", StateActive)
}

func TestAnnounceUnansweredDoesNotHoldOtherTopics(t *testing.T) {
	for qos := range uint8(3) {
		t.Run(fmt.Sprintf("QoS%d", qos), func(t *testing.T) {
			r, id := subscriber(t, nil, true, "a/b")
			r.event(fromBroker("w/1", "1", 1, 1))
			r.want("REGISTER", reg(2, 1, "w/1"))
			r.event(fromBroker("a/b", "x", qos, 2))
			r.event(fromBroker("w/1", "2", 0, 0))
			r.wantQuiet("one at a time, as long as the device may be about to answer")
			r.advance(10 * time.Second)
			r.want("REGISTER again", reg(2, 1, "w/1"))
			if qos == 0 {
				r.want("and what needs none", pub(0, id, 0, "x"))
			} else {
				r.want("and what needs none", pub(qos, id, 2, "x"))
			}
			r.send(sn12.RegAck{TopicID: 2, MsgID: 1})
			switch qos {
			case 1:
				r.wantQuiet("one PUBLISH at a time")
				r.send(sn12.PubAck{TopicID: id, MsgID: 2})
				r.wantAck("x", 2)
			case 2:
				r.send(sn12.PubRec{MsgID: 2})
				r.wantAck("x", 2)
				r.want("x", sn12.PubRel{MsgID: 2})
				r.send(sn12.PubComp{MsgID: 2})
			}
			next := r.s.down.delivery.msgID
			r.want("in order", pub(1, 2, next, "1"))
			r.send(sn12.PubAck{TopicID: 2, MsgID: next})
			r.wantAck("1", 1)
			r.want("in order", pub(0, 2, 0, "2"))
		})
	}
}

func TestAnnounceToADeviceThatNeverAnswersHoldsNothing(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("w/1", "x", 0, 0))
	for n := range 4 {
		r.want("REGISTER", reg(2, 1, "w/1"))
		if n < 3 {
			r.advance(10 * time.Second)
		}
	}
	r.want("is it there?", sn12.PingReq{})
	r.send(sn12.PingResp{})
	r.advance(10 * time.Second)
	r.wantDrop("given up", ReasonRegisterUnanswered)
	r.event(fromBroker("w/2", "y", 0, 0))
	r.want("REGISTER", reg(3, 2, "w/2"))
	r.event(fromBroker("a/b", "z", 0, 0))
	r.want("it has not answered the last time: nobody waits for it", pub(0, id, 0, "z"))
	r.send(sn12.RegAck{TopicID: 3, MsgID: 2})
	r.want("but it may", pub(0, 3, 0, "y"))
}

func TestAnnounceQoS2StaysInOrder(t *testing.T) {
	// Of QoS 2 one exchange is remembered over connections: a second one must not begin.
	r, id := subscriber(t, nil, false, "a/b")
	r.event(fromBroker("w/1", "1", 2, 1))
	r.want("REGISTER", reg(2, 1, "w/1"))
	r.event(fromBroker("a/b", "2", 2, 2))
	r.event(fromBroker("a/b", "3", 0, 0))
	r.event(fromBroker("c", "4", 0, 0))
	r.event(fromBroker("cd", "5", 0, 0))
	r.advance(10 * time.Second)
	r.want("again", reg(2, 1, "w/1"))
	r.want("neither QoS 2 nor of a topic with QoS 2 before it", sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: 0x6364, Data: []byte("5")})
	r.send(sn12.RegAck{TopicID: 2, MsgID: 1})
	r.want("1", pub(2, 2, 2, "1"))
	r.send(sn12.PubRec{MsgID: 2})
	r.wantAck("1", 1)
	r.want("1", sn12.PubRel{MsgID: 2})
	r.send(sn12.PubComp{MsgID: 2})
	r.want("2", pub(2, id, 3, "2"))
}

// toldBefore is a device that has been told the id of w/1 by REGISTER, said goodbye and come
// back; the broker sends a message of that topic.
func toldBefore(t *testing.T, qos uint8) *rig {
	t.Helper()
	r := newRig(t, nil)
	r.connect(false, 600)
	r.event(fromBroker("w/1", "0", 0, 0))
	r.want("REGISTER", reg(1, 1, "w/1"))
	r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
	r.want("0", pub(0, 1, 0, "0"))
	r.send(sn12.Disconnect{})
	r.want("bye", sn12.Disconnect{})
	r.wantAction("bye", Action{Kind: ActionCloseClean})
	r.comeBack(false)
	r.event(fromBroker("w/1", "x", qos, 1))
	r.want("told again", reg(1, 2, "w/1"))
	return r
}

func TestAnnounceIsAnsweredBySubAck(t *testing.T) {
	r := toldBefore(t, 1)
	r.send(sn12.Subscribe{QoS: 1, MsgID: 0x1235, TopicName: []byte("w/1")})
	a := r.wantAction("SUBSCRIBE", Action{Kind: ActionSubscribe, Topic: "w/1", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.wantHex("SUBACK", "08 13 20 0001 1235 00")
	r.wantHex("that answers the REGISTER", "08 0C 20 0001 0003 78")
	r.send(sn12.PubAck{TopicID: 1, MsgID: 3})
	r.wantAck("x", 1)
	r.advance(time.Minute)
	r.wantQuiet("nothing more to be answered")
}

func TestAnnounceIsAnsweredByTheDevicesRegister(t *testing.T) {
	r := toldBefore(t, 1)
	r.send(sn12.Register{MsgID: 9, TopicName: []byte("w/1")})
	r.want("REGACK", sn12.RegAck{TopicID: 1, MsgID: 9})
	r.want("that tells it the id", pub(1, 1, 3, "x"))
}

func TestAnnounceIsAnsweredByUse(t *testing.T) {
	r := toldBefore(t, 0)
	r.send(sn12.Publish{TopicID: 1, Data: []byte("u")})
	r.wantAction("relayed", Action{Kind: ActionPublish, Topic: "w/1", Payload: []byte("u")})
	r.want("it knows the id", pub(0, 1, 0, "x"))
}

func TestAnnounceKnownBeforeIsTriedAfterOneSilence(t *testing.T) {
	for qos := range uint8(3) {
		t.Run(fmt.Sprintf("accepted_QoS%d", qos), func(t *testing.T) {
			r := toldBefore(t, qos)
			r.advance(10 * time.Second)
			r.want("REGISTER goes on", reg(1, 2, "w/1"))
			msgID := uint16(3)
			if qos == 0 {
				msgID = 0
			}
			r.want("the device has known the id", pub(qos, 1, msgID, "x"))
			switch qos {
			case 1:
				r.send(sn12.PubAck{TopicID: 1, MsgID: 3})
				r.wantAck("x", 1)
			case 2:
				r.send(sn12.PubRec{MsgID: 3})
				r.wantAck("x", 1)
				r.want("x", sn12.PubRel{MsgID: 3})
				r.send(sn12.PubComp{MsgID: 3})
			default: // it says 0x02, or nothing
				r.ping()
				r.advance(20 * time.Second)
				r.want("again", reg(1, 2, "w/1"))
				r.want("again", reg(1, 2, "w/1"))
				r.advance(10 * time.Second)
				r.wantDrop("nothing is lost")
			}
			r.event(fromBroker("w/1", "y", 0, 0))
			r.want("it knows the id", pub(0, 1, 0, "y"))
		})
		t.Run(fmt.Sprintf("refused_QoS%d", qos), func(t *testing.T) {
			r := toldBefore(t, qos)
			r.advance(10 * time.Second)
			r.want("REGISTER goes on", reg(1, 2, "w/1"))
			r.sent = nil // PUBLISH, as above
			r.send(sn12.PubAck{TopicID: 1, MsgID: r.s.down.delivery.msgID, ReturnCode: sn12.RejectedInvalidTopicID})
			if qos == 0 {
				r.wantQuiet("QoS 0 is not sent again")
				r.event(fromBroker("w/1", "y", 0, 0))
				r.want("properly", reg(1, 3, "w/1"))
				return
			}
			r.want("it does not know it: properly", reg(1, 4, "w/1"))
			r.advance(10 * time.Second)
			r.want("and not tried again", reg(1, 4, "w/1"))
			r.send(sn12.RegAck{TopicID: 1, MsgID: 4})
			r.want("now", dup(pub(qos, 1, 3, "x")))
		})
	}
}

func TestAnnounceNeverKnownIsNotTried(t *testing.T) {
	r, _ := subscriber(t, nil, true, "w/#")
	r.event(fromBroker("w/1", "x", 1, 1))
	r.want("REGISTER", reg(1, 1, "w/1"))
	r.advance(10 * time.Second)
	r.want("only REGISTER: nobody knows what the device takes the id for", reg(1, 1, "w/1"))
}

func TestAnnounceAnswers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer sn12.RegAck
		drop   Reason
		next   sn12.Message
		ack    bool
	}{
		{"wrong MsgId", sn12.RegAck{TopicID: 1, MsgID: 7}, ReasonUnexpectedMessage, nil, false},
		{"wrong topic id", sn12.RegAck{TopicID: 9, MsgID: 1}, ReasonNone, pub(1, 1, 2, "x"), false},
		{"congestion", sn12.RegAck{TopicID: 1, MsgID: 1, ReturnCode: sn12.RejectedCongestion}, ReasonNone, nil, false},
		{"invalid topic id", sn12.RegAck{TopicID: 1, MsgID: 1, ReturnCode: sn12.RejectedInvalidTopicID}, ReasonClientRejected, nil, true},
		{"not supported", sn12.RegAck{TopicID: 1, MsgID: 1, ReturnCode: sn12.RejectedNotSupported}, ReasonClientRejected, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, _ := subscriber(t, nil, true, "w/#")
			r.event(fromBroker("w/1", "x", 1, 1))
			r.want("REGISTER", reg(1, 1, "w/1"))
			r.send(tc.answer)
			if tc.drop != ReasonNone {
				r.wantDrop(tc.name, tc.drop)
			} else {
				r.wantDrop(tc.name)
			}
			if tc.next != nil {
				r.want(tc.name, tc.next)
			}
			if tc.ack {
				r.wantAck(tc.name, 1)
			}
		})
	}
}

// A device that says "congestion" for ever keeps one message from coming, not all.
func TestAnnounceCongestionHasAnEnd(t *testing.T) {
	cfg := testConfig()
	cfg.RetryCount = 1
	r, _ := subscriber(t, cfg, false, "w/#")
	r.event(fromBroker("w/1", "x", 1, 1))
	for n := range uint16(minPatience) {
		r.want("REGISTER", reg(1, n+1, "w/1"))
		if n == minPatience-1 {
			r.event(fromBroker("w/2", "y", 1, 2))
		}
		r.send(sn12.RegAck{TopicID: 1, MsgID: n + 1, ReturnCode: sn12.RejectedCongestion})
		if n < minPatience-1 {
			r.advance(5 * time.Minute)
		}
	}
	r.wantDrop("not for ever", ReasonClientRejected)
	r.wantAck("given up", 1)
	r.want("the next", reg(2, minPatience+1, "w/2"))
}

func TestAnnounceUnansweredInShortWakesHasAnEnd(t *testing.T) {
	cfg := testConfig()
	cfg.RetryCount = 1
	r, id := subscriber(t, cfg, true, "a/b")
	r.sleep(600)
	r.event(fromBroker("w/1", "x", 1, 1))
	for n := range uint16(minPatience) {
		r.wake()
		r.want("REGISTER", reg(2, n+1, "w/1"))
		r.advance(time.Second)
		r.sleep(600) // it does not wait for PINGRESP
	}
	r.event(fromBroker("a/b", "y", 0, 0))
	r.wake()
	r.wantDrop("as often as in two connections", ReasonRegisterUnanswered)
	r.wantAck("given up", 1)
	r.want("the next", pub(0, id, 0, "y"))
	r.pong("acknowledged")
	r.want("last", sn12.PingResp{})
}

func TestAnnounceUnansweredInAWakeEndsWithPingResp(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.sleep(600)
	r.event(fromBroker("w/1", "x", 0, 0))
	r.event(fromBroker("a/b", "y", 0, 0))
	r.wake()
	for n := range 4 {
		r.want("REGISTER", reg(2, 1, "w/1"))
		if n == 1 {
			r.want("it is not held by that", pub(0, id, 0, "y"))
		}
		if n < 3 {
			r.advance(10 * time.Second)
		}
	}
	r.want("is it there?", sn12.PingReq{})
	r.send(sn12.PingReq{})
	r.wantQuiet("it waits for PINGRESP, and lives")
	r.advance(10 * time.Second)
	r.wantDrop("given up", ReasonRegisterUnanswered)
	r.pong("what the broker has")
	r.want("last", sn12.PingResp{})
	r.wantState("asleep", StateAsleep)
}

// TestAnnounceToASleeperThatKnowsNoRegisterHasShortWakes: once it has left a REGISTER
// unanswered it is not kept awake for all repetitions of the next ones. The messages are
// given up over several wakes, and the ones that need no REGISTER come in each.
func TestAnnounceToASleeperThatKnowsNoRegisterHasShortWakes(t *testing.T) {
	for qos := range uint8(2) {
		t.Run(fmt.Sprintf("QoS%d", qos), func(t *testing.T) {
			r, id := subscriber(t, nil, true, "a/b")
			r.s.announcer.mute = true // as an unanswered REGISTER leaves it
			r.sleep(60000)
			for n := range uint16(3) {
				r.event(fromBroker(fmt.Sprint("w/", n), "x", qos, n+1))
			}
			wakes := 0
			for ; r.s.down.queue.len() > 0; wakes++ {
				if wakes > 3*minPatience+1 {
					t.Fatalf("%d messages are still held", r.s.down.queue.len())
				}
				r.event(fromBroker("a/b", "y", 0, 0))
				r.wake()
				if last := r.sent[len(r.sent)-1]; len(r.sent) > 1 {
					r.sent = [][]byte{last}
				}
				r.want("not held", pub(0, id, 0, "y"))
				r.acts = nil
				r.advance(20 * time.Second)
				for len(r.acts) > 0 {
					a := r.acts[0]
					if r.acts = nil; a.Kind == ActionPing {
						sent := r.sent
						r.sent = nil
						r.event(Event{Kind: EventPong, Token: a.Token})
						r.sent = append(sent, r.sent...)
					}
				}
				r.wantState("a REGISTER and one repetition, then it sleeps on", StateAsleep)
				r.sent, r.acts = nil, nil
				r.advance(time.Minute)
			}
			if wakes < 3*2 {
				t.Errorf("given up in %d wakes: too early", wakes)
			}
			r.wantState("and it is not lost", StateAsleep)
		})
	}
}
