package session

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// The connection to the broker is replaced in the middle of a wake: the device is sent what is
// held, the barrier stays in force, and the wake ends with its answer.
func TestAWakeGoesOnThroughARenewal(t *testing.T) {
	r, id := sleeper(t, nil, false)
	r.event(fromBroker("a/b", "1", 1, 1))
	r.event(fromBroker("a/b", "2", 1, 2))
	r.wake()
	r.want("1", pub(1, id, 1, "1"))
	r.event(Event{Kind: EventRenewed, SessionPresent: true})
	r.wantQuiet("nothing is to be seen of it")
	r.send(sn12.PubAck{MsgID: 1})
	r.wantAck("1", 1)
	r.want("2", pub(1, id, 2, "2"))
	r.send(sn12.PubAck{MsgID: 2})
	r.wantAck("2", 2)
	p := r.wantAction("barrier", Action{Kind: ActionPing})
	r.event(Event{Kind: EventRenewed, SessionPresent: true})
	r.wantQuiet("it waits for the barrier as before")
	r.wantState("awake", StateAwake)
	r.event(Event{Kind: EventPong, Token: p.Token})
	r.want("the end of the wake", sn12.PingResp{})
	r.wantState("asleep", StateAsleep)
}

// A broker that has not kept the session is told of the subscriptions, and the wake goes on.
func TestARenewalWithoutTheSessionSubscribesAgain(t *testing.T) {
	r, _ := sleeper(t, nil, true)
	r.wake()
	p := r.wantAction("barrier", Action{Kind: ActionPing})
	r.event(Event{Kind: EventRenewed})
	r.wantAction("again", Action{Kind: ActionSubscribe, Topic: "a/b", QoS: 2})
	r.event(Event{Kind: EventPong, Token: p.Token})
	r.want("the end of the wake", sn12.PingResp{})
}

// The broker has the will from before the update: the gateway publishes the new one.
func TestAWillUpdatedDuringARenewalIsPublishedByTheGateway(t *testing.T) {
	for _, old := range []bool{false, true} {
		r := newRig(t, nil)
		r.connectWill(true, &Will{Topic: "w", Message: []byte("m"), QoS: 1})
		r.send(sn12.WillMsgUpd{Message: []byte("n")})
		r.want("", sn12.WillMsgResp{})
		r.wantAction("", Action{Kind: ActionSetWill, Will: &Will{Topic: "w", Message: []byte("n"), QoS: 1}})
		r.event(Event{Kind: EventRenewed, SessionPresent: true, OldWill: old})
		r.advance(90 * time.Second)
		r.want("lost", sn12.Disconnect{})
		if old {
			r.wantAction("", Action{Kind: ActionPublish, Topic: "w", Payload: []byte("n"), QoS: 1})
			r.wantAction("", Action{Kind: ActionCloseDrain})
		} else {
			r.wantAction("the broker has it", Action{Kind: ActionCloseAbort})
		}
	}
}

func TestARenewalThatTheSessionHasGivenUpMeanwhile(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	r.send(sn12.Disconnect{})
	r.want("", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseClean})
	r.event(Event{Kind: EventRenewed})
	r.wantQuiet("it is closed")
	r.event(Event{Kind: EventClosed})
}
