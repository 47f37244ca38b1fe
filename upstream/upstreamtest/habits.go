package upstreamtest

import (
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Habits are what brokers of the field do differently from what MQTT 3.1.1 says, or from
// what most of them do where it leaves a choice. The zero value is a broker without any.
// The functions are called with the broker's lock held: they must not call the Broker.
type Habits struct {
	// RefuseID gives the return code of CONNACK for a client id; 0 accepts.
	RefuseID func(clientID string) byte
	// HangUp closes a connection at its CONNECT, without CONNACK.
	HangUp func(clientID string) bool
	// Present changes the Session Present flag of CONNACK from what is true.
	Present func(clientID string, present bool) bool
	// Goodbye is what is written before the broker ends a connection because the client
	// has connected again, or because it is dropped or stopped: a DISCONNECT, which
	// MQTT 3.1.1 does not know in this direction.
	Goodbye []byte
	// NoWillAtTakeover does not publish the will of a connection whose client has connected
	// again.
	NoWillAtTakeover bool

	// Rules are what is enforced by closing connections.
	Rules Rules

	// Strict closes connections on what the broker does not take. nil: it takes everything.
	Strict *Strict
	// Deny closes the connection at a PUBLISH, without an answer.
	Deny func(clientID string, m Message) bool
	// PublishRate is how many PUBLISH a connection may bring within a second; one more
	// closes it. 0: any number.
	PublishRate int
	// QoS2WithPuback treats a QoS 2 PUBLISH as one of QoS 1: it is answered with PUBACK.
	QoS2WithPuback bool
	// Topic changes a topic name on its way to the subscribers.
	Topic func(topic string) string

	// Suback changes a code of SUBACK; at one of 0x80 and above nothing is subscribed to.
	Suback func(clientID, filter string, code byte) byte
	// DenyFilter closes the connection at a SUBSCRIBE, without an answer.
	DenyFilter func(clientID, filter string) bool
	// RetainedFirst sends the retained messages of a subscription before its SUBACK.
	RetainedFirst bool
	// Window is how many QoS 1 and 2 messages are sent before one is acknowledged. 0: 20.
	Window int
	// LowestID gives a message the lowest packet identifier that is free, so that one which
	// has just been acknowledged is used again at once.
	LowestID bool
	// NewIDs sends what was unacknowledged in an earlier connection again under new packet
	// identifiers, NoDUP without DUP, and RedeliverAfter only so long after CONNECT.
	NewIDs, NoDUP  bool
	RedeliverAfter time.Duration
	// Overlap sends a message once for each subscription of a client that matches.
	Overlap bool

	// Ignore leaves a packet alone: nothing is done, and nothing answered.
	Ignore func(clientID string, p packets.ControlPacket) bool
	// Withhold keeps an answer of a type (packets.Puback, ...) back, though what it
	// acknowledges has been done.
	Withhold func(clientID string, kind byte) bool
	// Delay is how long an answer of a type takes.
	Delay func(kind byte) time.Duration
}

// GoodbyePlain returns the DISCONNECT that clients write.
func GoodbyePlain() []byte { return []byte{packets.Disconnect << 4, 0} }

// GoodbyeWithReason returns a DISCONNECT of MQTT 5, section 3.14; 0x8E is "session taken
// over", 0x8B "server shutting down".
func GoodbyeWithReason(reason byte) []byte { return []byte{packets.Disconnect << 4, 1, reason} }

// Only is a Withhold of some types of answers.
func Only(kinds ...byte) func(clientID string, kind byte) bool {
	return func(_ string, kind byte) bool { return slices.Contains(kinds, kind) }
}

// After is a Delay of d for some types of answers.
func After(d time.Duration, kinds ...byte) func(kind byte) time.Duration {
	return func(kind byte) time.Duration {
		if slices.Contains(kinds, kind) {
			return d
		}
		return 0
	}
}

// DenyTopic is a Deny of the messages on some topics.
func DenyTopic(topics ...string) func(clientID string, m Message) bool {
	return func(_ string, m Message) bool { return slices.Contains(topics, m.Topic) }
}

// DenyRetained is the Deny of a broker that does not keep retained messages.
func DenyRetained(_ string, m Message) bool { return m.Retain }

// DenyQoS2 is the Deny of a broker that does not serve QoS 2.
func DenyQoS2(_ string, m Message) bool { return m.QoS == 2 }

// DenyLarger is the Deny of a broker with a limit of n octets for a payload.
func DenyLarger(n int) func(clientID string, m Message) bool {
	return func(_ string, m Message) bool { return len(m.Payload) > n }
}

// DenyAll is the Deny of a broker that is ill.
func DenyAll(string, Message) bool { return true }

// RefuseWith is a Suback that refuses some filters with a code.
func RefuseWith(code byte, filters ...string) func(clientID, filter string, granted byte) byte {
	return func(_, filter string, granted byte) byte {
		if slices.Contains(filters, filter) {
			return code
		}
		return granted
	}
}

// GrantAtMost is a Suback with a lower QoS than was asked for.
func GrantAtMost(qos byte) func(clientID, filter string, granted byte) byte {
	return func(_, _ string, granted byte) byte { return min(granted, qos) }
}

// StarsAsPlus is the Topic of a broker that writes "+" for "*".
func StarsAsPlus(topic string) string { return strings.ReplaceAll(topic, "*", "+") }

// RefuseIDsWith is a RefuseID with return code 2, "identifier rejected", for client ids
// that hold one of the characters.
func RefuseIDsWith(characters string) func(clientID string) byte {
	return func(clientID string) byte {
		if strings.ContainsAny(clientID, characters) {
			return packets.ErrRefusedIDRejected
		}
		return packets.Accepted
	}
}

// SetHabits changes what the broker does from the next packet on.
func (b *Broker) SetHabits(h Habits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.habits = h
}

// Stop is Kill with a goodbye: sessions and retained messages are kept.
func (b *Broker) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = true
	for c := range b.open {
		c.will = nil
		c.leave()
	}
	b.drop(func(s *session) bool { return s.clean })
}

