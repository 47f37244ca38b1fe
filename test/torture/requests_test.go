package torture

import (
	"fmt"
	"slices"
	"time"

	"sngate/snpacket/sn12"
)

const connecting = "CONNECT"

// connectsKept reports whether a CONNECT is under way that goes on with the session.
func (d *device) connectsKept() bool { return d.req != nil && d.req.what == connecting && !d.req.anew }

// connect sends CONNECT.
func (d *device) connect(clean bool) {
	anew := clean || d.clean
	if anew {
		d.beginAnew()
	}
	d.clean = clean
	d.state = off
	d.interrupt()
	d.untold = d.untold || d.dozes
	d.begin(&request{
		what: connecting, anew: anew,
		message: func(bool) sn12.Message {
			return sn12.Connect{CleanSession: clean, ProtocolID: sn12.ProtocolID, Duration: keepAlive, ClientID: []byte(d.id)}
		},
		answered: func(m sn12.Message) bool {
			ack, ok := m.(sn12.ConnAck)
			if !ok {
				return false
			}
			if ack.ReturnCode == sn12.Accepted {
				d.connected(anew)
			}
			return true
		},
	})
}

// letGo excuses what belongs to a session that ends.
func (d *device) letGo() {
	const why = "the device has begun a clean session"
	d.w.ledger.excuse(why, func(m *message) bool { return !m.up && m.dev == d })
	d.w.ledger.excuseDouble(why, func(m *message) bool { return !m.up && m.dev == d })
}

// beginAnew is the end of a session for the device.
func (d *device) beginAnew() {
	d.letGo()
	d.forget()
	d.unfinished = nil
	if d.req != nil {
		d.req.lasting = false
	}
}

func (d *device) connected(anew bool) {
	if anew {
		d.beginAnew()
		d.untold = d.dozes
	}
	d.state, d.dozes = active, false
	d.goOn()
}

// goOn goes on with what a goodbye, or sleep, has interrupted.
func (d *device) goOn() {
	if r := d.unfinished; r != nil {
		d.unfinished = nil
		r.sent = max(r.sent, 1) // DUP
		d.begin(r)
	}
}

// goodbye sends DISCONNECT.
func (d *device) goodbye() {
	d.interrupt()
	if d.clean {
		d.letGo()
		d.unfinished = nil
	}
	d.begin(&request{
		what:    "DISCONNECT",
		message: func(bool) sn12.Message { return sn12.Disconnect{} },
		answered: func(m sn12.Message) bool {
			if m.Type() != sn12.TypeDisconnect {
				return false
			}
			if d.state = off; d.clean {
				d.beginAnew()
			}
			return true
		},
	})
}

// sleep sends DISCONNECT with a duration.
func (d *device) sleep() {
	d.interrupt()
	d.begin(&request{
		what:    "sleep",
		message: func(bool) sn12.Message { return sn12.Disconnect{HasDuration: true, Duration: sleepDuration} },
		answered: func(m sn12.Message) bool {
			if m.Type() != sn12.TypeDisconnect {
				return false
			}
			d.state, d.since = asleep, time.Now()
			// It may be the answer to an earlier goodbye: then the gateway takes the device for active.
			d.misled = slices.ContainsFunc(d.up, func(b []byte) bool { return len(b) == 4 && b[1] == byte(sn12.TypeDisconnect) })
			return true
		},
	})
}

// ping sends PINGREQ; a sleeper wakes by it.
func (d *device) ping() {
	var id []byte
	if d.state == asleep {
		id = []byte(d.id)
		d.up, d.down = nil, nil // nothing lives that long in the air
		d.wake = d.beginWake()
	}
	d.begin(&request{
		what:    "PINGREQ",
		message: func(bool) sn12.Message { return sn12.PingReq{ClientID: id} },
		answered: func(m sn12.Message) bool {
			if m.Type() == sn12.TypePingResp {
				d.pongs++
				d.endWake()
				return true
			}
			return false
		},
	})
}

// beginWake takes down what has to be delivered before PINGRESP.
func (d *device) beginWake() *wake {
	k := &wake{owed: d.w.ledger.owing(d, false)}
	// PINGRESP does not say what it answers: it may be the end of an earlier wake, whose PINGREQ was repeated.
	unsure := d.misled || d.pings != d.pongs
	d.pings, d.pongs = 0, 0
	s := d.w.broker.session(d.id)
	k.disturbed = unsure || s == nil || s.conn == nil || s.conn.orphan || !s.conn.accepted || d.w.process.running == nil || len(s.waiting())+len(k.owed) > 5*d.w.profile.maxMessages
	return k
}

