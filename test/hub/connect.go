package hub

import (
	"fmt"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// connect checks a CONNECT, and gives the client its session.
func (c *conn) connect(p *packets.ConnectPacket) *Violation {
	c.clientID = p.ClientIdentifier
	r := &c.h.rules
	if p.ProtocolName != "MQTT" || p.ProtocolVersion != 4 || p.ReservedBit != 0 {
		return &Violation{Rule: RuleProtocol, Detail: fmt.Sprintf("%s of version %d", p.ProtocolName, p.ProtocolVersion)}
	}
	if p.ClientIdentifier == "" || r.MaxClientID > 0 && len(p.ClientIdentifier) > r.MaxClientID {
		return &Violation{Rule: RuleClientID, Detail: fmt.Sprintf("it has %d octets", len(p.ClientIdentifier))}
	}
	who, v := r.identify(c.h, &hello{
		clientID: p.ClientIdentifier, username: p.Username, password: string(p.Password), secure: c.secure, name: c.name,
	})
	if v != nil {
		return v
	}
	c.who = who
	if r.KeepAlive[1] > 0 && (p.Keepalive < r.KeepAlive[0] || p.Keepalive > r.KeepAlive[1]) {
		return &Violation{Rule: RuleKeepAlive, Detail: fmt.Sprintf("%d s; want %d to %d", p.Keepalive, r.KeepAlive[0], r.KeepAlive[1])}
	}
	c.keepAlive = time.Duration(p.Keepalive) * time.Second
	if v := c.h.soon(who.session); v != nil {
		return v
	}
	if v := c.takeWill(p); v != nil {
		return v
	}
	c.h.enter(c, p.CleanSession)
	if !who.until.IsZero() {
		c.expiry = time.AfterFunc(time.Until(who.until), func() {
			c.h.note(Violation{c.clientID, RuleExpired, "while it is connected"})
			c.raw.Close()
		})
	}
	return nil
}

// soon notes a CONNECT, and looks how long ago the one before was. Networks are unsteady, so a
// tenth is forgiven.
func (h *Hub) soon(session string) *Violation {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, before := time.Now(), h.connected[session]
	h.connected[session] = now
	if !before.IsZero() && now.Sub(before) < h.rules.ConnectInterval*9/10 {
		return &Violation{Rule: RuleConnectInterval, Detail: fmt.Sprintf("%v after the one before", now.Sub(before))}
	}
	return nil
}

// takeWill keeps the will of a CONNECT.
func (c *conn) takeWill(p *packets.ConnectPacket) *Violation {
	if !p.WillFlag {
		return nil
	}
	if c.h.rules.NoWill {
		return &Violation{Rule: RuleWill, Detail: p.WillTopic}
	}
	m := Message{c.clientID, p.WillTopic, string(p.WillMessage), p.WillQos, p.WillRetain}
	if v := c.checkMessage(&m); v != nil {
		return v
	}
	c.will = &m
	return nil
}

// checkMessage looks at a message of the client.
func (c *conn) checkMessage(m *Message) *Violation {
	r := &c.h.rules
	switch {
	case m.QoS > 2:
		return &Violation{Rule: RuleProtocol, Detail: "QoS 3"}
	case m.QoS > r.MaxQoS:
		return &Violation{Rule: RuleQoS, Detail: fmt.Sprintf("QoS %d to %s", m.QoS, m.Topic)}
	case m.Retain && r.NoRetain:
		return &Violation{Rule: RuleRetain, Detail: m.Topic}
	case r.MaxPayload > 0 && len(m.Payload) > r.MaxPayload:
		return &Violation{Rule: RulePayload, Detail: fmt.Sprintf("%d octets", len(m.Payload))}
	}
	return c.h.checkTopic(c.who.device, m.Topic, false)
}

// enter makes c the connection of its session. An older one that is still there ends.
func (h *Hub) enter(c *conn, clean bool) {
	for {
		h.mu.Lock()
		s := h.sessions[c.who.session]
		if s == nil || s.conn == nil {
			h.admit(c, clean)
			h.mu.Unlock()
			return
		}
		old := s.conn
		h.mu.Unlock()
		select {
		case <-old.done:
			continue
		case <-time.After(endTime):
		}
		h.note(Violation{old.clientID, RuleOneConnection, "it connects while it is connected"})
		old.raw.Close()
		<-old.done
	}
}

// admit answers CONNECT, with the lock.
func (h *Hub) admit(c *conn, clean bool) {
	s := h.sessions[c.who.session]
	present := s != nil && !clean && !s.clean
	if !present {
		s = &session{id: c.who.session, received: make(map[uint16]bool)}
		h.sessions[s.id] = s
	}
	s.clean, s.conn, c.session = clean, c, s
	h.connects[c.clientID]++
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	ack.SessionPresent = present
	c.send(ack)
	s.again()
}
