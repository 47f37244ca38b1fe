package sn12

import "sngate/snpacket"

const (
	encapFixed = 3    // Length, MsgType, Ctrl
	maxNodeID  = 252  // what one octet of Length leaves for the node id
	maskRadius = 0x03 // of Ctrl; the other bits are reserved
)

// Encapsulated is a message that a forwarder relays for a device which cannot reach
// the gateway itself (MQTT-SN 1.2 section 5.5). Unlike everywhere else, Length covers
// only the encapsulation header; the relayed message follows with its own header.
type Encapsulated struct {
	Radius uint8  // broadcast radius 0..3, bits 1-0 of Ctrl; only a gateway sets it
	NodeID []byte // Wireless Node Id, opaque, at most 252 octets
	Inner  []byte // the relayed message with its header, at least 1 octet
}

// IsEncapsulated reports whether datagram is to be read with Encapsulated.Parse
// rather than with snpacket.Split, which cannot frame it. It looks at the first two
// octets only.
func IsEncapsulated(datagram []byte) bool {
	// After 0x01 the second octet belongs to a 3-octet Length, which an encapsulation
	// header does not have.
	return len(datagram) >= 2 && datagram[0] != 0x01 && Type(datagram[1]) == TypeEncapsulated
}

// Type returns TypeEncapsulated.
func (Encapsulated) Type() Type { return TypeEncapsulated }

// Len returns the size of the datagram in octets, Inner included.
func (m Encapsulated) Len() int { return encapFixed + len(m.NodeID) + len(m.Inner) }

// Parse reads a whole datagram, not a body. Inner is taken as it is: it goes the way
// of a datagram that came without a forwarder, through snpacket.Split first.
//
// Nested encapsulation and an empty NodeID parse, but the specification has no use
// for either. A gateway drops a datagram for which Nested reports true, which could
// loop, or whose NodeID is empty, which names no device.
func (m *Encapsulated) Parse(datagram []byte) error {
	if len(datagram) < 2 {
		return snpacket.ErrShort
	}
	if Type(datagram[1]) != TypeEncapsulated {
		return snpacket.ErrType
	}
	n := int(datagram[0])
	switch {
	case n < 2, n > len(datagram):
		return snpacket.ErrLength
	case n < encapFixed, n == len(datagram):
		return snpacket.ErrLayout
	}
	*m = Encapsulated{
		Radius: datagram[2] & maskRadius,
		NodeID: datagram[encapFixed:n:n],
		Inner:  datagram[n:len(datagram):len(datagram)],
	}
	return nil
}

// Nested reports whether Inner is itself encapsulated.
func (m Encapsulated) Nested() bool { return IsEncapsulated(m.Inner) }

// Append appends the encapsulation header and Inner, which is not looked at and must
// not be empty. Radius must be 0..3. More than 252 octets of NodeID are
// snpacket.ErrTooLong, and so is an Inner over snpacket.MaxLen.
func (m Encapsulated) Append(b []byte) ([]byte, error) {
	if m.Radius > maskRadius || len(m.Inner) == 0 {
		return b, snpacket.ErrLayout
	}
	if len(m.NodeID) > maxNodeID || len(m.Inner) > snpacket.MaxLen {
		return b, snpacket.ErrTooLong
	}
	b = append(b, byte(encapFixed+len(m.NodeID)), byte(TypeEncapsulated), m.Radius)
	return append(append(b, m.NodeID...), m.Inner...), nil
}
