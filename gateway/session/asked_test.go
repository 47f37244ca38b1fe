package session

import (
	"fmt"
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func TestBurstOfRequestsIsAnsweredOneByOne(t *testing.T) {
	for _, remove := range []bool{false, true} {
		r := newRig(t, nil)
		r.connect(true, 600)
		var asked []Action
		for n := range uint16(16) {
			topic := fmt.Sprintf("t/%d", n)
			if remove {
				r.send(sn12.Unsubscribe{MsgID: n + 1, TopicName: []byte(topic)})
				asked = append(asked, r.wantAction("", Action{Kind: ActionUnsubscribe, Topic: topic}))
			} else {
				asked = append(asked, r.subscribeVia(sn12.Subscribe{MsgID: n + 1, TopicName: []byte(topic)}, topic))
			}
		}
		r.advance(300 * time.Millisecond)
		for n, a := range asked {
			if remove {
				r.event(Event{Kind: EventUnsubscribed, Token: a.Token})
				r.want("", sn12.UnsubAck{MsgID: uint16(n + 1)})
			} else {
				r.event(Event{Kind: EventSubscribed, Token: a.Token})
				r.want("", sn12.SubAck{TopicID: uint16(n + 1), MsgID: uint16(n + 1)})
			}
		}
	}
}

func TestBurstOfRequestsWhileTheBrokerIsAwayIsAnswered(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 0)
	r.subscribe("old", 0)
	r.event(Event{Kind: EventDown})
	for n := range uint16(8) {
		r.send(sn12.Subscribe{MsgID: n + 1, TopicName: fmt.Appendf(nil, "t/%d", n)})
		r.send(sn12.Unsubscribe{MsgID: n + 101, TopicName: fmt.Appendf(nil, "u/%d", n)})
	}
	r.send(sn12.Unsubscribe{MsgID: 200, TopicName: []byte("old")})
	r.wantQuiet("one more than fits: but it ends a subscription")
	r.advance(20 * time.Second)
	for n := range uint16(8) {
		r.want("", sn12.SubAck{MsgID: n + 1, ReturnCode: sn12.RejectedCongestion})
		r.want("", sn12.UnsubAck{MsgID: n + 101})
	}
	r.want("", sn12.UnsubAck{MsgID: 200})
	for n := range uint16(100) { // the device goes on like that
		r.send(sn12.Unsubscribe{MsgID: 1000 + n, TopicName: fmt.Appendf(nil, "v/%d", n)})
		r.sent = nil
		r.send(sn12.Unsubscribe{MsgID: 2000 + n, TopicName: []byte("old")})
		r.sent = nil
		r.advance(20 * time.Second)
		r.sent = nil
	}
	if n := len(r.s.subs.asked); n > maxAsked+maxRemoving {
		t.Errorf("%d requests are kept", n)
	}
	r.event(Event{Kind: EventUp, SessionPresent: true})
	for n := range 8 {
		a := r.wantAction("the broker hears of it", Action{Kind: ActionUnsubscribe, Topic: fmt.Sprintf("u/%d", n)})
		_ = a
	}
	r.wantAction("and the subscription ends", Action{Kind: ActionUnsubscribe, Topic: "old"})
	if n := len(r.acts); n != askAtOnce-9 {
		t.Errorf("%d more at once", n)
	}
	r.acts = nil
}

