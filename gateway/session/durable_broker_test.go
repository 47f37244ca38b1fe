package session

import "slices"

// modelBroker is a broker with one session, and the rules of MQTT 3.1.1 for its packet
// identifiers. It outlives the gateway.
type modelBroker struct {
	present     bool
	atPubrel    bool              // a QoS 2 message is passed on at PUBREL, not at PUBLISH; both are allowed
	received    map[uint16]string // QoS 2 PUBLISHes not released yet
	passedOn    map[string]int    // by payload
	out         []brokerMessage   // for the device, oldest first
	lastID      uint16
	forgot      bool                   // the session; taken back by the reader
	mistaken    string                 // a message that has got the packet identifier of another
	mistakenFor string                 // that one
	confirmed   func(m *brokerMessage) // PUBACK or the first PUBREC for m has come
}

type brokerMessage struct {
	id      uint16
	topic   string
	payload string
	qos     uint8
	sent    bool // on the connection that is open
	dup     bool
	taken   bool // QoS 2: PUBREC has come
	asked   bool // PUBREL sent on the connection that is open
}

func (b *modelBroker) reset() {
	b.present, b.out, b.forgot = false, nil, true
	b.received = map[uint16]string{}
}

func (b *modelBroker) publish(topic, payload string, qos uint8) {
	m := brokerMessage{topic: topic, payload: payload, qos: qos}
	for qos > 0 && m.id == 0 {
		b.lastID = b.lastID%12 + 1
		if !slices.ContainsFunc(b.out, func(o brokerMessage) bool { return o.id == b.lastID }) {
			m.id = b.lastID
		}
	}
	b.out = append(b.out, m)
}

func (b *modelBroker) disconnected() {
	for i := range b.out {
		m := &b.out[i]
		m.dup = m.dup || m.sent
		m.sent, m.asked = false, false
	}
	b.out = slices.DeleteFunc(b.out, func(m brokerMessage) bool { return m.qos == 0 && m.dup })
}
