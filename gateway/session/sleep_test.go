package session

import (
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// pong answers the barrier that has just been asked for.
func (r *rig) pong(why string) {
	r.t.Helper()
	a := r.wantAction(why, Action{Kind: ActionPing})
	r.event(Event{Kind: EventPong, Token: a.Token})
}

// sleeper is a device that subscribed to "a/b" and sleeps.
func sleeper(t *testing.T, cfg *Config, clean bool) (r *rig, id uint16) {
	t.Helper()
	r, id = subscriber(t, cfg, clean, "a/b")
	r.sleep(60)
	return r, id
}

func TestSleepIsConfirmedWithoutDuration_Case124(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.sendHex("04 18 003C")
	r.wantHex("DISCONNECT without duration", "02 18")
	r.wantState("asleep; the connection to the broker stays", StateAsleep)
	r.sendHex("04 18 003C")
	r.wantHex("the answer was lost: again", "02 18")
	r.wantState("still asleep", StateAsleep)
}

func TestSleepDurationZeroIsNone(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.sendHex("04 18 0000")
	r.wantHex("confirmed", "02 18")
	r.wantAction("as DISCONNECT without duration", Action{Kind: ActionCloseClean})
	r.wantState("ended", StateDisconnected)
}

func TestSleepNothingIsSentToASleeper_Case126(t *testing.T) {
	r, id := sleeper(t, nil, true)
	for round := range 3 {
		for n := range uint16(3) {
			r.event(fromBroker("a/b", "x", uint8(n), n))
			r.advance(20 * time.Second)
			r.wantQuiet("nothing is sent, no retry runs")
		}
		r.wake()
		r.want("QoS 0", pub(0, id, 0, "x"))
		r.want("QoS 1", pub(1, id, uint16(2*round+1), "x"))
		r.send(sn12.PubAck{MsgID: uint16(2*round + 1)})
		r.wantAck("1", 1)
		r.want("QoS 2", pub(2, id, uint16(2*round+2), "x"))
		r.send(sn12.PubRec{MsgID: uint16(2*round + 2)})
		r.wantAck("2", 2)
		r.want("QoS 2", sn12.PubRel{MsgID: uint16(2*round + 2)})
		r.send(sn12.PubComp{MsgID: uint16(2*round + 2)})
		r.pong("first round: PUBREL has come")
		r.pong("second round: what PUBCOMP released has come")
		r.want("last", sn12.PingResp{})
		r.wantState("asleep", StateAsleep)
	}
}

func TestSleepWakeDeliversThenPingResp_Case127_129_130(t *testing.T) {
	r, id := sleeper(t, nil, true)
	for n := range uint16(3) {
		r.event(fromBroker("a/b", fmt.Sprint(n), 1, n+1))
	}
	r.sendHex("05 16 646576")
	r.wantState("awake", StateAwake)
	for n := range uint16(3) {
		r.want("after the PUBACK of the last", pub(1, id, n+1, fmt.Sprint(n)))
		r.send(sn12.PubAck{TopicID: id, MsgID: n + 1})
		r.wantAck("acknowledged", Handle(n+1))
	}
	r.pong("barrier")
	r.wantHex("PINGRESP last", "02 17")
	r.wantState("asleep again", StateAsleep)

	r.event(fromBroker("a/b", "new", 1, 4))
	r.wantQuiet("case 129: held, asleep again")
	r.wake()
	r.want("only the new one", pub(1, id, 4, "new"))
	r.send(sn12.PubAck{TopicID: id, MsgID: 4})
	r.wantAck("new", 4)
	r.pong("barrier")
	r.want("PINGRESP", sn12.PingResp{})
	r.wake()
	r.pong("barrier")
	r.want("case 130: PINGRESP only", sn12.PingResp{})
	r.wantState("asleep again", StateAsleep)
}

func TestSleepWakeWithNothingHeld_Case128(t *testing.T) {
	r, _ := sleeper(t, nil, true)
	r.wake()
	r.pong("a message may be on its way from the broker")
	r.wantHex("nothing was", "02 17")
	r.wantState("asleep", StateAsleep)

	r = newRig(t, nil)
	r.connect(true, 60)
	r.sleep(60)
	r.wake()
	r.wantHex("at once for a device that subscribes to nothing", "02 17")
}

func TestSleepWakeRegistersWildcardTopics_Case133(t *testing.T) {
	r, _ := subscriber(t, nil, true, "w/#")
	r.sleep(60)
	r.event(fromBroker("w/1", "a", 0, 0))
	r.event(fromBroker("w/2", "b", 1, 1))
	r.event(fromBroker("w/1", "c", 0, 0))
	r.wake()
	r.want("REGISTER", sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("w/1")})
	r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
	r.want("a", pub(0, 1, 0, "a"))
	r.want("REGISTER", sn12.Register{TopicID: 2, MsgID: 2, TopicName: []byte("w/2")})
	r.send(sn12.RegAck{TopicID: 2, MsgID: 2})
	r.want("b", pub(1, 2, 3, "b"))
	r.send(sn12.PubAck{TopicID: 2, MsgID: 3})
	r.wantAck("b", 1)
	r.want("c: known since this wake", pub(0, 1, 0, "c"))
	r.pong("barrier")
	r.want("PINGRESP last", sn12.PingResp{})
}

