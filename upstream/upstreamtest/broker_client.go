package upstreamtest

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	typePuback  = packets.Puback
	typePubrec  = packets.Pubrec
	typePubrel  = packets.Pubrel
	typePubcomp = packets.Pubcomp
)

// client is one connection to a Broker: a goroutine reads it, another writes it. The
// fields are guarded by the lock of the broker.
type client struct {
	b      *Broker
	conn   *Conn
	s      *session // nil before CONNECT
	will   *Message
	unsent bytes.Buffer
	wake   chan struct{}
	ended  bool

	farewell []byte            // written last, see Habits.Goodbye
	recent   []time.Time       // of the PUBLISHes of the last second, see Habits.PublishRate
	delayed  map[byte][][]byte // answers by type, see Habits.Delay
}

func cut(s string) (head, rest string, more bool) { return strings.Cut(s, "/") }

// read serves what the client sends.
func (c *client) read() {
	var keepAlive time.Duration
	for {
		if keepAlive > 0 {
			c.conn.SetReadDeadline(time.Now().Add(keepAlive))
		}
		p, err := packets.ReadPacket(c.conn)
		c.b.mu.Lock()
		if err != nil || c.ended || !c.serve(p) {
			c.end()
			c.b.mu.Unlock()
			return
		}
		if connect, ok := p.(*packets.ConnectPacket); ok && c.b.KeepAlive {
			keepAlive = time.Duration(connect.Keepalive) * time.Second * 3 / 2
		}
		c.b.mu.Unlock()
	}
}

// goodbyeTimeout bounds how long the last words wait for a client that does not read.
const goodbyeTimeout = time.Second

// write sends what the others have queued, and closes the connection when all is said.
func (c *client) write() {
	defer c.conn.Close()
	for range c.wake {
		c.b.mu.Lock()
		out := slices.Clone(c.unsent.Bytes())
		c.unsent.Reset()
		c.b.mu.Unlock()
		if _, err := c.conn.Write(out); err != nil {
			c.conn.Close()
		}
	}
}

// end closes the connection, publishes the will if there is one left, and gives up a
// clean session.
func (c *client) end() {
	if c.ended {
		return
	}
	if len(c.farewell) > 0 {
		c.unsent.Write(c.farewell)
		c.conn.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
		c.signal()
	} else {
		c.conn.Close()
	}
	c.ended = true
	delete(c.b.open, c)
	close(c.wake)
	if c.s != nil && c.s.client == c {
		c.s.client = nil
		if c.s.clean {
			c.b.drop(func(s *session) bool { return s == c.s })
		}
	}
	if c.will != nil {
		if c.b.Will != nil {
			c.b.Will(c.s.id, *c.will)
		}
		c.b.route(*c.will)
	}
}

// serve handles one packet; false ends the connection.
func (c *client) serve(p packets.ControlPacket) bool {
	connect, first := p.(*packets.ConnectPacket)
	if first != (c.s == nil) || c.breaks(p) || !c.keepsTo(p) {
		return false
	}
	if first {
		return c.connect(connect)
	}
	if c.ignored(p) {
		return true
	}
	s := c.s
	switch p := p.(type) {
	case *packets.PublishPacket:
		return c.published(p)
	case *packets.PubackPacket:
		s.done(p.MessageID)
	case *packets.PubrecPacket:
		if i := s.find(p.MessageID); i >= 0 {
			s.inflight[i].released = true
		}
		c.ack(typePubrel, p.MessageID)
	case *packets.PubcompPacket:
		s.done(p.MessageID)
	case *packets.PubrelPacket:
		delete(s.received, p.MessageID)
		c.ack(typePubcomp, p.MessageID)
	case *packets.SubscribePacket:
		return c.subscribe(p)
	case *packets.UnsubscribePacket:
		for _, filter := range p.Topics {
			s.subs = slices.DeleteFunc(s.subs, func(sub subscription) bool { return sub.filter == filter })
		}
		ack := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
		ack.MessageID = p.MessageID
		c.answer(packets.Unsuback, encode(ack))
	case *packets.PingreqPacket:
		c.answer(packets.Pingresp, encode(packets.NewControlPacket(packets.Pingresp)))
	case *packets.DisconnectPacket:
		c.will = nil
		return false
	default:
		return false
	}
	return true
}

