package topicreg

import "unicode/utf8"

// maxTopic is the longest topic in octets: MQTT writes its length in 16 bits
// (MQTT 3.1.1 section 4.7.3).
const maxTopic = 65535

// text is what names and filters come in: a slice of a datagram or a string. The
// functions below allocate nothing for either.
type text interface{ []byte | string }

// ValidName reports why name cannot be a topic name, or nil: 1 to 65535 octets of
// well-formed UTF-8 without U+0000, '+' and '#' (MQTT 3.1.1 sections 1.5.3 and 4.7.1),
// and without what a broker may close the connection for (see [ValidText]). The error is
// ErrEmpty, ErrTooLong, ErrNotUTF8, ErrNUL, ErrControl or ErrWildcard. A name that
// begins with '$' is valid.
func ValidName[T text](name T) error {
	if err := ValidText(name); err != nil {
		return err
	}
	if HasWildcard(name) {
		return ErrWildcard
	}
	return nil
}

// ValidFilter reports why filter cannot be a topic filter, or nil: text as for a name,
// where '+' stands alone in its level and '#' alone in the last one (MQTT 3.1.1
// section 4.7.1). The error is ErrEmpty, ErrTooLong, ErrNotUTF8, ErrNUL,
// ErrControl, ErrPlaceHash or ErrPlacePlus.
func ValidFilter[T text](filter T) error {
	if err := ValidText(filter); err != nil {
		return err
	}
	for i := range len(filter) {
		c := filter[i]
		if c != '+' && c != '#' {
			continue
		}
		last := i == len(filter)-1
		starts := i == 0 || filter[i-1] == '/'
		switch {
		case c == '#' && !(starts && last):
			return ErrPlaceHash
		case c == '+' && !(starts && (last || filter[i+1] == '/')):
			return ErrPlacePlus
		}
	}
	return nil
}

// ValidShort reports why the two octets cannot be a short topic name, or nil. A short
// name is a topic name of exactly two octets (MQTT-SN 1.2 section 6.7), so the rules of
// [ValidName] hold: two ASCII characters, or one character of two octets.
func ValidShort(name [2]byte) error { return ValidName(name[:]) }

// HasWildcard reports whether a filter matches more than one name, that is, whether it
// contains '+' or '#'.
func HasWildcard[T text](filter T) bool {
	for i := range len(filter) {
		if filter[i] == '+' || filter[i] == '#' {
			return true
		}
	}
	return false
}

// ValidText reports why s cannot be a non-empty string of MQTT, or nil. Control
// characters and noncharacters of Unicode are refused with U+0000: MQTT allows a broker
// to close the connection for them (MQTT 3.1.1 section 1.5.3), and brokers do.
func ValidText[T text](s T) error {
	switch {
	case len(s) == 0:
		return ErrEmpty
	case len(s) > maxTopic:
		return ErrTooLong
	}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == 0:
			return ErrNUL
		case c < ' ', c == 0x7F:
			return ErrControl
		case c < utf8.RuneSelf:
			i++
			continue
		}
		// At most four octets at a time: so short a conversion stays on the stack.
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && size == 1 {
			return ErrNotUTF8
		}
		if r < 0xA0 || 0xFDD0 <= r && r <= 0xFDEF || r&0xFFFE == 0xFFFE {
			return ErrControl
		}
		i += size
	}
	return nil
}