// Inject writes octets to a client that is connected, whatever they are.
func (b *Broker) Inject(clientID string, octets ...byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.session(clientID); s != nil && s.client != nil {
		s.client.unsent.Write(octets)
		s.client.signal()
	}
}

// leave ends the connection as the broker's own wish, with what it says then.
func (c *client) leave() {
	c.farewell = slices.Clone(c.b.habits.Goodbye)
	c.end()
}

// ignored reports whether the broker has the habit of leaving p alone.
func (c *client) ignored(p packets.ControlPacket) bool {
	h := c.b.habits.Ignore
	return h != nil && h(c.s.id, p)
}

// denied reports whether the message ends the connection.
func (c *client) denied(m Message) bool {
	h := &c.b.habits
	if h.PublishRate > 0 && c.publishes(h.PublishRate) {
		return true
	}
	return h.Deny != nil && h.Deny(c.s.id, m)
}

// answer queues an answer of a type, unless the broker's habits hold it back or delay it.
// Delayed answers of one type keep their order.
func (c *client) answer(kind byte, octets []byte) {
	h := &c.b.habits
	if h.Withhold != nil && h.Withhold(c.s.id, kind) {
		return
	}
	if h.Delay == nil || h.Delay(kind) <= 0 {
		c.unsent.Write(octets)
		c.signal()
		return
	}
	if c.delayed == nil {
		c.delayed = make(map[byte][][]byte)
	}
	c.delayed[kind] = append(c.delayed[kind], octets)
	time.AfterFunc(h.Delay(kind), func() {
		c.b.mu.Lock()
		defer c.b.mu.Unlock()
		octets, rest := c.delayed[kind][0], c.delayed[kind][1:]
		if c.delayed[kind] = rest; !c.ended {
			c.unsent.Write(octets)
			c.signal()
		}
	})
}