func TestSleepWakeKeepsTheOrderOfMixedQoS_Case134(t *testing.T) {
	r, id := sleeper(t, nil, true)
	for n, qos := range []uint8{2, 0, 1, 0, 2} {
		r.event(fromBroker("a/b", fmt.Sprint(n), qos, uint16(n+1)))
	}
	r.wake()
	r.want("0", pub(2, id, 1, "0"))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("0", 1)
	r.want("0", sn12.PubRel{MsgID: 1})
	r.send(sn12.PubComp{MsgID: 1})
	r.want("1", pub(0, id, 0, "1"))
	r.want("2", pub(1, id, 2, "2"))
	r.send(sn12.PubAck{MsgID: 2})
	r.wantAck("2", 3)
	r.want("3", pub(0, id, 0, "3"))
	r.want("4", pub(2, id, 3, "4"))
	r.send(sn12.PubRec{MsgID: 3})
	r.wantAck("4", 5)
	r.want("4", sn12.PubRel{MsgID: 3})
	r.wantQuiet("PINGRESP only after the exchange")
	r.send(sn12.PubComp{MsgID: 3})
	r.pong("barrier")
	r.pong("and a second for QoS 2")
	r.want("PINGRESP last", sn12.PingResp{})
}

func TestSleepLongerThanKeepAliveKeepsTheConnection_Case136(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 3)
	r.sleep(60)
	r.advance(20 * time.Second)
	r.wantQuiet("the keep-alive does not count while asleep; nothing closes")
	r.advance(70*time.Second - 1)
	r.wantQuiet("the sleep does, with 50 %")
	r.advance(1)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
}

func TestSleepExpires_Case137(t *testing.T) {
	will := &Will{Topic: "w/t", Message: []byte("gone"), QoS: 1, Retain: true}
	for _, clean := range []bool{true, false} {
		for _, w := range []*Will{nil, will} {
			for _, seconds := range []uint16{10, 60, 61, 65535} {
				t.Run(fmt.Sprintf("clean=%v_will=%v_%ds", clean, w != nil, seconds), func(t *testing.T) {
					r := newRig(t, nil)
					if w == nil {
						r.connect(clean, 60)
					} else {
						r.connectWill(clean, w)
					}
					r.sleep(seconds)
					grace := time.Duration(seconds) * time.Second * 3 / 2
					if seconds > 60 {
						grace = time.Duration(seconds) * time.Second * 11 / 10
					}
					r.advance(grace - 1)
					r.wantQuiet("within the tolerance (7.2)")
					r.wantState("asleep", StateAsleep)
					r.advance(1)
					r.want("told, in case it listens", sn12.Disconnect{})
					r.wantAction("the broker publishes the will, if there is one", Action{Kind: ActionCloseAbort})
					r.wantState("lost", StateLost)
					r.event(Event{Kind: EventClosed})
					r.wantFreed("kept by CleanSession=0 only", clean)
					r.wake()
					r.want("too late: it has to connect", sn12.Disconnect{})
				})
			}
		}
	}
}

func TestSleepExpiryIsRestartedByEveryWake_Case138(t *testing.T) {
	r, id := sleeper(t, nil, true)
	for n := range uint16(100) {
		r.advance(54 * time.Second)
		r.wantQuiet("within the sleep time")
		if n%3 == 0 {
			r.event(fromBroker("a/b", "x", 1, n+1))
			r.wake()
			r.want("x", pub(1, id, n/3+1, "x"))
			r.send(sn12.PubAck{MsgID: n/3 + 1})
			r.wantAck("x", Handle(n+1))
		} else {
			r.wake()
		}
		r.pong("barrier")
		r.want("PINGRESP", sn12.PingResp{})
		r.wantState("never lost", StateAsleep)
	}
	r.advance(90*time.Second - 1)
	r.wantQuiet("and the full time counts from the last PINGRESP")
}