func TestUnsubscribeThatIsConfirmedOutlivesTheConnection(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 600)
	r.subscribe("a/b", 1)
	r.event(Event{Kind: EventDown})
	r.send(sn12.Unsubscribe{MsgID: 1, TopicName: []byte("a/b")})
	r.advance(20 * time.Second)
	r.want("the broker is away", sn12.UnsubAck{MsgID: 1})
	r.send(sn12.Disconnect{})
	r.want("goodbye", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseClean})
	r.event(Event{Kind: EventClosed})
	r.send(connectMsg(false, false, 60))
	r.wantAction("", Action{Kind: ActionConnect, KeepAlive: 60})
	r.event(Event{Kind: EventConnected, SessionPresent: true})
	r.want("", sn12.ConnAck{})
	a := r.wantAction("the broker still has it", Action{Kind: ActionUnsubscribe, Topic: "a/b"})
	r.event(Event{Kind: EventUnsubscribed, Token: a.Token})
	r.wantQuiet("the device knows")
	r.send(connectMsg(true, false, 60))
	r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: 60})
	r.event(Event{Kind: EventConnected})
	r.want("", sn12.ConnAck{})
}

func TestMessageWaitsForASubAckThatTheBrokerIsAskedForAgain(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 600)
	a := r.subscribeVia(sn12.Subscribe{MsgID: 9, TopicName: []byte("c/d")}, "c/d")
	r.event(fromBroker("c/d", "y", 0, 0))
	r.event(Event{Kind: EventSubscribed, Token: a.Token, Failed: true})
	r.event(Event{Kind: EventDown})
	r.wantQuiet("SUBACK first")
	r.event(Event{Kind: EventUp})
	a = r.wantAction("again", Action{Kind: ActionSubscribe, Topic: "c/d"})
	r.event(Event{Kind: EventSubscribed, Token: a.Token})
	r.want("SUBACK", sn12.SubAck{TopicID: 1, MsgID: 9})
	r.want("then", pub(0, 1, 0, "y"))
}

func TestUnsubscribeBehindItsSubscribe(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 600)
	sub := r.subscribeVia(sn12.Subscribe{MsgID: 1, TopicName: []byte("a/b")}, "a/b")
	r.send(sn12.Unsubscribe{MsgID: 2, TopicName: []byte("a/b")})
	unsub := r.wantAction("", Action{Kind: ActionUnsubscribe, Topic: "a/b"})
	r.event(Event{Kind: EventSubscribed, Token: sub.Token})
	r.want("", sn12.SubAck{TopicID: 1, MsgID: 1})
	r.event(Event{Kind: EventUnsubscribed, Token: unsub.Token})
	r.want("", sn12.UnsubAck{MsgID: 2})
	r.event(Event{Kind: EventDown})
	r.event(Event{Kind: EventUp})
	r.wantQuiet("there is no subscription to repeat")
}

func TestUnsubscribeDoesNotOvertakeTheSubscribeBehindIt(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 600)
	r.send(sn12.Unsubscribe{MsgID: 1, TopicName: []byte("a/b")})
	unsub := r.wantAction("", Action{Kind: ActionUnsubscribe, Topic: "a/b"})
	sub := r.subscribeVia(sn12.Subscribe{MsgID: 2, TopicName: []byte("a/b")}, "a/b")
	r.event(Event{Kind: EventUnsubscribed, Token: unsub.Token, Failed: true, Congested: true})
	r.wantQuiet("the link had no room")
	r.event(Event{Kind: EventSubscribed, Token: sub.Token})
	r.want("moot now", sn12.UnsubAck{MsgID: 1})
	r.want("", sn12.SubAck{TopicID: 1, MsgID: 2})
	if r.s.subs.find("a/b") < 0 {
		t.Error("the later request does not hold")
	}
}

func TestRequestTheLinkHadNoRoomForIsMadeAgain(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 600)
	first := r.subscribeVia(sn12.Subscribe{MsgID: 1, TopicName: []byte("a")}, "a")
	second := r.subscribeVia(sn12.Subscribe{MsgID: 2, TopicName: []byte("b")}, "b")
	r.event(Event{Kind: EventSubscribed, Token: second.Token, Failed: true})
	r.event(Event{Kind: EventSubscribed, Token: first.Token})
	r.want("", sn12.SubAck{TopicID: 1, MsgID: 1})
	second = r.wantAction("there may be room now", Action{Kind: ActionSubscribe, Topic: "b"})
	r.event(Event{Kind: EventSubscribed, Token: second.Token})
	r.want("", sn12.SubAck{TopicID: 2, MsgID: 2})
}

