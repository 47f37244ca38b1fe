package session

import (
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func TestQoS2IsNotDoubledOverAReconnectOfTheDevice_Case66(t *testing.T) {
	for _, stage := range []string{"PUBREC sent", "broker not answered"} {
		t.Run(stage, func(t *testing.T) {
			r, id := publisher(t, nil)
			tok := r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")})
			if stage == "PUBREC sent" {
				r.event(Event{Kind: EventPublished, Token: tok})
				r.want("lost", sn12.PubRec{MsgID: 5})
			}
			r.close()
			r.connect(false, 0)
			if stage != "PUBREC sent" {
				r.event(Event{Kind: EventPublished, Token: tok})
				r.wantQuiet("the device has not asked since it is back")
			}
			r.send(sn12.Publish{DUP: true, QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")})
			r.want("once at the broker", sn12.PubRec{MsgID: 5})
			r.send(sn12.PubRel{MsgID: 5})
			r.want("", sn12.PubComp{MsgID: 5})
		})
	}
}

// What an earlier connection left with a broker that does not answer is refused in time
// when the device repeats it, like anything else.
func TestRepeatAfterReconnectIsRefusedInTime(t *testing.T) {
	r, id := publisher(t, nil)
	tok := r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.close()
	r.connect(false, 0)
	r.advance(time.Minute)
	r.wantQuiet("the device waits for nothing")
	r.send(sn12.Publish{DUP: true, QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.wantAction("it joins what is with the link already", Action{Kind: ActionAwait, Token: tok, Awaited: true})
	r.advance(20 * time.Second)
	r.want("Hold is over", sn12.PubAck{TopicID: id, MsgID: 5, ReturnCode: sn12.RejectedCongestion})
	r.wantAction("", Action{Kind: ActionAwait, Token: tok})
}

func TestMsgIDOfAnEarlierConnectionMayBeUsedAnew(t *testing.T) {
	r, id := publisher(t, nil)
	tok := r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 1, Data: []byte("old")})
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("", sn12.PubRec{MsgID: 1})
	r.close()
	r.connect(false, 0)
	r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 1, Data: []byte("new")})
}

func TestPublishIsHeldWhileTheBrokerIsAway(t *testing.T) {
	for _, qos := range []uint8{1, 2} {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			r, id := publisher(t, nil)
			r.event(Event{Kind: EventDown})
			tok := r.publish(sn12.Publish{QoS: qos, TopicID: id, MsgID: 5, Data: []byte("x")})
			r.send(sn12.PingReq{})
			r.want("the session lives", sn12.PingResp{})
			r.advance(20*time.Second - 1)
			r.wantQuiet("neither acknowledged nor refused for as long as Hold allows")
			r.advance(1)
			r.want("Hold is over", sn12.PubAck{TopicID: id, MsgID: 5, ReturnCode: sn12.RejectedCongestion})
			r.wantAction("taken back, if it was never written", Action{Kind: ActionAwait, Token: tok})
			r.wantDrop("", ReasonBrokerDown)
			r.event(Event{Kind: EventPublishFailed, Token: tok})
			r.wantQuiet("it was; the device knows already")
			r.publish(sn12.Publish{DUP: true, QoS: qos, TopicID: id, MsgID: 5, Data: []byte("x")})
		})
	}
}

func TestBrokerBackWithinHoldIsNotNoticed(t *testing.T) {
	r, id := publisher(t, nil)
	r.event(Event{Kind: EventDown})
	tok := r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.advance(2 * time.Second)
	r.event(Event{Kind: EventUp, SessionPresent: true})
	r.wantQuiet("the link sends it by itself")
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("", sn12.PubAck{TopicID: id, MsgID: 5})
	r.advance(time.Minute)
	r.wantQuiet("")
}

func TestHoldIsPerMessage(t *testing.T) {
	r, id := publisher(t, nil)
	r.event(Event{Kind: EventDown})
	one := r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
	r.advance(15 * time.Second)
	two := r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 2})
	r.advance(5 * time.Second)
	r.want("the first", sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.wantAction("", Action{Kind: ActionAwait, Token: one})
	r.advance(15 * time.Second)
	r.want("the second", sn12.PubAck{TopicID: id, MsgID: 2, ReturnCode: sn12.RejectedCongestion})
	r.wantAction("", Action{Kind: ActionAwait, Token: two})
}

func TestSlowBrokerIsHeldToHoldAsWell(t *testing.T) {
	r, id := publisher(t, nil)
	tok := r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 1})
	r.advance(20 * time.Second)
	r.want("connected, but no answer", sn12.PubAck{TopicID: id, MsgID: 1, ReturnCode: sn12.RejectedCongestion})
	r.wantAction("", Action{Kind: ActionAwait, Token: tok})
	r.event(Event{Kind: EventPublished, Token: tok})
	r.wantQuiet("too late: the device has been told otherwise")
}