func TestSleeperDisconnects_Case140(t *testing.T) {
	for _, awake := range []bool{false, true} {
		r := newRig(t, nil)
		r.connectWill(true, &Will{Topic: "w", Message: []byte("m")})
		id := r.subscribe("a/b", 1)
		r.sleep(60)
		r.event(fromBroker("a/b", "x", 1, 1))
		if awake {
			r.wake()
			r.want("x", pub(1, id, 1, "x"))
		}
		r.sendHex("02 18")
		r.wantHex("confirmed", "02 18")
		r.wantAction("DISCONNECT to the broker: no will", Action{Kind: ActionCloseClean})
		r.wantDrop("the message went with the session", ReasonSessionEnded)
		r.wantState("ended", StateDisconnected)
		r.advance(time.Hour)
		r.wantQuiet("nothing runs")
	}
}

func TestSleeperIsPutToSleepForAnotherTime(t *testing.T) {
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "x", 0, 0))
	r.advance(50 * time.Second)
	r.sleep(10)
	r.advance(15*time.Second - 1)
	r.wantQuiet("the new duration counts from here")
	r.sleep(100)
	r.advance(110*time.Second - 1)
	r.wantQuiet("and the next from there")
	r.wake()
	r.want("what was held before", pub(0, id, 0, "x"))
	r.pong("barrier")
	r.want("PINGRESP", sn12.PingResp{})
	r.advance(110*time.Second - 1)
	r.wantQuiet("the last duration is used again")
	r.advance(1)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
}

func TestSleepInTheMiddleOfADelivery(t *testing.T) {
	regW1 := func(msgID uint16) sn12.Register {
		return sn12.Register{TopicID: 1, MsgID: msgID, TopicName: []byte("w/1")}
	}
	for _, step := range []string{"registering", "publishing", "releasing"} {
		for _, qos := range []uint8{1, 2} {
			if step == "releasing" && qos == 1 {
				continue
			}
			t.Run(fmt.Sprintf("%s_QoS%d", step, qos), func(t *testing.T) {
				r, _ := subscriber(t, nil, true, "w/#")
				r.event(fromBroker("w/1", "x", qos, 1))
				r.want("REGISTER", regW1(1))
				if step != "registering" {
					r.send(sn12.RegAck{TopicID: 1, MsgID: 1})
					r.want("PUBLISH", pub(qos, 1, 2, "x"))
				}
				if step == "releasing" {
					r.send(sn12.PubRec{MsgID: 2})
					r.wantAck("x", 1)
					r.want("PUBREL", sn12.PubRel{MsgID: 2})
				}
				for range 2 { // asleep, then asleep again in the middle of the wake
					r.sleep(600)
					r.advance(300 * time.Second)
					r.wantQuiet("no retry while asleep")
					r.wake()
					switch step {
					case "registering":
						r.want("from the beginning", regW1(r.s.announcer.reg.msgID))
					case "publishing":
						r.want("the same MsgId, DUP", dup(pub(qos, 1, 2, "x")))
					case "releasing":
						r.want("only PUBREL is left", sn12.PubRel{MsgID: 2})
					}
				}
				msgID := uint16(2)
				if step == "registering" {
					r.send(sn12.RegAck{TopicID: 1, MsgID: 3})
					r.want("never sent before: no DUP", pub(qos, 1, 4, "x"))
					msgID = 4
				}
				if qos == 1 {
					r.send(sn12.PubAck{TopicID: 1, MsgID: msgID})
					r.wantAck("x", 1)
				} else {
					if step != "releasing" {
						r.send(sn12.PubRec{MsgID: msgID})
						r.wantAck("x", 1)
						r.want("PUBREL", sn12.PubRel{MsgID: msgID})
					}
					r.send(sn12.PubComp{MsgID: msgID})
				}
				if qos == 2 && step != "releasing" { // that was acknowledged before the sleep
					r.pong("barrier")
				}
				r.pong("barrier")
				r.want("PINGRESP", sn12.PingResp{})
			})
		}
	}
}

