package upstream

import (
	"hash/maphash"

	"sngate/upstream/mqtt"
)

// keys identify packets by their content, the same in all Links of a Dialer.
type keys struct{ seed maphash.Seed }

// packet identifies a packet by its content: PUBLISH without DUP and its identifier.
func (k keys) packet(kind, qos uint8, retain bool, topic string, payload []byte) uint64 {
	return k.topic(kind, qos, retain, "", topic) ^ maphash.Bytes(k.seed, payload)
}

// topic identifies the packets of one kind to one topic, of which prefix and topic are the parts. What a broker allows may
// depend on RETAIN, and on whether it has to answer.
func (k keys) topic(kind, qos uint8, retain bool, prefix, topic string) uint64 {
	var h maphash.Hash
	h.SetSeed(k.seed)
	flags := kind<<4 | qos<<1
	if retain {
		flags |= 1
	}
	h.WriteByte(flags)
	h.WriteString(prefix)
	h.WriteString(topic)
	return h.Sum64()
}

// of identifies a message by its content.
func (k keys) of(m *outgoing) uint64 {
	topic, payload := m.raw.Split()
	if m.qos == 0 {
		payload = nil // it is not sent again: what matters is the next one
	}
	return k.packet(mqtt.TypePublish, m.qos, m.raw.Retain(), topic, payload)
}

// ofTopic identifies the messages of the kind of m to its topic.
func (k keys) ofTopic(m *outgoing) uint64 {
	topic, _ := m.raw.Split()
	return k.topic(mqtt.TypePublish, m.qos, m.raw.Retain(), "", topic)
}