func TestRepeatOfARefusedPublishJoinsIt(t *testing.T) {
	r, id := publisher(t, nil)
	tok := r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.event(Event{Kind: EventDown}) // written, not acknowledged: it stays in flight
	r.advance(20 * time.Second)
	r.want("", sn12.PubAck{TopicID: id, MsgID: 5, ReturnCode: sn12.RejectedCongestion})
	r.wantAction("", Action{Kind: ActionAwait, Token: tok})
	r.advance(5 * time.Minute)
	r.send(sn12.Publish{DUP: true, QoS: 1, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.wantAction("the same message: not sent twice", Action{Kind: ActionAwait, Token: tok, Awaited: true})
	r.advance(20 * time.Second)
	r.want("held anew, refused anew", sn12.PubAck{TopicID: id, MsgID: 5, ReturnCode: sn12.RejectedCongestion})
	r.wantAction("", Action{Kind: ActionAwait, Token: tok})
	r.send(sn12.Publish{DUP: true, QoS: 1, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.wantAction("joins", Action{Kind: ActionAwait, Token: tok, Awaited: true})
	r.event(Event{Kind: EventUp, SessionPresent: true})
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("", sn12.PubAck{TopicID: id, MsgID: 5})
}

// A QoS 2 message that was written when the connection broke is refused in doubt: the
// broker may get it after all. The device's repeat must not make a second one of it.
func TestRefusedQoS2CompletesOnce_Case66(t *testing.T) {
	for _, repeat := range []string{"before the broker answers", "after the broker has answered"} {
		t.Run(repeat, func(t *testing.T) {
			r, id := publisher(t, nil)
			tok := r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")})
			r.event(Event{Kind: EventDown})
			r.advance(20 * time.Second)
			r.want("", sn12.PubAck{TopicID: id, MsgID: 5, ReturnCode: sn12.RejectedCongestion})
			r.wantAction("", Action{Kind: ActionAwait, Token: tok})
			again := sn12.Publish{DUP: true, QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")}
			if repeat == "before the broker answers" {
				r.send(again)
				r.wantAction("joins", Action{Kind: ActionAwait, Token: tok, Awaited: true})
			}
			r.event(Event{Kind: EventUp, SessionPresent: true})
			r.event(Event{Kind: EventPublished, Token: tok})
			if repeat == "after the broker has answered" {
				r.wantQuiet("the device has been told congestion, and waits")
				r.send(again)
			}
			r.want("once at the broker", sn12.PubRec{MsgID: 5})
			r.send(sn12.PubRel{MsgID: 5})
			r.want("", sn12.PubComp{MsgID: 5})
		})
	}
}

func TestRefusedPublishesMakeRoomForNewOnes_Case83(t *testing.T) {
	cfg := testConfig()
	cfg.MaxInFlight = 2
	r, id := publisher(t, cfg)
	r.event(Event{Kind: EventDown})
	for round := range 5 {
		for i := range 2 {
			msgID := uint16(2*round + i + 1)
			r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: msgID})
		}
		r.advance(20 * time.Second)
		for i := range 2 {
			r.want("", sn12.PubAck{TopicID: id, MsgID: uint16(2*round + i + 1), ReturnCode: sn12.RejectedCongestion})
			r.wantAction("", Action{Kind: ActionAwait, Token: Token(2*round + i + 1)})
		}
	}
}

func TestQoS1IsRelayedAnewAfterAReconnectOfTheDevice_Case68(t *testing.T) {
	r, id := publisher(t, nil)
	old := r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.close()
	r.connect(false, 0)
	tok := r.publish(sn12.Publish{DUP: true, QoS: 1, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.event(Event{Kind: EventPublished, Token: old})
	r.wantQuiet("the answer to the first is for nobody")
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("", sn12.PubAck{TopicID: id, MsgID: 5})
}

func TestRepeatAfterReconnectIsAnsweredByTheBrokersLateAnswer_Case66(t *testing.T) {
	r, id := publisher(t, nil)
	tok := r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.close()
	r.connect(false, 0)
	r.send(sn12.Publish{DUP: true, QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.wantAction("with the link already", Action{Kind: ActionAwait, Token: tok, Awaited: true})
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("", sn12.PubRec{MsgID: 5})
}

func TestFailureOfAnOldMessageIsNobodys(t *testing.T) {
	r, id := publisher(t, nil)
	tok := r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")})
	r.close()
	r.connect(false, 0)
	r.event(Event{Kind: EventPublishFailed, Token: tok})
	r.wantQuiet("the device has not asked since it is back")
	r.publish(sn12.Publish{DUP: true, QoS: 2, TopicID: id, MsgID: 5, Data: []byte("x")})
}

// What nobody may ever ask for again must not fill the window for good.
func TestAbandonedExchangesMakeRoom_Case83(t *testing.T) {
	for _, why := range []string{"reconnect", "refused, then with the broker"} {
		t.Run(why, func(t *testing.T) {
			cfg := testConfig()
			cfg.MaxInFlight = 2
			r, id := publisher(t, cfg)
			var toks []Token
			for i := range uint16(2) {
				toks = append(toks, r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: i + 1}))
			}
			if why == "reconnect" {
				for i, tok := range toks {
					r.event(Event{Kind: EventPublished, Token: tok})
					r.want("", sn12.PubRec{MsgID: uint16(i + 1)})
				}
				r.close()
				r.connect(false, 0)
			} else {
				r.advance(20 * time.Second)
				for i, tok := range toks {
					r.want("", sn12.PubAck{TopicID: id, MsgID: uint16(i + 1), ReturnCode: sn12.RejectedCongestion})
					r.wantAction("", Action{Kind: ActionAwait, Token: tok})
				}
				for _, tok := range toks {
					r.event(Event{Kind: EventPublished, Token: tok})
				}
			}
			r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 10})
			r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 11})
			r.send(sn12.Publish{QoS: 2, TopicID: id, MsgID: 12})
			r.want("these two are wanted", sn12.PubAck{TopicID: id, MsgID: 12, ReturnCode: sn12.RejectedCongestion})
		})
	}
}