func TestSleepLateAnswersToASuspendedDelivery(t *testing.T) {
	// DISCONNECT has overtaken the answer to the PUBLISH. Once the device is told
	// PUBREL, the same PUBLISH would be a second message to it.
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 2, 1))
	r.want("PUBLISH", pub(2, id, 1, "x"))
	r.event(fromBroker("a/b", "y", 1, 2))
	r.sleep(60)
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("the device has it", 1)
	r.want("answered", sn12.PubRel{MsgID: 1})
	r.advance(50 * time.Second)
	r.wantQuiet("but not repeated while asleep")
	r.wake()
	r.want("PUBREL again", sn12.PubRel{MsgID: 1})
	r.send(sn12.PubComp{MsgID: 1})
	r.want("y", pub(1, id, 2, "y"))
	r.sleep(60)
	r.send(sn12.PubAck{TopicID: id, MsgID: 2, ReturnCode: sn12.RejectedCongestion})
	r.wantDrop("only the good news is taken", ReasonUnexpectedMessage)
	r.send(sn12.PubAck{TopicID: id, MsgID: 2})
	r.wantAck("y", 2)
	r.wantHeld("nothing left", 0, 0)
	r.wake()
	r.pong("y was acknowledged since the last wake: the broker may have more")
	r.want("PINGRESP", sn12.PingResp{})
}

func TestSleepPubCompWhileAsleep(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 2, 1))
	r.want("PUBLISH", pub(2, id, 1, "x"))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("x", 1)
	r.want("PUBREL", sn12.PubRel{MsgID: 1})
	r.sleep(60)
	r.send(sn12.PubComp{MsgID: 1})
	r.wantHeld("over", 0, 0)
	r.wake()
	r.pong("barrier")
	r.want("nothing left", sn12.PingResp{})
}

func TestSleepCongestedSleeperIsServedAtItsNextWake_Case94(t *testing.T) {
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "1", 1, 1))
	r.wake()
	r.want("1", pub(1, id, 1, "1"))
	r.send(sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.want("not now: the device may sleep", sn12.PingResp{})
	r.wantState("asleep", StateAsleep)
	r.wake()
	r.want("a device that wakes is ready", dup(pub(1, id, 1, "1")))
	r.send(sn12.PubAck{TopicID: id, MsgID: 1})
	r.wantAck("1", 1)
	r.pong("barrier")
	r.want("PINGRESP", sn12.PingResp{})
	r.advance(89 * time.Second)
	r.wantQuiet("the end of the pause means nothing to a sleeper")
}

func TestSleepMisuseIsProcessed(t *testing.T) {
	// "It should return to active" before it sends; a device that does not is served
	// without being taken for awake.
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "held", 1, 1))
	r.send(sn12.Publish{TopicID: id, Data: []byte("0")})
	r.wantAction("QoS 0", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("0")})
	r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 5, Data: []byte("1")})
	a := r.wantAction("QoS 1", Action{Kind: ActionPublish, Topic: "a/b", Payload: []byte("1"), QoS: 1})
	r.advance(time.Second)
	r.event(Event{Kind: EventPublished, Token: a.Token})
	r.want("late, but its own", sn12.PubAck{TopicID: id, MsgID: 5})
	r.send(sn12.Subscribe{QoS: 1, MsgID: 6, TopicName: []byte("c")})
	a = r.wantAction("SUBSCRIBE", Action{Kind: ActionSubscribe, Topic: "c", QoS: 1})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.want("SUBACK", sn12.SubAck{QoS: 1, TopicID: id + 1, MsgID: 6})
	r.send(sn12.Unsubscribe{MsgID: 7, TopicName: []byte("c")})
	a = r.wantAction("UNSUBSCRIBE", Action{Kind: ActionUnsubscribe, Topic: "c"})
	r.event(Event{Kind: EventUnsubscribed, Token: a.Token})
	r.want("UNSUBACK", sn12.UnsubAck{MsgID: 7})
	r.send(sn12.Register{MsgID: 8, TopicName: []byte("d")})
	r.want("REGACK", sn12.RegAck{TopicID: id + 2, MsgID: 8})
	r.wantState("still asleep, and what is held stays", StateAsleep)
	r.wantHeld("held", 1, len("a/bheld")+messageOverhead)
	r.advance(89 * time.Second)
	r.wantQuiet("it lives: the sleep counts from its last word")
	r.wake()
	r.want("held", pub(1, id, 1, "held"))
}

