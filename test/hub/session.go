package hub

import (
	"fmt"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Bounds of a session.
const (
	maxUnacknowledged = 16
	maxQueued         = 1000
	maxFilters        = 1000
	maxReleases       = 1000
)

// session is what the hub keeps of a client (MQTT 3.1.1 section 3.1.2.4), under its lock.
type session struct {
	id       string
	clean    bool
	conn     *conn // nil: it is not connected
	filters  []subscription
	queue    []Message
	sent     []delivery
	lastID   uint16
	received map[uint16]bool // QoS 2 messages before PUBREL
}

type subscription struct {
	filter string
	qos    byte
}

// delivery is a message that its client has not acknowledged.
type delivery struct {
	id       uint16
	m        Message
	released bool // by PUBREL
}

// packet handles what comes after CONNECT.
func (c *conn) packet(p packets.ControlPacket) *Violation {
	h, s := c.h, c.session
	switch p := p.(type) {
	case *packets.PublishPacket:
		return c.publish(p)
	case *packets.SubscribePacket:
		return c.subscribe(p)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch p := p.(type) {
	case *packets.UnsubscribePacket:
		for _, filter := range p.Topics {
			s.forget(filter)
		}
		c.answer(packets.Unsuback, p.MessageID)
	case *packets.PubackPacket:
		s.settle(p.MessageID)
	case *packets.PubrecPacket:
		for i := range s.sent {
			s.sent[i].released = s.sent[i].released || s.sent[i].id == p.MessageID
		}
		c.answer(packets.Pubrel, p.MessageID)
	case *packets.PubcompPacket:
		s.settle(p.MessageID)
	case *packets.PubrelPacket:
		delete(s.received, p.MessageID)
		c.answer(packets.Pubcomp, p.MessageID)
	case *packets.PingreqPacket:
		c.send(packets.NewControlPacket(packets.Pingresp))
	case *packets.DisconnectPacket:
		c.left = true
	default:
		return &Violation{Rule: RuleProtocol, Detail: "a packet that no client sends: " + p.String()}
	}
	return nil
}

// answer sends a packet that has a packet identifier and nothing else.
func (c *conn) answer(kind byte, id uint16) {
	p := packets.NewControlPacket(kind)
	switch p := p.(type) {
	case *packets.PubackPacket:
		p.MessageID = id
	case *packets.PubrecPacket:
		p.MessageID = id
	case *packets.PubrelPacket:
		p.MessageID = id
	case *packets.PubcompPacket:
		p.MessageID = id
	case *packets.UnsubackPacket:
		p.MessageID = id
	}
	c.send(p)
}

// publish takes a message of the client.
func (c *conn) publish(p *packets.PublishPacket) *Violation {
	m := Message{c.clientID, p.TopicName, string(p.Payload), p.Qos, p.Retain}
	if v := c.checkMessage(&m); v != nil {
		return v
	}
	if p.Qos > 0 && p.MessageID == 0 {
		return &Violation{Rule: RuleProtocol, Detail: "a packet identifier of 0"}
	}
	if v := c.tooOften(); v != nil {
		return v
	}
	h, s := c.h, c.session
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.Qos < 2 || !s.received[p.MessageID] {
		h.take(m)
	}
	switch p.Qos {
	case 1:
		c.answer(packets.Puback, p.MessageID)
	case 2:
		if len(s.received) >= maxReleases {
			return &Violation{Rule: RuleProtocol, Detail: "too many messages of QoS 2 without PUBREL"}
		}
		s.received[p.MessageID] = true
		c.answer(packets.Pubrec, p.MessageID)
	}
	return nil
}

// tooOften counts a PUBLISH, and looks how many there were in the last second. Networks are
// unsteady, so a tenth is forgiven.
func (c *conn) tooOften() *Violation {
	rate := c.h.rules.PublishRate
	if rate == 0 {
		return nil
	}
	now := time.Now()
	if len(c.published) == rate {
		if between := now.Sub(c.published[0]); between < 900*time.Millisecond {
			return &Violation{Rule: RulePublishRate, Detail: fmt.Sprintf("%d in %v; want %d in a second", rate+1, between, rate)}
		}
		c.published = c.published[1:]
	}
	c.published = append(c.published, now)
	return nil
}

// subscribe takes the filters of a SUBSCRIBE.
func (c *conn) subscribe(p *packets.SubscribePacket) *Violation {
	h, r := c.h, &c.h.rules
	if r.MaxFilters > 0 && len(p.Topics) > r.MaxFilters {
		return &Violation{Rule: RuleFilters, Detail: fmt.Sprintf("%d; want at most %d", len(p.Topics), r.MaxFilters)}
	}
	for i, filter := range p.Topics {
		if v := h.checkTopic(c.who.device, filter, true); v != nil {
			return v
		}
		if p.Qoss[i] > r.MaxQoS {
			return &Violation{Rule: RuleQoS, Detail: fmt.Sprintf("SUBSCRIBE to %s with QoS %d", filter, p.Qoss[i])}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID = p.MessageID
	limit := maxFilters
	if r.MaxSubscriptions > 0 {
		limit = r.MaxSubscriptions
	}
	var added []subscription
	for i, filter := range p.Topics {
		c.session.forget(filter)
		if len(c.session.filters) >= limit {
			ack.ReturnCodes = append(ack.ReturnCodes, 0x80)
			continue
		}
		f := subscription{filter, p.Qoss[i]}
		c.session.filters = append(c.session.filters, f)
		added = append(added, f)
		ack.ReturnCodes = append(ack.ReturnCodes, f.qos)
	}
	c.send(ack)
	for _, f := range added {
		for _, m := range h.retained {
			if matches(f.filter, m.Topic) {
				m.QoS = min(m.QoS, f.qos)
				c.session.deliver(m)
			}
		}
	}
	return nil
}

func (s *session) forget(filter string) {
	for i := range s.filters {
		if s.filters[i].filter == filter {
			s.filters = append(s.filters[:i:i], s.filters[i+1:]...)
			return
		}
	}
}

// take takes a message that was published, with the lock.
func (h *Hub) take(m Message) {
	if len(h.messages) < maxMessages {
		h.messages = append(h.messages, m)
	}
	switch {
	case m.Retain && m.Payload == "":
		delete(h.retained, m.Topic)
	case m.Retain && len(h.retained) < maxMessages:
		h.retained[m.Topic] = m
	}
	m.Retain = false
	h.route(m)
}

// route gives a message to all who have subscribed to it, with the lock.
func (h *Hub) route(m Message) {
	for _, s := range h.sessions {
		granted, found := byte(0), false
		for _, f := range s.filters {
			if matches(f.filter, m.Topic) {
				granted, found = max(granted, f.qos), true
			}
		}
		if found {
			own := m
			own.QoS = min(m.QoS, granted)
			s.deliver(own)
		}
	}
}

// deliver sends a message, or keeps it until it can be sent.
func (s *session) deliver(m Message) {
	switch {
	case m.QoS == 0 && s.conn != nil:
		s.conn.send(packetOf(&delivery{m: m}, false))
	case m.QoS > 0 && len(s.queue) < maxQueued:
		s.queue = append(s.queue, m)
		s.pump()
	}
}

// pump sends what waits, as far as the client acknowledges it.
func (s *session) pump() {
	for s.conn != nil && len(s.queue) > 0 && len(s.sent) < maxUnacknowledged {
		s.lastID = max(s.lastID+1, 1)
		d := delivery{id: s.lastID, m: s.queue[0]}
		s.queue = s.queue[1:]
		s.sent = append(s.sent, d)
		s.conn.send(packetOf(&d, false))
	}
}

// again sends what was not acknowledged over the connection before (MQTT 3.1.1 section 4.4).
func (s *session) again() {
	for i := range s.sent {
		if d := &s.sent[i]; d.released {
			s.conn.answer(packets.Pubrel, d.id)
		} else {
			s.conn.send(packetOf(d, true))
		}
	}
	s.pump()
}

// settle ends the delivery of a message.
func (s *session) settle(id uint16) {
	for i := range s.sent {
		if s.sent[i].id == id {
			s.sent = append(s.sent[:i:i], s.sent[i+1:]...)
			break
		}
	}
	s.pump()
}

func packetOf(d *delivery, dup bool) packets.ControlPacket {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos, p.Retain, p.Dup = d.m.Topic, []byte(d.m.Payload), d.m.QoS, d.m.Retain, dup
	p.MessageID = d.id
	return p
}

// leave takes the connection from its session, with the lock.
func (h *Hub) leave(c *conn) {
	if c.session.conn != c {
		return
	}
	c.session.conn = nil
	if c.session.clean {
		delete(h.sessions, c.session.id)
	}
	if c.will != nil && !c.left {
		h.take(*c.will)
	}
}