func TestQoS0OfADeviceThatTakesItWaitsWithTheBroker(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessages = 4
	r, _ := subscriber(t, cfg, true, "#")
	paused, dropped := false, 0
	register := func(n int) sn12.Register {
		return sn12.Register{TopicID: uint16(n + 1), MsgID: uint16(n + 1), TopicName: fmt.Appendf(nil, "t/%d", n)}
	}
	for told := 0; told < 48; {
		for n := range 6 { // what a connection that is not read any more has on the way
			r.event(fromBroker(fmt.Sprintf("t/%d", told+n), "x", 0, 0))
			if n == 0 {
				r.want("in order", register(told))
			}
			dropped += len(r.drops)
			r.acts, paused = nil, paused || len(r.acts) > 0 && r.acts[0].Kind == ActionPause
		}
		for n := range 6 {
			r.advance(4 * time.Millisecond)
			id := uint16(told + 1)
			r.send(sn12.RegAck{TopicID: id, MsgID: id})
			r.want("in order", pub(0, id, 0, "x"))
			if told++; n < 5 {
				r.want("the next", register(told))
			}
			r.acts = nil
		}
	}
	if dropped > 0 || !paused {
		t.Errorf("%d are dropped, reading stopped: %v", dropped, paused)
	}
	r.wantHeld("all are delivered", 0, 0)
}

// fullOfQoS0 returns a device that has been sent a REGISTER, the first, and for which as
// much waits as may be held.
func fullOfQoS0(t *testing.T) (r *rig, first sn12.Register) {
	t.Helper()
	cfg := testConfig()
	cfg.MaxMessages = 4
	r, _ = subscriber(t, cfg, true, "#")
	first = sn12.Register{TopicID: 1, MsgID: 1, TopicName: []byte("t/0")}
	r.event(fromBroker("t/0", "x", 0, 0))
	r.want("first", first)
	for n := range 3 {
		r.event(fromBroker(fmt.Sprintf("t/%d", n+1), "x", 0, 0))
	}
	r.wantAction("full", Action{Kind: ActionPause})
	return r, first
}

func TestQoS0OfADeviceThatDoesNotAnswerIsNotWaitedFor(t *testing.T) {
	r, first := fullOfQoS0(t)
	for range 3 {
		r.event(fromBroker("late", "x", 0, 0))
		r.wantDrop("on its way already: bounded by the link")
		r.advance(10 * time.Second)
		r.want("again", first)
	}
	r.want("is it there at all?", sn12.PingReq{})
	r.wantDrop("it does not answer: oldest first", ReasonBufferFull, ReasonBufferFull, ReasonBufferFull)
	r.wantHeld("the bound", 4, len("t/0")+3*len("late")+4+4*messageOverhead)
	r.wantAction("and its connection is read", Action{Kind: ActionResume})
	r.event(fromBroker("late", "x", 0, 0))
	r.wantDrop("as ever", ReasonBufferFull)
}

func TestQoS0IsNotWaitedForByADeviceThatWaitsForTheBroker(t *testing.T) {
	r, first := fullOfQoS0(t)
	r.send(sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDShort, TopicID: 0x6162, MsgID: 1})
	r.wantAction("its PUBACK is behind the messages", Action{Kind: ActionPublish, Topic: "ab", QoS: 1})
	r.wantAction("twice as much", Action{Kind: ActionResume})
	for n := range 4 {
		r.event(fromBroker(fmt.Sprintf("t/%d", n), "x", 0, 0))
	}
	r.wantAction("full", Action{Kind: ActionPause})
	r.advance(10 * time.Second)
	r.want("it leaves REGISTER unanswered", first)
	r.wantAction("and does not know why it waits", Action{Kind: ActionResume})
}
