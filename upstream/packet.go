package upstream

import (
	"strings"
	"unicode/utf8"
)

// MQTT control packet types (MQTT 3.1.1 section 2.2.1).
const (
	typeConnect     = 1
	typeConnack     = 2
	typePublish     = 3
	typePuback      = 4
	typePubrec      = 5
	typePubrel      = 6
	typePubcomp     = 7
	typeSubscribe   = 8
	typeSuback      = 9
	typeUnsubscribe = 10
	typeUnsuback    = 11
	typePingreq     = 12
	typePingresp    = 13
	typeDisconnect  = 14
)

const (
	maxString    = 65535       // bytes of an MQTT string or binary field
	maxRemaining = 268_435_455 // MQTT 3.1.1 section 2.2.3

	codeUnavailable = 3    // CONNACK: server unavailable (MQTT 3.1.1 section 3.2.2.3)
	codeRefused     = 0x80 // SUBACK: failure (MQTT 3.1.1 section 3.9.3)

	flagDup    = 0x08
	flagQoS    = 0x06
	flagRetain = 0x01
)

// packet is one control packet from the broker. Only the fields its kind has are
// set. topic and payload are the packet's own.
type packet struct {
	kind     uint8
	qos      uint8
	code     uint8
	dup      bool
	retain   bool
	present  bool // CONNACK: session present
	oversize bool // PUBLISH: the payload was skipped
	fault    packetFault
	id       uint16
	topic    string
	payload  []byte
}

// publishLen returns the remaining length of a PUBLISH.
func publishLen(topic string, payload []byte, qos uint8) int {
	n := 2 + len(topic) + len(payload)
	if qos > 0 {
		n += 2
	}
	return n
}

// appendPublish appends a PUBLISH (MQTT 3.1.1 section 3.3). The caller has checked
// the topic and the size.
func appendPublish(b []byte, topic string, payload []byte, qos uint8, retain bool, id uint16) []byte {
	first := byte(typePublish<<4) | qos<<1
	if retain {
		first |= flagRetain
	}
	b = appendLength(append(b, first), publishLen(topic, payload, qos))
	b = append(b, byte(len(topic)>>8), byte(len(topic)))
	b = append(b, topic...)
	if qos > 0 {
		b = append(b, byte(id>>8), byte(id))
	}
	return append(b, payload...)
}

// splitPublish returns topic and payload of what appendPublish has made. The payload is a
// part of raw.
func splitPublish(raw []byte) (topic string, payload []byte) {
	name := topicOf(raw)
	payload = raw[len(raw)-cap(name)+len(name):]
	if raw[0]&flagQoS != 0 {
		payload = payload[2:] // the packet identifier
	}
	return string(name), payload
}

// topicOf returns the topic of what appendPublish has made, as a part of raw.
func topicOf(raw []byte) []byte {
	i := 1
	for raw[i]&0x80 != 0 {
		i++
	}
	b := raw[i+1 : len(raw) : len(raw)]
	n := int(b[0])<<8 | int(b[1])
	return b[2 : 2+n]
}

// appendLength appends a remaining length (MQTT 3.1.1 section 2.2.3).
func appendLength(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// appendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP (MQTT 3.1.1 sections 3.4
// to 3.7).
func appendAck(b []byte, kind uint8, id uint16) []byte {
	first := kind << 4
	if kind == typePubrel {
		first |= 0x02 // section 3.6.1
	}
	return append(b, first, 2, byte(id>>8), byte(id))
}

// appendBare appends a packet that is a fixed header only: PINGREQ, PINGRESP,
// DISCONNECT.
func appendBare(b []byte, kind uint8) []byte {
	return append(b, kind<<4, 0)
}

// validString reports whether s may stand in an MQTT packet as a string that is not
// empty (MQTT 3.1.1 section 1.5.3).
func validString(s string) bool {
	return s != "" && len(s) <= maxString && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// validTopic reports whether s is a topic name (MQTT 3.1.1 section 4.7).
func validTopic(s string) bool {
	return validString(s) && !strings.ContainsAny(s, "+#")
}