func TestSleepSurvivesABrokerRestart_Case147(t *testing.T) {
	for _, present := range []bool{true, false} {
		r, id := sleeper(t, nil, false)
		r.event(fromBroker("a/b", "1", 1, 1))
		r.event(fromBroker("a/b", "2", 2, 2))
		r.event(Event{Kind: EventDown})
		r.advance(30 * time.Second)
		r.wantQuiet("the device sleeps on")
		r.event(Event{Kind: EventUp, SessionPresent: present})
		if !present {
			r.wantAction("the broker has forgotten", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
		}
		r.event(fromBroker("a/b", "3", 1, 3))
		r.wantState("asleep", StateAsleep)
		r.wake()
		r.want("1", pub(1, id, 1, "1"))
		r.send(sn12.PubAck{MsgID: 1})
		r.wantAck("1", 1)
		r.want("2", pub(2, id, 2, "2"))
		r.send(sn12.PubRec{MsgID: 2})
		r.wantAck("2", 2)
		r.want("2", sn12.PubRel{MsgID: 2})
		r.send(sn12.PubComp{MsgID: 2})
		r.want("3", pub(1, id, 3, "3"))
		r.send(sn12.PubAck{MsgID: 3})
		r.wantAck("3", 3)
		r.pong("barrier")
		r.pong("barrier")
		r.want("PINGRESP", sn12.PingResp{})
	}
}

func TestSleepWithKeepAliveZero(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 0)
	r.sleep(60)
	r.advance(90*time.Second - 1)
	r.wantQuiet("a sleeper is not probed")
	r.advance(1)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
}

func TestSleepLateAnswersOfTheWrongKind(t *testing.T) {
	r, id := subscriber(t, nil, true, "a/b")
	r.event(fromBroker("a/b", "x", 1, 1))
	r.want("PUBLISH", pub(1, id, 1, "x"))
	r.sleep(60)
	r.send(sn12.PubRec{MsgID: 1})
	r.want("QoS 1 is not acknowledged by PUBREC", sn12.PubRel{MsgID: 1})
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("but by PUBACK", 1)
	r.event(fromBroker("a/b", "y", 2, 2))
	r.wake()
	r.want("PUBLISH", pub(2, id, 2, "y"))
	r.sleep(60)
	r.send(sn12.PubAck{MsgID: 2})
	r.wantDrop("nor QoS 2 by PUBACK", ReasonUnexpectedMessage)
	r.wake()
	r.want("it goes on", dup(pub(2, id, 2, "y")))
}

// The broker may have granted a SUBSCRIBE that the device fell asleep behind, and have
// messages for it.
func TestWakeBehindAnUnansweredSubscribeAsksTheBroker_Case127(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.send(sn12.Subscribe{QoS: 1, MsgID: 7, TopicName: []byte("a/b")})
	a := r.wantAction("", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 1})
	r.sleep(60)
	r.wake()
	ping := r.wantAction("what has it?", Action{Kind: ActionPing})
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Granted: 1})
	r.want("granted", sn12.SubAck{QoS: 1, TopicID: 1, MsgID: 7})
	r.event(fromBroker("a/b", "x", 0, 1))
	r.want("its message", pub(0, 1, 0, "x"))
	r.event(Event{Kind: EventPong, Token: ping.Token})
	r.want("that was all", sn12.PingResp{})
}

// What is held fills its room and needs a REGISTER that the device does not answer: no answer
// of the broker is read before the device takes something, so the wake does not wait for one.
func TestWakeDoesNotWaitForAnAnswerThatIsNotRead(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessages = 2
	r, _ := subscriber(t, cfg, true, "c/+")
	r.sleep(600)
	r.event(fromBroker("c/d", "1", 1, 1))
	r.event(fromBroker("c/d", "2", 1, 2))
	r.wantAction("as much as may be held", Action{Kind: ActionPause})
	register := sn12.Register{TopicID: 1, TopicName: []byte("c/d")}
	for wake := range uint16(2) {
		register.MsgID = wake + 1
		r.send(sn12.PingReq{ClientID: []byte("dev")})
		r.want("", register)
		r.advance(cfg.RetryInterval)
		r.want("again", register)
		if wake == 0 {
			r.sleep(600) // it does not know REGISTER, and goes back by itself
		}
	}
	r.advance(cfg.RetryInterval)
	r.want("nothing else can come", sn12.PingResp{})
	r.wantState("asleep", StateAsleep)
}
