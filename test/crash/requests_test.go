package crash

import (
	"fmt"
	"time"

	"sngate/snpacket/sn12"
)

// register returns the topic id of a name. At the end of the run it may be 0.
func (d *device) register(name string) uint16 {
	msgID := d.newMsgID()
	var ack sn12.RegAck
	for d.running() {
		answered := d.exchange(func(bool) sn12.Message {
			return sn12.Register{MsgID: msgID, TopicName: []byte(name)}
		}, func(m sn12.Message) (ok bool) {
			got, ok := m.(sn12.RegAck)
			if ok = ok && got.MsgID == msgID; ok {
				ack = got
			}
			return ok
		})
		if answered && ack.ReturnCode == sn12.Accepted {
			d.learn(ack.TopicID, name, "REGACK")
			d.w.ledger.count(func(c *counts) { c.registers++ })
			return ack.TopicID
		}
		if answered {
			d.refusedWith(fmt.Sprintf("REGISTER of %q", name), ack.ReturnCode)
			msgID = d.newMsgID()
		}
	}
	return 0
}

// subscribe subscribes with QoS 2.
func (d *device) subscribe(filter string) {
	msgID := d.newMsgID()
	var ack sn12.SubAck
	for d.running() {
		answered := d.exchange(func(again bool) sn12.Message {
			return sn12.Subscribe{DUP: again, QoS: 2, MsgID: msgID, TopicName: []byte(filter)}
		}, func(m sn12.Message) (ok bool) {
			got, ok := m.(sn12.SubAck)
			if ok = ok && got.MsgID == msgID; ok {
				ack = got
			}
			return ok
		})
		if answered && ack.ReturnCode == sn12.Accepted && ack.QoS == 2 {
			if ack.TopicID != 0 {
				d.learn(ack.TopicID, filter, "SUBACK")
			}
			d.w.ledger.count(func(c *counts) { c.subscribes++ })
			return
		}
		if answered {
			d.refusedWith(fmt.Sprintf("SUBSCRIBE to %q, granted QoS %d,", filter, ack.QoS), ack.ReturnCode)
			msgID = d.newMsgID()
		}
	}
}

func (d *device) unsubscribe(filter string) {
	msgID := d.newMsgID()
	d.exchange(func(bool) sn12.Message {
		return sn12.Unsubscribe{MsgID: msgID, TopicName: []byte(filter)}
	}, func(m sn12.Message) bool {
		ack, ok := m.(sn12.UnsubAck)
		return ok && ack.MsgID == msgID
	})
}

// publish publishes the next message of a stream, with its old topic id if it has one, and
// waits until the gateway has answered.
func (d *device) publish(s *stream, qos uint8) {
	id, ok := d.ids[s.topic]
	if !ok {
		id = d.register(s.topic)
	}
	if !d.running() {
		return
	}
	m, payload := d.w.ledger.send(s, qos)
	p := sn12.Publish{QoS: qos, TopicID: id, Data: payload}
	if qos == 0 {
		d.send(p)
		return
	}
	p.MsgID = d.newMsgID()
	var answer sn12.Message
	left := d.sendAndLeave(p)
	if !d.exchange(func(again bool) sn12.Message {
		p.DUP = again || left
		return p
	}, func(m sn12.Message) bool {
		answer = m
		return isAnswer(p, m)
	}) {
		return
	}
	if ack, ok := answer.(sn12.PubAck); ok && ack.ReturnCode != sn12.Accepted {
		d.w.ledger.refused(m)
		if ack.ReturnCode == sn12.RejectedInvalidTopicID {
			d.forget(p.TopicID)
		} else {
			d.refusedWith("PUBLISH", ack.ReturnCode)
		}
		return
	}
	d.w.ledger.acked(m)
	if qos == 2 {
		if !d.sendAndLeave(sn12.PubRel{MsgID: p.MsgID}) && d.leaves(leaveBusy) {
			d.leave()
		}
		d.exchange(func(bool) sn12.Message { return sn12.PubRel{MsgID: p.MsgID} }, func(m sn12.Message) bool {
			comp, ok := m.(sn12.PubComp)
			return ok && comp.MsgID == p.MsgID
		})
	}
}

// isAnswer reports whether m answers the PUBLISH p: with its acknowledgement, or by a refusal.
func isAnswer(p sn12.Publish, m sn12.Message) bool {
	switch m := m.(type) {
	case sn12.PubAck:
		return m.MsgID == p.MsgID && (p.QoS == 1 || m.ReturnCode != sn12.Accepted)
	case sn12.PubRec:
		return m.MsgID == p.MsgID && p.QoS == 2
	}
	return false
}

// ping finds out whether the gateway still knows the device.
func (d *device) ping() {
	d.exchange(func(bool) sn12.Message { return sn12.PingReq{} }, func(m sn12.Message) bool { return m.Type() == sn12.TypePingResp })
}

// drowse is sleeping with the radio off: what comes is lost.
func (d *device) drowse(length time.Duration) {
	for until := time.Now().Add(length); d.running() && time.Now().Before(until); {
		if d.read(until) != nil {
			d.w.ledger.count(func(c *counts) { c.asleep++ })
		}
	}
}

// sleepy tells the gateway that the device goes to sleep. If it had to do so twice, the second
// answer comes to a radio that is off, and is not taken for the end of the session.
func (d *device) sleepy() {
	d.exchange(func(bool) sn12.Message {
		return sn12.Disconnect{HasDuration: true, Duration: sleepDuration}
	}, func(m sn12.Message) bool {
		_, ok := m.(sn12.Disconnect)
		return ok
	})
	d.asleep = true
	d.drowse(retryMax)
}

// wake collects the messages that wait for a sleeping device. A gateway that answers with
// DISCONNECT has forgotten it.
func (d *device) wake() {
	d.w.ledger.count(func(c *counts) { c.wakes++ })
	for d.running() {
		forgotten := false
		d.exchange(func(bool) sn12.Message {
			return sn12.PingReq{ClientID: []byte(d.id)}
		}, func(m sn12.Message) bool {
			_, forgotten = m.(sn12.Disconnect)
			return forgotten || m.Type() == sn12.TypePingResp
		})
		if !forgotten {
			return
		}
		d.disconnected()
		d.connect()
		d.sleepy()
	}
}
