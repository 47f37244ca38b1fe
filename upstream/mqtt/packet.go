// Package mqtt is the door to MQTT 3.1.1 packets: it encodes what a client sends and
// decodes what a broker sends, and is the only package that knows another codec.
//
// Control packets, which are rare, go through the codec of paho.mqtt.golang. PUBLISH, its
// acknowledgements and the pings, which are not, are read and written here without
// allocations but for topic and payload.
package mqtt

import (
	"strings"
	"unicode/utf8"
)

// MQTT control packet types (MQTT 3.1.1 section 2.2.1).
const (
	TypeConnect     = 1
	TypeConnack     = 2
	TypePublish     = 3
	TypePuback      = 4
	TypePubrec      = 5
	TypePubrel      = 6
	TypePubcomp     = 7
	TypeSubscribe   = 8
	TypeSuback      = 9
	TypeUnsubscribe = 10
	TypeUnsuback    = 11
	TypePingreq     = 12
	TypePingresp    = 13
	TypeDisconnect  = 14
)

// Limits of MQTT, in bytes.
const (
	MaxString    = 65535       // of a string or binary field
	MaxRemaining = 268_435_455 // of what follows the fixed header (MQTT 3.1.1 section 2.2.3)
)

// Return codes that brokers answer with.
const (
	CodeAccepted    = 0    // CONNACK (MQTT 3.1.1 section 3.2.2.3)
	CodeClientID    = 2    // CONNACK: identifier rejected
	CodeUnavailable = 3    // CONNACK: server unavailable
	CodeFailure     = 0x80 // SUBACK: failure (MQTT 3.1.1 section 3.9.3)
)

const (
	flagDup    = 0x08
	flagQoS    = 0x06
	flagRetain = 0x01
)

// Packet is one control packet from the broker. Only the fields its kind has are
// set. Topic and Payload are the packet's own.
type Packet struct {
	Kind           uint8
	QoS            uint8
	Code           uint8 // CONNACK, SUBACK: return code; DISCONNECT: reason code
	Dup            bool
	Retain         bool
	SessionPresent bool // CONNACK
	Oversize       bool // PUBLISH: the payload was skipped
	Fault          Fault
	ID             uint16
	Topic          string
	Payload        []byte
}

// PublishLen returns the remaining length of a PUBLISH.
func PublishLen(topic string, payload []byte, qos uint8) int {
	n := 2 + len(topic) + len(payload)
	if qos > 0 {
		n += 2
	}
	return n
}

// AppendPublish appends a PUBLISH (MQTT 3.1.1 section 3.3) to the topic of which prefix and topic
// are the parts. The caller has checked it and the size.
func AppendPublish(b []byte, prefix, topic string, payload []byte, qos uint8, retain bool, id uint16) []byte {
	first := byte(TypePublish<<4) | qos<<1
	if retain {
		first |= flagRetain
	}
	name := len(prefix) + len(topic)
	b = appendLength(append(b, first), len(prefix)+PublishLen(topic, payload, qos))
	b = append(b, byte(name>>8), byte(name))
	b = append(append(b, prefix...), topic...)
	if qos > 0 {
		b = append(b, byte(id>>8), byte(id))
	}
	return append(b, payload...)
}

// Publish is a whole PUBLISH as AppendPublish has made it.
type Publish []byte

// Topic returns the topic name, as a part of m.
func (m Publish) Topic() []byte {
	i := 1
	for m[i]&0x80 != 0 {
		i++
	}
	b := m[i+1 : len(m) : len(m)]
	n := int(b[0])<<8 | int(b[1])
	return b[2 : 2+n]
}

// Split returns topic and payload. The payload is a part of m.
func (m Publish) Split() (topic string, payload []byte) {
	name := m.Topic()
	payload = m[len(m)-cap(name)+len(name):]
	if m[0]&flagQoS != 0 {
		payload = payload[2:] // the packet identifier
	}
	return string(name), payload
}

// Retain reports whether the RETAIN flag is set.
func (m Publish) Retain() bool { return m[0]&flagRetain != 0 }

// SetDup sets the DUP flag.
func (m Publish) SetDup() { m[0] |= flagDup }

// appendLength appends a remaining length (MQTT 3.1.1 section 2.2.3).
func appendLength(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// AppendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP (MQTT 3.1.1 sections 3.4
// to 3.7).
func AppendAck(b []byte, kind uint8, id uint16) []byte {
	first := kind << 4
	if kind == TypePubrel {
		first |= 0x02 // section 3.6.1
	}
	return append(b, first, 2, byte(id>>8), byte(id))
}

// AppendBare appends a packet that is a fixed header only: PINGREQ, PINGRESP,
// DISCONNECT.
func AppendBare(b []byte, kind uint8) []byte {
	return append(b, kind<<4, 0)
}

// ValidString reports whether s may stand in an MQTT packet as a string that is not
// empty (MQTT 3.1.1 section 1.5.3).
func ValidString(s string) bool {
	return s != "" && len(s) <= MaxString && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// ValidTopic reports whether s is a topic name (MQTT 3.1.1 section 4.7).
func ValidTopic(s string) bool {
	return ValidString(s) && !strings.ContainsAny(s, "+#")
}
