// Package snpacket frames MQTT-SN messages: the Length and MsgType octets that
// every version of the protocol puts before a message (MQTT-SN 1.2 section 5.2).
// The messages themselves live in one package per protocol version; sn12 holds
// those of version 1.2.
//
// One datagram carries one message. Nothing here copies or allocates: what Split
// returns aliases its input, and AppendHeader extends the caller's buffer.
package snpacket

import (
	"encoding/binary"
	"errors"
)

// MaxLen is the largest total size of a message in octets, header included: the
// most the 3-octet Length field can say.
const MaxLen = 65535

const (
	longForm    = 0x01 // first octet of the 3-octet Length field
	maxShort    = 255  // largest total size the 1-octet Length field can say
	shortHeader = 2    // Length, MsgType
	longHeader  = 4    // 0x01, two octets of Length, MsgType
)

// The errors of this package and of the message codecs built on it. They name
// the check that failed, not the octet: a gateway counts them, and a tool that
// wants to say more looks at the datagram itself.
var (
	// ErrShort: fewer octets than the smallest header of the announced form.
	ErrShort = errors.New("datagram shorter than its header")
	// ErrLength: Length is below the size of the header or is not the size of the datagram.
	ErrLength = errors.New("length field does not match the datagram")
	// ErrType: the MsgType is reserved, so the body has no known layout.
	ErrType = errors.New("reserved message type")
	// ErrLayout: the body does not have the size or the parts its message type
	// asks for, or a value to be sent has none that could be written.
	ErrLayout = errors.New("message does not fit the layout of its type")
	// ErrTooLong: the message to be sent would exceed MaxLen, or the one octet of
	// Length that an encapsulation header has.
	ErrTooLong = errors.New("message too long")
)

// Frame is one message whose frame has been checked.
type Frame struct {
	Message []byte // all of it, with the header
	Type    byte   // MsgType, which need not be a known one
	header  uint8  // octets before the body
}

// Body is what follows the header: a part of Message that cannot grow into what is behind it.
func (f Frame) Body() []byte { return f.Message[f.header:len(f.Message):len(f.Message)] }

// ParseFrame is Split for who hands the message on, so that its frame is checked once. Where
// it fails, the Frame has nothing but Message.
func ParseFrame(message []byte) (Frame, error) {
	t, body, err := Split(message)
	if err != nil {
		return Frame{Message: message}, err
	}
	return Frame{Message: message, Type: t, header: uint8(len(message) - len(body))}, nil
}

// Split checks the frame of one datagram and returns its message type and body.
// Both forms of the Length field are accepted at any size, so a PINGREQ may
// arrive as 02 16 or as 01 00 04 16 (MQTT-SN 1.2 section 5.2.1). The checks, in
// this order: the header is complete (ErrShort), Length covers at least the
// header (ErrLength), Length is exactly the size of the datagram (ErrLength).
// Whether the type is known is for the package of the protocol version to say.
//
// body aliases datagram, with its capacity cut so that appending to it cannot
// write past the message. It is empty, not nil, for a message without a body.
//
// A forwarder encapsulation is the one message whose Length covers its own
// header only, so Split answers ErrLength for it. A receiver that accepts
// encapsulated messages asks sn12.IsEncapsulated before it calls Split.
func Split(datagram []byte) (msgType byte, body []byte, err error) {
	size := len(datagram)
	if size < shortHeader {
		return 0, nil, ErrShort
	}
	length, header := int(datagram[0]), shortHeader
	if datagram[0] == longForm {
		if size < longHeader {
			return 0, nil, ErrShort
		}
		length, header = int(binary.BigEndian.Uint16(datagram[1:])), longHeader
	}
	if length < header || length != size {
		return 0, nil, ErrLength
	}
	return datagram[header-1], datagram[header:size:size], nil
}

// HeaderLen returns the size in octets, 2 or 4, of the header that AppendHeader
// writes before a body of bodyLen octets. Totals of 256 and 257 never occur: one
// octet more than the short form can say also makes the header two octets longer.
func HeaderLen(bodyLen int) int {
	if bodyLen > maxShort-shortHeader {
		return longHeader
	}
	return shortHeader
}

// AppendHeader appends Length and MsgType for a body of bodyLen octets, which the
// caller appends next. It uses the short form wherever that is possible. When the
// total would exceed MaxLen it returns b as it was and ErrTooLong; a negative
// bodyLen is ErrLength.
func AppendHeader(b []byte, msgType byte, bodyLen int) ([]byte, error) {
	if bodyLen < 0 {
		return b, ErrLength
	}
	if bodyLen <= maxShort-shortHeader {
		return append(b, byte(shortHeader+bodyLen), msgType), nil
	}
	// Compared this way round because a sum could overflow where int has 32 bits.
	if bodyLen > MaxLen-longHeader {
		return b, ErrTooLong
	}
	total := longHeader + bodyLen
	return append(b, longForm, byte(total>>8), byte(total), msgType), nil
}
