package session

import (
	"testing"
	"time"

	"sngate/snpacket/sn12"
)

// kept returns a session of a device that has subscribed, registered and gone.
func kept(t *testing.T) (*rig, uint16) {
	t.Helper()
	r := newRig(t, nil)
	r.connectWill(false, &Will{Topic: "w", Message: []byte("m")})
	r.subscribe("s", 1)
	id := r.register("t")
	r.send(sn12.Disconnect{})
	r.want("confirmed", sn12.Disconnect{})
	r.wantAction("no will", Action{Kind: ActionCloseClean})
	r.event(Event{Kind: EventClosed})
	r.wantFreed("CleanSession=0", false)
	return r, id
}

func (r *rig) expire() {
	r.t.Helper()
	r.step("expire", func() { r.s.Expire(&r.out) })
}

func TestExpiredSessionEndsAtTheBrokerToo_Case156(t *testing.T) {
	for name, answer := range map[string]Event{
		"accepted": {Kind: EventConnected}, "refused": {Kind: EventRefused, Code: 5}, "no answer": {Kind: EventRefused},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := kept(t)
			r.expire()
			r.wantAction("a clean session, and no will", Action{Kind: ActionConnect, Clean: true, KeepAlive: expireKeepAlive})
			r.wantFreed("the broker has not answered", false)
			r.event(answer)
			if answer.Kind == EventConnected {
				r.wantAction("that was all", Action{Kind: ActionCloseClean})
				r.wantFreed("the connection is still open", false)
				r.event(Event{Kind: EventClosed})
			}
			r.wantFreed("over", true)
		})
	}
}

func TestConnectGoesBeforeExpiry_Case156(t *testing.T) {
	connect := sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")}
	opened := Action{Kind: ActionConnect, KeepAlive: 60}
	for name, when := range map[string][]Event{
		"before the broker has answered": nil,
		"while the connection closes":    {{Kind: EventConnected}},
	} {
		t.Run(name, func(t *testing.T) {
			r, id := kept(t)
			r.expire()
			r.wantAction("", Action{Kind: ActionConnect, Clean: true, KeepAlive: expireKeepAlive})
			for _, ev := range when {
				r.event(ev)
				r.wantAction("", Action{Kind: ActionCloseClean})
			}
			r.send(connect)
			r.wantAction("a session of its own", opened)
			if len(when) > 0 {
				r.event(Event{Kind: EventClosed})
			}
			r.event(Event{Kind: EventConnected})
			r.want("accepted", sn12.ConnAck{})
			r.wantFreed("in use", false)
			r.send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 7})
			r.want("what was kept is forgotten", sn12.PubAck{TopicID: id, MsgID: 7, ReturnCode: sn12.RejectedInvalidTopicID})
			r.expire()
			r.wantQuiet("it is connected")
		})
	}
}

func TestExpiryWaitsForTheEndOfTheConnection(t *testing.T) {
	r := newRig(t, nil)
	r.connect(false, 60)
	r.advance(90 * time.Second)
	r.want("lost", sn12.Disconnect{})
	r.wantAction("", Action{Kind: ActionCloseAbort})
	r.expire()
	r.wantQuiet("the connection is about to end")
	r.event(Event{Kind: EventClosed})
	r.wantFreed("over", true)
}
