package mqtt

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// packetNames are the MQTT control packets by number (MQTT 3.1.1 section 2.2.1).
var packetNames = [...]string{
	"", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "",
}

// tracePreview is how many octets of a payload are shown.
const tracePreview = 64

// DescribeSent calls show with the words for each packet in b, which holds whole ones that
// this package has encoded, one behind the other. There is no password in them.
func DescribeSent(b []byte, show func(string)) {
	for len(b) > 0 {
		n, header := 0, 1
		for shift := 0; header < len(b); shift += 7 {
			n |= int(b[header]&0x7F) << shift
			header++
			if b[header-1] < 0x80 {
				break
			}
		}
		if header+n > len(b) {
			show(fmt.Sprintf("%d octets that are no packet", len(b)))
			return
		}
		show(describeSent(b[0], b[header:header+n]))
		b = b[header+n:]
	}
}

// String tells what is in a packet of the broker.
func (p *Packet) String() string {
	name := packetNames[p.Kind&0x0F]
	switch p.Kind {
	case TypeConnack:
		return fmt.Sprintf("%s session present %t, return code %d", name, p.SessionPresent, p.Code)
	case TypePublish:
		text := publishText(name, p.Topic, p.Payload, p.QoS, p.Retain, p.Dup, p.ID)
		if p.Oversize {
			text += " (too large, not read)"
		}
		return text
	case TypeSuback:
		return fmt.Sprintf("%s packet id %d, return code 0x%02X", name, p.ID, p.Code)
	case TypePingresp:
		return name
	}
	return fmt.Sprintf("%s packet id %d", name, p.ID)
}

// describeSent tells what is in a packet that this side has made, from its first octet and
// what follows the remaining length.
func describeSent(first byte, b []byte) string {
	kind := first >> 4
	name := packetNames[kind]
	switch kind {
	case TypeConnect:
		return name + connectText(b)
	case TypePublish:
		qos := first >> 1 & 3
		topic, rest := cutField(b)
		id := uint16(0)
		if qos > 0 && len(rest) >= 2 {
			id, rest = binary.BigEndian.Uint16(rest), rest[2:]
		}
		return publishText(name, topic, rest, qos, first&flagRetain != 0, first&flagDup != 0, id)
	case TypeSubscribe, TypeUnsubscribe:
		if len(b) < 2 {
			return name
		}
		filter, rest := cutField(b[2:])
		text := fmt.Sprintf("%s packet id %d, filter %q", name, binary.BigEndian.Uint16(b), filter)
		if kind == TypeSubscribe && len(rest) > 0 {
			text += fmt.Sprintf(", QoS %d", rest[0])
		}
		return text
	}
	if len(b) >= 2 {
		return fmt.Sprintf("%s packet id %d", name, binary.BigEndian.Uint16(b))
	}
	return name
}

// ConnackText names a return code of CONNACK that refuses, in the words of MQTT 3.1.1 section
// 3.2.2.3.
func ConnackText(code uint8) string {
	text := "no code of MQTT 3.1.1"
	switch code {
	case 1:
		text = "unacceptable protocol version"
	case CodeClientID:
		text = "identifier rejected"
	case CodeUnavailable:
		text = "server unavailable"
	case 4:
		text = "bad user name or password"
	case 5:
		text = "not authorized"
	}
	return fmt.Sprintf("return code %d (%s)", code, text)
}

// connectText tells what is in a CONNECT, but for user name and password (MQTT 3.1.1
// section 3.1).
func connectText(b []byte) string {
	const fixed = 10 // protocol name and level, flags, keep-alive
	if len(b) < fixed {
		return ""
	}
	flags, keepAlive := b[7], binary.BigEndian.Uint16(b[8:])
	clientID, rest := cutField(b[fixed:])
	text := fmt.Sprintf(" client id %q, clean session %t, keep-alive %d s", clientID, flags&0x02 != 0, keepAlive)
	if flags&0x04 != 0 {
		topic, rest := cutField(rest)
		message, _ := cutField(rest)
		text += fmt.Sprintf(", will topic %q, will message %d octets, will QoS %d, will retain %t", topic, len(message), flags>>3&3, flags&0x20 != 0)
	}
	if flags&0x80 != 0 {
		text += ", user name ***"
	}
	if flags&0x40 != 0 {
		text += ", password ***"
	}
	return text
}

// cutField takes a field with a length of two octets from the beginning of b.
func cutField(b []byte) (field string, rest []byte) {
	if len(b) < 2 {
		return "", nil
	}
	n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
	return string(b[2 : 2+n]), b[2+n:]
}

func publishText(name, topic string, payload []byte, qos uint8, retain, dup bool, id uint16) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s topic %q, QoS %d", name, topic, qos)
	if retain {
		text.WriteString(", retain")
	}
	if dup {
		text.WriteString(", DUP")
	}
	if qos > 0 {
		fmt.Fprintf(&text, ", packet id %d", id)
	}
	fmt.Fprintf(&text, ", payload %d octets", len(payload))
	if shown := payload[:min(len(payload), tracePreview)]; len(shown) > 0 && readable(shown) {
		text.WriteString(" " + strconv.Quote(string(shown)))
	}
	return text.String()
}

// readable reports whether b is text, or the beginning of one.
func readable(b []byte) bool {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 {
			return i > 0 && len(b)-i < utf8.UTFMax && !utf8.FullRune(b[i:])
		}
		if !unicode.IsPrint(r) && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
		i += size
	}
	return true
}
