package session

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

func TestSleepPingReqRepeatedWhileAwakeIsAnsweredOnce(t *testing.T) {
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "x", 1, 1))
	r.wake()
	r.want("x", pub(1, id, 1, "x"))
	r.wake()
	r.wantQuiet("no second flush, no early PINGRESP")
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("x", 1)
	p := r.wantAction("barrier", Action{Kind: ActionPing})
	r.wake()
	r.wantQuiet("no second barrier")
	r.event(Event{Kind: EventPong, Token: p.Token})
	r.want("one PINGRESP", sn12.PingResp{})
	r.wake()
	r.pong("a new wake")
	r.want("it was lost: a new wake", sn12.PingResp{})
}

func TestSleepBarrierDeliversWhatTheAcksReleased(t *testing.T) {
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "1", 1, 1))
	r.wake()
	r.want("1", pub(1, id, 1, "1"))
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("1", 1)
	p := r.wantAction("barrier", Action{Kind: ActionPing})
	r.event(fromBroker("a/b", "2", 1, 2))
	r.want("released by the acknowledgement: in the same wake", pub(1, id, 2, "2"))
	r.event(Event{Kind: EventPong, Token: p.Token})
	r.wantQuiet("2 is on its way")
	r.send(sn12.PubAck{MsgID: 2})
	r.wantAck("2", 2)
	p = r.wantAction("a barrier for this acknowledgement", Action{Kind: ActionPing})
	r.event(Event{Kind: EventPong, Token: p.Token - 1})
	r.wantQuiet("the answer to an earlier one")
	r.event(fromBroker("a/b", "3", 0, 0))
	r.want("QoS 0 as well", pub(0, id, 0, "3"))
	r.event(Event{Kind: EventPong, Token: p.Token})
	r.want("nothing left", sn12.PingResp{})
}

func TestSleepBarrierRunsInBothOrders(t *testing.T) {
	// The acknowledgement comes while the first barrier is still out.
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "1", 1, 1))
	r.wake()
	r.want("1", pub(1, id, 1, "1"))
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("1", 1)
	p := r.wantAction("barrier", Action{Kind: ActionPing})
	r.event(fromBroker("a/b", "2", 1, 2))
	r.want("2", pub(1, id, 2, "2"))
	r.send(sn12.PubAck{MsgID: 2})
	r.wantAck("2", 2)
	r.wantQuiet("one barrier at a time")
	r.event(Event{Kind: EventPong, Token: p.Token})
	r.pong("it was sent before the second acknowledgement: another")
	r.want("PINGRESP", sn12.PingResp{})
}

func TestSleepBarrierIsGivenUp(t *testing.T) {
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "1", 2, 1))
	r.wake()
	r.want("1", pub(2, id, 1, "1"))
	r.send(sn12.PubRec{MsgID: 1})
	r.wantAck("1", 1)
	r.want("1", sn12.PubRel{MsgID: 1})
	r.send(sn12.PubComp{MsgID: 1})
	p := r.wantAction("barrier", Action{Kind: ActionPing})
	r.advance(5*time.Second - 1)
	r.wantQuiet("waiting for the broker")
	r.advance(1)
	r.want("the device is not kept awake for a slow broker", sn12.PingResp{})
	r.wantState("asleep", StateAsleep)
	r.event(Event{Kind: EventPong, Token: p.Token})
	r.wantQuiet("too late")
	r.wantState("asleep", StateAsleep)
	r.advance(90*time.Second - 1)
	r.wantQuiet("the sleep counts from the PINGRESP, not from the device's last word")
}

func TestSleepBarrierGivenUpDuringADelivery(t *testing.T) {
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "1", 1, 1))
	r.wake()
	r.want("1", pub(1, id, 1, "1"))
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("1", 1)
	r.wantAction("barrier", Action{Kind: ActionPing})
	r.event(fromBroker("a/b", "2", 1, 2))
	r.want("2", pub(1, id, 2, "2"))
	r.advance(5 * time.Second)
	r.wantQuiet("the delivery goes on")
	r.send(sn12.PubAck{MsgID: 2})
	r.wantAck("2", 2)
	r.want("no more barriers in this wake", sn12.PingResp{})
}

func TestSleepBarrierFails(t *testing.T) {
	for _, down := range []bool{true, false} {
		r, id := sleeper(t, nil, true)
		r.event(fromBroker("a/b", "1", 2, 1))
		r.wake()
		r.want("1", pub(2, id, 1, "1"))
		r.send(sn12.PubRec{MsgID: 1})
		r.wantAck("1", 1)
		r.want("1", sn12.PubRel{MsgID: 1})
		r.send(sn12.PubComp{MsgID: 1})
		p := r.wantAction("barrier", Action{Kind: ActionPing})
		if down {
			r.event(Event{Kind: EventDown})
			r.want("the broker is gone", sn12.PingResp{})
		}
		r.event(Event{Kind: EventPong, Token: p.Token, Failed: true})
		if !down {
			r.want("the broker is gone", sn12.PingResp{})
		}
		r.wantState("asleep", StateAsleep)
	}
}

func TestSleepWakeWhileTheBrokerIsAway(t *testing.T) {
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "1", 1, 1))
	r.event(Event{Kind: EventDown})
	r.wake()
	r.want("held messages need no broker", pub(1, id, 1, "1"))
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("the link keeps it", 1)
	r.want("no barrier without a broker", sn12.PingResp{})
}

func TestSleepWakeWithQoS0OnlyHasABarrierForWhatIsOnItsWay(t *testing.T) {
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "1", 0, 0))
	r.event(fromBroker("a/b", "2", 0, 0))
	r.wake()
	r.want("1", pub(0, id, 0, "1"))
	r.want("2", pub(0, id, 0, "2"))
	r.pong("the broker may have sent more")
	r.want("nothing was acknowledged", sn12.PingResp{})
}

func TestSleepWakeIsSupervised(t *testing.T) {
	r, id := sleeper(t, nil, true)
	r.event(fromBroker("a/b", "1", 1, 1))
	r.wake()
	r.want("1", pub(1, id, 1, "1"))
	r.advance(40 * time.Second)
	for range 3 {
		r.want("repeated", dup(pub(1, id, 1, "1")))
	}
	r.want("is it there at all?", sn12.PingReq{})
	r.want("lost", sn12.Disconnect{})
	r.wantAction("lost", Action{Kind: ActionCloseAbort})
	r.wantState("lost", StateLost)
}
