package torture

import (
	"fmt"
	"slices"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream/upstreamtest"
)

// brokerSession is what the broker knows of one client.
type brokerSession struct {
	b      *broker
	id     string
	dev    *device // nil: the gateway's own
	clean  bool
	conn   *brokerConn // nil: offline
	subs   []subscription
	queue  []*message
	window []delivery // in flight, in order
	lastID uint16
	// received are QoS 2 exchanges between PUBLISH and PUBREL. What is in them has not been passed on
	// in a broker that does so at PUBREL.
	received map[uint16]*inbound

	fresh bool // it began, or the broker said so, since the gateway has started
	young bool // that gateway has died: it may not have noted that the session is new
}

type subscription struct {
	filter string
	qos    byte
}

// delivery is a message in flight to the client.
type delivery struct {
	id       uint16
	m        *message
	released bool // PUBREC has come
}

// inbound is a QoS 2 message from the client.
type inbound struct {
	topic, payload string
	passed         bool // on
	told           bool // PUBREC was written to some connection
}

func (b *broker) session(id string) *brokerSession {
	for _, s := range b.sessions {
		if s.id == id {
			return s
		}
	}
	return nil
}

// connect takes a CONNECT.
func (c *brokerConn) connect(p *packets.ConnectPacket) {
	b := c.b
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	if ack.ReturnCode = b.ill; b.ill != 0 {
		c.queue(ack, func() { c.end() })
		return
	}
	s := b.session(p.ClientIdentifier)
	if s != nil && s.conn != nil {
		s.conn.note("mqtt %d: taken over", s.conn.number)
		s.conn.end()
		s = b.session(p.ClientIdentifier)
	}
	if s != nil && p.CleanSession {
		s.giveUp("its client has begun a clean session")
		s = nil
	}
	if s == nil {
		s = &brokerSession{b: b, id: p.ClientIdentifier, dev: b.w.device(p.ClientIdentifier), received: make(map[uint16]*inbound), fresh: !c.orphan, young: c.orphan}
		b.sessions = append(b.sessions, s)
		ack.SessionPresent = false
	} else {
		ack.SessionPresent = true
		if b.w.lies() {
			b.w.note(c.who(), "broker: lies about Session Present")
			s.forgetReceived("the broker has said that it has no session")
			ack.SessionPresent, s.fresh, s.young = false, !c.orphan, s.young || c.orphan
		}
	}
	s.clean, s.conn, c.s = p.CleanSession, c, s
	c.queue(ack, func() { c.accepted = true })
	s.resend()
}

// giveUp ends the session; its queue goes with it.
func (s *brokerSession) giveUp(why string) {
	s.b.sessions = slices.DeleteFunc(s.b.sessions, func(other *brokerSession) bool { return other == s })
	s.note("the session of the broker ends: %s", why)
	s.forgetReceived(why)
	for _, m := range s.waiting() {
		if m.mayLack == "" {
			m.mayLack = why
		}
	}
}

// forgetReceived forgets what came from the client; it may come again, and what a dying gateway has not noticed to
// be lost does not.
func (s *brokerSession) forgetReceived(why string) {
	for _, in := range s.received {
		if !in.passed {
			s.b.w.ledger.excuse(why, func(m *message) bool { return m.up && m.dev == s.dev && m.topic == in.topic && m.payload == in.payload })
		}
	}
	clear(s.received)
	s.b.w.ledger.excuseDouble(why, func(m *message) bool { return m.dev == s.dev && (m.arrivals > 0 || !m.up) })
}

func (s *brokerSession) note(format string, args ...any) {
	who := "own"
	if s.dev != nil {
		who = s.dev.id
	}
	s.b.w.note(who, format, args...)
}

// waiting returns the messages that the client has not acknowledged.
func (s *brokerSession) waiting() (list []*message) {
	for _, d := range s.window {
		if !d.released {
			list = append(list, d.m)
		}
	}
	return append(list, s.queue...)
}

// resend repeats what was in flight, in order.
func (s *brokerSession) resend() {
	for _, d := range s.window {
		if d.released {
			s.conn.sendPubrel(d.id)
		} else {
			s.conn.sendPublish(d, true)
		}
	}
	s.pump()
}

// pump moves messages from the queue into the window.
func (s *brokerSession) pump() {
	for s.conn != nil && len(s.queue) > 0 && len(s.window) < s.b.w.profile.window {
		d := delivery{id: s.newID(), m: s.queue[0]}
		s.queue = s.queue[1:]
		s.window = append(s.window, d)
		s.conn.sendPublish(d, false)
	}
}

// newID returns an identifier that is free: the lowest, or the next.
func (s *brokerSession) newID() uint16 {
	id := s.lastID
	if s.b.w.profile.lowestID {
		id = 0
	}
	for {
		if id++; id != 0 && s.find(id) < 0 {
			s.lastID = id
			return id
		}
	}
}

func (s *brokerSession) find(id uint16) int {
	return slices.IndexFunc(s.window, func(d delivery) bool { return d.id == id })
}

func (s *brokerSession) granted(topic string) (qos byte, ok bool) {
	for _, sub := range s.subs {
		if upstreamtest.Match(sub.filter, topic) {
			qos, ok = max(qos, sub.qos), true
		}
	}
	return qos, ok
}

// publish sends a message to a device that has subscribed to it.
func (b *broker) publish(d *device, topic string, qos byte, equal bool) {
	s := b.session(d.id)
	if s == nil {
		return
	}
	granted, ok := s.granted(topic)
	if !ok {
		return
	}
	if qos = min(qos, granted); qos == 0 && s.conn == nil {
		return
	}
	m := b.w.ledger.send(b.w.ledger.stream(false, topic, equal), d, qos)
	m.acked = true
	s.note("broker: publishes %v", m)
	if qos == 0 {
		s.conn.sendPublish(delivery{m: m}, false)
		return
	}
	s.queue = append(s.queue, m)
	s.pump()
}

func (c *brokerConn) sendPublish(d delivery, dup bool) {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.MessageID, p.TopicName, p.Payload, p.Qos, p.Dup = d.id, d.m.topic, []byte(d.m.payload), d.m.qos, dup
	c.queue(p, func() {
		if d.m.qos > 0 {
			c.rules.published(d.id, d.m.qos)
		}
	})
}

func (c *brokerConn) sendPubrel(id uint16) {
	p := packets.NewControlPacket(packets.Pubrel).(*packets.PubrelPacket)
	p.MessageID = id
	c.queue(p, func() { c.rules.released(id) })
}

func describePacket(p packets.ControlPacket) string {
	switch p := p.(type) {
	case *packets.PublishPacket:
		return fmt.Sprintf("PUBLISH id %d QoS %d DUP %v %s %q", p.MessageID, p.Qos, p.Dup, p.TopicName, p.Payload)
	case *packets.ConnectPacket:
		return fmt.Sprintf("CONNECT %s CleanSession %v", p.ClientIdentifier, p.CleanSession)
	case *packets.ConnackPacket:
		return fmt.Sprintf("CONNACK code %d SessionPresent %v", p.ReturnCode, p.SessionPresent)
	case *packets.SubscribePacket:
		return fmt.Sprintf("SUBSCRIBE id %d %q QoS %d", p.MessageID, p.Topics, p.Qoss)
	}
	return fmt.Sprintf("%T id %d", p, p.Details().MessageID)
}
