package session

import (
	"testing"

	"sngate/snpacket/sn12"
)

// A device that has restarted numbers its messages from the start. One of them may get
// the MsgId of an exchange that it has forgotten, and be repeated with DUP.
func TestRepetitionByARestartedDeviceIsNotTakenForAnOldExchange_Case66(t *testing.T) {
	r, id := publisher(t, nil)
	tok := r.publish(sn12.Publish{QoS: 2, TopicID: id, MsgID: 1, Data: []byte("old")})
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("PUBREL never comes", sn12.PubRec{MsgID: 1})
	r.later()
	r.send(sn12.Connect{ProtocolID: 1, Duration: 60, ClientID: []byte("dev")})
	r.wantAction("restarted", Action{Kind: ActionSetWill})
	r.want("", sn12.ConnAck{})
	tok = r.publish(sn12.Publish{DUP: true, QoS: 2, TopicID: id, MsgID: 1, Data: []byte("new")})
	r.event(Event{Kind: EventPublished, Token: tok})
	r.want("the new message, whose first transmission was lost", sn12.PubRec{MsgID: 1})
}

// The CONNACK is lost, the device repeats CONNECT, and the network delivers that twice.
func TestLateDuplicateOfARepeatedConnectChangesNothing_Case25(t *testing.T) {
	r := newRig(t, nil)
	r.connect(true, 60)
	connect := sn12.Connect{CleanSession: true, ProtocolID: 1, Duration: 60, ClientID: []byte("dev")}
	r.advance(r.s.cfg.RetryInterval)
	r.send(connect)
	r.want("the CONNACK was lost", sn12.ConnAck{})
	id := r.register("a/b")
	r.advance(lateWindow / 2)
	r.send(connect)
	r.want("a duplicate: no new session", sn12.ConnAck{})
	r.publish(sn12.Publish{QoS: 1, TopicID: id, MsgID: 2, Data: []byte("x")})
}