func (d *device) endWake() {
	k := d.wake
	d.wake = nil
	if k == nil || k.disturbed {
		return
	}
	if s := d.w.broker.session(d.id); s == nil || s.conn == nil || s.conn.ended() {
		return // the gateway has ended the connection, and the broker has not seen it yet
	}
	d.w.counts.wakes++
	for _, m := range k.owed {
		if m.owed() {
			d.w.ledger.offend("PINGRESP", "%s: it comes before %v", d.id, m)
			return
		}
	}
}

func (d *device) register(topic string) {
	msgID := d.newMsgID()
	d.asked[msgID] = topic
	d.begin(&request{
		what:    "REGISTER",
		message: func(bool) sn12.Message { return sn12.Register{MsgID: msgID, TopicName: []byte(topic)} },
		answered: func(m sn12.Message) bool {
			ack, ok := m.(sn12.RegAck)
			if !ok || ack.MsgID != msgID {
				return false
			}
			if ack.ReturnCode == sn12.Accepted {
				d.learn(ack.TopicID, topic, "REGACK")
			}
			return true
		},
	})
}

func (d *device) subscribe(filter string, qos byte) {
	msgID := d.newMsgID()
	d.asked[msgID] = filter
	d.begin(&request{
		what: "SUBSCRIBE",
		message: func(again bool) sn12.Message {
			return sn12.Subscribe{DUP: again, QoS: qos, MsgID: msgID, TopicName: []byte(filter)}
		},
		answered: func(m sn12.Message) bool {
			ack, ok := m.(sn12.SubAck)
			if !ok || ack.MsgID != msgID {
				return false
			}
			if ack.ReturnCode != sn12.Accepted {
				d.untold = true // another answer may have been lost
			} else {
				d.subscribed[filter] = true
				if ack.TopicID != 0 {
					d.learn(ack.TopicID, filter, "SUBACK")
				}
			}
			return true
		},
	})
}

func (d *device) unsubscribe(filter string) {
	msgID := d.newMsgID()
	delete(d.subscribed, filter)
	d.begin(&request{
		what:    "UNSUBSCRIBE",
		message: func(bool) sn12.Message { return sn12.Unsubscribe{MsgID: msgID, TopicName: []byte(filter)} },
		answered: func(m sn12.Message) bool {
			ack, ok := m.(sn12.UnsubAck)
			return ok && ack.MsgID == msgID
		},
	})
}

// publish publishes the next message to a topic, whose id the device has.
func (d *device) publish(topic string, qos byte, equal bool) {
	id := d.ids[topic]
	m := d.w.ledger.send(d.w.ledger.stream(true, topic, equal), d, qos)
	p := sn12.Publish{QoS: qos, TopicID: id, Data: []byte(m.payload)}
	if qos == 0 {
		d.send(p)
		return
	}
	p.MsgID = d.newMsgID()
	d.begin(&request{
		what: fmt.Sprintf("PUBLISH of %v", m), m: m, lasting: true,
		message: func(again bool) sn12.Message {
			p.DUP = again
			return p
		},
		answered: func(in sn12.Message) bool { return d.publishAnswered(p, m, in) },
	})
}

func (d *device) publishAnswered(p sn12.Publish, m *message, in sn12.Message) bool {
	switch in := in.(type) {
	case sn12.PubAck:
		if in.MsgID != p.MsgID || p.QoS == 2 && in.ReturnCode == sn12.Accepted {
			return false
		}
		if in.ReturnCode == sn12.RejectedInvalidTopicID {
			d.w.ledger.offend("topic id", "%s: the gateway has forgotten id %d of %q", d.id, p.TopicID, d.names[p.TopicID])
		}
		m.acked, m.refused = in.ReturnCode == sn12.Accepted, in.ReturnCode != sn12.Accepted
		return true
	case sn12.PubRec:
		if in.MsgID != p.MsgID || p.QoS != 2 {
			return false
		}
		m.acked = true
		d.release(p.MsgID)
		return true
	}
	return false
}

// release sends PUBREL.
func (d *device) release(msgID uint16) {
	d.begin(&request{
		what: "PUBREL", lasting: true,
		message: func(bool) sn12.Message { return sn12.PubRel{MsgID: msgID} },
		answered: func(m sn12.Message) bool {
			comp, ok := m.(sn12.PubComp)
			return ok && comp.MsgID == msgID
		},
	})
}