// connect opens the session (MQTT 3.1.1 section 3.1.4).
func (c *client) connect(p *packets.ConnectPacket) bool {
	h := &c.b.habits
	if h.HangUp != nil && h.HangUp(p.ClientIdentifier) {
		return false
	}
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	ack.ReturnCode = p.Validate()
	if ack.ReturnCode == 0 && h.RefuseID != nil {
		ack.ReturnCode = h.RefuseID(p.ClientIdentifier)
	}
	if ack.ReturnCode == 0 && c.b.Refuse != nil {
		ack.ReturnCode = c.b.Refuse(p.ClientIdentifier, p.Username, p.Password)
	}
	if ack.ReturnCode != 0 {
		_ = ack.Write(c.conn) // the first bytes of a connection: they do not block
		return false
	}
	c.b.connects++
	s := c.b.session(p.ClientIdentifier)
	if s != nil && s.client != nil {
		c.b.takeovers++
		if h.NoWillAtTakeover {
			s.client.will = nil
		}
		s.client.leave() // may have removed s
		s = c.b.session(p.ClientIdentifier)
	}
	if s != nil && p.CleanSession {
		c.b.drop(func(old *session) bool { return old == s })
		s = nil
	}
	ack.SessionPresent = s != nil
	if h.Present != nil {
		ack.SessionPresent = h.Present(p.ClientIdentifier, ack.SessionPresent)
	}
	if s == nil {
		s = &session{id: p.ClientIdentifier, received: make(map[uint16]struct{})}
		c.b.sessions = append(c.b.sessions, s)
	}
	s.clean, s.client, c.s = p.CleanSession, c, s
	if p.WillFlag {
		c.will = &Message{Topic: p.WillTopic, Payload: p.WillMessage, QoS: p.WillQos, Retain: p.WillRetain}
	}
	c.answer(packets.Connack, encode(ack))
	s.resume()
	return true
}

// published takes a message from the client. A QoS 2 message is passed on when it
// comes first; its identifier is remembered until PUBREL.
func (c *client) published(p *packets.PublishPacket) bool {
	if p.TopicName == "" || strings.ContainsAny(p.TopicName, "+#") || p.Qos > 2 {
		return false
	}
	m := Message{Topic: p.TopicName, Payload: p.Payload, QoS: p.Qos, Retain: p.Retain}
	if c.denied(m) {
		return false
	}
	again := false
	switch {
	case m.QoS == 1, m.QoS == 2 && c.b.habits.QoS2WithPuback:
		m.QoS = 1
		c.ack(typePuback, p.MessageID)
	case m.QoS == 2:
		_, again = c.s.received[p.MessageID]
		c.s.received[p.MessageID] = struct{}{}
		c.ack(typePubrec, p.MessageID)
	}
	if again {
		return true
	}
	if c.b.Observe != nil {
		c.b.Observe(c.s.id, m)
	}
	c.b.route(m)
	return true
}

// subscribe adds to the subscriptions and sends what is retained for them.
func (c *client) subscribe(p *packets.SubscribePacket) bool {
	h := &c.b.habits
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID = p.MessageID
	for i, filter := range p.Topics {
		if h.DenyFilter != nil && h.DenyFilter(c.s.id, filter) {
			return false
		}
		code := min(p.Qoss[i], 2)
		if h.Suback != nil {
			code = h.Suback(c.s.id, filter, code)
		}
		ack.ReturnCodes = append(ack.ReturnCodes, code)
		if code < refused {
			c.s.subs = slices.DeleteFunc(c.s.subs, func(old subscription) bool { return old.filter == filter })
			c.s.subs = append(c.s.subs, subscription{filter, code})
		}
	}
	if !h.RetainedFirst {
		c.answer(packets.Suback, encode(ack))
	}
	for i, filter := range p.Topics {
		if ack.ReturnCodes[i] < refused {
			c.sendRetained(filter, ack.ReturnCodes[i])
		}
	}
	if h.RetainedFirst {
		c.answer(packets.Suback, encode(ack))
	}
	return true
}

// refused is the least code of SUBACK that is a refusal; MQTT 3.1.1 knows only this one.
const refused = 0x80

func (c *client) sendRetained(filter string, qos byte) {
	var topics []string
	for topic := range c.b.retained {
		if Match(filter, topic) {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	for _, topic := range topics {
		c.b.send(c.s, c.b.retained[topic], qos)
	}
}

func (c *client) publish(id uint16, m Message, dup bool) {
	if m.QoS == 0 && c.unsent.Len() > maxUnsent {
		return
	}
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.MessageID, p.TopicName, p.Payload = id, m.Topic, m.Payload
	p.Qos, p.Retain, p.Dup = m.QoS, m.Retain, dup
	if topic := c.b.habits.Topic; topic != nil {
		p.TopicName = topic(p.TopicName)
	}
	c.unsent.Write(encode(p))
	c.signal()
}

func (c *client) ack(kind byte, id uint16) {
	first := kind << 4
	if kind == typePubrel {
		first |= 2
	}
	c.answer(kind, []byte{first, 2, byte(id >> 8), byte(id)})
}

func encode(p packets.ControlPacket) []byte {
	var b bytes.Buffer
	_ = p.Write(&b) // a bytes.Buffer does not fail
	return b.Bytes()
}

// signal wakes the writer.
func (c *client) signal() {
	if c.ended {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
