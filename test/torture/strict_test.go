package torture

import (
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// strict are the rules of MQTT 3.1.1 that a client has to keep on one connection (sections 2.3.1, 3.3.1.1, 4.3,
// 4.4 and 4.6).
type strict struct {
	c *brokerConn
	// unanswered are packet identifiers of the client's that were not answered on this connection, by what
	// they were used for.
	unanswered map[uint16]byte
	expected   []exchange // what the client has to acknowledge, in the order of sending
}

// exchange is a message sent on this connection and not acknowledged.
type exchange struct {
	id       uint16
	qos      byte
	released bool // PUBREL was written
}

func (r *strict) offend(kind, format string, args ...any) {
	r.c.b.w.ledger.offend("mqtt "+kind, r.c.who()+": "+format, args...)
}

func (r *strict) published(id uint16, qos byte) {
	r.expected = append(r.expected, exchange{id: id, qos: qos})
}

func (r *strict) released(id uint16) {
	for i := range r.expected {
		if r.expected[i].id == id {
			r.expected[i].released = true
			return
		}
	}
	r.expected = append(r.expected, exchange{id: id, qos: 2, released: true})
}

// used takes an identifier into use.
func (r *strict) used(id uint16, kind byte) {
	if id == 0 {
		r.offend("id", "packet identifier 0")
	}
	if by, busy := r.unanswered[id]; busy {
		r.offend("id", "packet identifier %d is in use, by %s, and used for %s", id, packets.PacketNames[by], packets.PacketNames[kind])
	}
	if r.unanswered == nil {
		r.unanswered = make(map[uint16]byte)
	}
	r.unanswered[id] = kind
}

// acked checks PUBACK, PUBREC and PUBCOMP of the client: each answers what was sent on this connection, PUBACK
// and PUBREC in the order of sending.
func (r *strict) acked(kind byte, id uint16) bool {
	for i, e := range r.expected {
		if e.id != id {
			if kind == packets.Puback && e.qos == 1 || kind == packets.Pubrec && e.qos == 2 && !e.released {
				if !r.pubrecSent(e) {
					r.offend("order of acknowledgements", "%s of %d comes before that of %d, which was sent before", packets.PacketNames[kind], id, e.id)
				}
			}
			continue
		}
		switch {
		case kind == packets.Puback && e.qos == 1, kind == packets.Pubcomp && e.released:
			r.expected = append(r.expected[:i:i], r.expected[i+1:]...)
			return true
		case kind == packets.Pubrec && e.qos == 2:
			return true
		}
		r.offend("acknowledgement", "%s of %d answers a message of QoS %d, PUBREL sent: %v", packets.PacketNames[kind], id, e.qos, e.released)
		return false
	}
	r.offend("acknowledgement of what was not sent", "%s of %d answers nothing that was sent on this connection", packets.PacketNames[kind], id)
	return false
}

// pubrecSent reports whether the client has sent PUBREC for e.
func (r *strict) pubrecSent(e exchange) bool {
	i := r.c.s.find(e.id)
	return e.qos == 2 && i >= 0 && r.c.s.window[i].released
}

// take serves one packet of the client.
func (c *brokerConn) take(p packets.ControlPacket) {
	connect, isConnect := p.(*packets.ConnectPacket)
	if isConnect != (c.s == nil) {
		c.b.w.ledger.offend("mqtt", "%s: %s, connected: %v", c.who(), describePacket(p), c.s != nil)
		c.end()
		return
	}
	c.note("mqtt %d: > %s", c.number, describePacket(p))
	if isConnect {
		c.connect(connect)
		return
	}
	switch p := p.(type) {
	case *packets.PublishPacket:
		c.published(p)
	case *packets.PubackPacket:
		if c.rules.acked(packets.Puback, p.MessageID) {
			c.finish(p.MessageID)
		}
	case *packets.PubrecPacket:
		if c.rules.acked(packets.Pubrec, p.MessageID) {
			c.received(p.MessageID)
		}
	case *packets.PubcompPacket:
		if c.rules.acked(packets.Pubcomp, p.MessageID) {
			c.finish(p.MessageID)
		}
	case *packets.PubrelPacket:
		c.release(p.MessageID)
	case *packets.SubscribePacket:
		c.subscribe(p)
	case *packets.UnsubscribePacket:
		c.unsubscribe(p)
	case *packets.PingreqPacket:
		c.queue(packets.NewControlPacket(packets.Pingresp), nil)
	case *packets.DisconnectPacket:
		c.end()
	default:
		c.rules.offend("packet", "%s", describePacket(p))
	}
}

// finish ends a delivery: its identifier is free at once.
func (c *brokerConn) finish(id uint16) {
	if i := c.s.find(id); i >= 0 {
		c.s.window = append(c.s.window[:i:i], c.s.window[i+1:]...)
	}
	c.s.pump()
}

func (c *brokerConn) received(id uint16) {
	if i := c.s.find(id); i >= 0 {
		c.s.window[i].released = true
	}
	c.sendPubrel(id)
}

// published takes a PUBLISH of the client.
func (c *brokerConn) published(p *packets.PublishPacket) {
	topic, payload := p.TopicName, string(p.Payload)
	if c.s.dev == nil {
		c.rules.offend("own", "the gateway's own connection publishes %q", topic)
		return
	}
	if p.Qos == 0 {
		if p.Dup || p.MessageID != 0 {
			c.rules.offend("DUP", "QoS 0 with DUP or identifier %d", p.MessageID)
		}
		c.pass(topic, 0, payload)
		return
	}
	c.rules.used(p.MessageID, packets.Publish)
	answered := func() { delete(c.rules.unanswered, p.MessageID) }
	if p.Qos == 1 {
		c.pass(topic, 1, payload)
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = p.MessageID
		c.queue(ack, answered)
		return
	}
	in := c.s.received[p.MessageID]
	switch {
	case in == nil:
		in = &inbound{topic: topic, payload: payload}
		c.s.received[p.MessageID] = in
		if !c.b.w.profile.atPubrel {
			in.passed = true
			c.pass(topic, 2, payload)
		}
	case !p.Dup:
		c.rules.offend("DUP", "QoS 2 identifier %d of %q is used again without DUP for %q", p.MessageID, in.payload, payload)
	case in.topic != topic || in.payload != payload:
		c.rules.offend("id", "QoS 2 identifier %d of %q is in use, and used for %q", p.MessageID, in.payload, payload)
	case in.told:
		// Its PUBREC may have been lost with a connection.
	}
	rec := packets.NewControlPacket(packets.Pubrec).(*packets.PubrecPacket)
	rec.MessageID = p.MessageID
	c.queue(rec, func() { in.told = true })
}

func (c *brokerConn) pass(topic string, qos byte, payload string) {
	c.b.w.ledger.arrived(true, c.s.dev, topic, qos, payload)
}

// release takes PUBREL. The client must have had PUBREC.
func (c *brokerConn) release(id uint16) {
	if in := c.s.received[id]; in != nil {
		if !in.told && !c.s.young {
			c.rules.offend("PUBREL", "PUBREL of %d (%q) comes before its PUBREC", id, in.payload)
		}
		if !in.passed {
			c.pass(in.topic, 2, in.payload)
		}
		delete(c.s.received, id)
	} else if c.s.young {
		c.b.w.ledger.excuseLate("the gateway has died before it could note that the session is new", c.s.dev)
	}
	comp := packets.NewControlPacket(packets.Pubcomp).(*packets.PubcompPacket)
	comp.MessageID = id
	c.queue(comp, func() { delete(c.rules.unanswered, id) })
}

func (c *brokerConn) subscribe(p *packets.SubscribePacket) {
	c.rules.used(p.MessageID, packets.Subscribe)
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID = p.MessageID
	for i, filter := range p.Topics {
		c.s.drop(filter)
		c.s.subs = append(c.s.subs, subscription{filter, p.Qoss[i]})
		ack.ReturnCodes = append(ack.ReturnCodes, p.Qoss[i])
	}
	c.queue(ack, func() { delete(c.rules.unanswered, p.MessageID) })
}

func (c *brokerConn) unsubscribe(p *packets.UnsubscribePacket) {
	c.rules.used(p.MessageID, packets.Unsubscribe)
	for _, filter := range p.Topics {
		c.s.drop(filter)
	}
	ack := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
	ack.MessageID = p.MessageID
	c.queue(ack, func() { delete(c.rules.unanswered, p.MessageID) })
}

func (s *brokerSession) drop(filter string) {
	kept := s.subs[:0]
	for _, sub := range s.subs {
		if sub.filter != filter {
			kept = append(kept, sub)
		}
	}
	s.subs = kept
}
