// Package topicreg maps topic names to the 16-bit topic ids of MQTT-SN and back,
// and knows the rules for topic names and filters.
//
// MQTT-SN has three ways to name a topic in two octets (MQTT-SN 1.2 section 5.3.11
// and section 6.5 to 6.7), and each is a number space of its own:
//
//   - normal topic ids, agreed between one device and the gateway by REGISTER,
//     REGACK and SUBACK: a [Table] per device;
//   - predefined topic ids, known to both sides beforehand from their
//     configuration: one [Predefined] set for all devices;
//   - short topic names, which are the two octets themselves: [ValidShort].
//
// A Predefined set is immutable and may be used by any number of goroutines. A
// Table belongs to one session and has no lock.
package topicreg

// Ids that are reserved in every number space (MQTT-SN 1.2 section 5.3.11).
const (
	minID = 0x0001
	maxID = 0xFFFE
)

// Error is a refusal of this package. All of its values are constants, so that they
// can be compared with == and errors.Is.
type Error string

func (e Error) Error() string { return string(e) }

// Refusals of names, filters and short names.
const (
	ErrEmpty     = Error("is empty; a topic has at least one octet")
	ErrTooLong   = Error("is longer than 65535 octets")
	ErrNotUTF8   = Error("is not well-formed UTF-8")
	ErrNUL       = Error("contains the character U+0000")
	ErrControl   = Error("contains a control character or a noncharacter of Unicode")
	ErrWildcard  = Error("contains a wildcard ('+' or '#'), which only a topic filter may have")
	ErrPlaceHash = Error("has a '#' that is not alone in the last level")
	ErrPlacePlus = Error("has a '+' that is not alone in its level")
	ErrReserved  = Error("begins with '$'; such topics are the broker's own")
)

// Refusals of a [Table].
const (
	ErrFull  = Error("no topic id is left for this device")
	ErrBound = Error("the topic id or the topic name is already bound otherwise")
	ErrID    = Error("topic ids 0x0000 and 0xFFFF are reserved")
)
