// Package explain describes MQTT-SN 1.2 datagrams for a reader who has a trace and
// a hex dump: every field with its offset, octets, value and meaning, and remarks on
// what the specification does not allow.
package explain

import (
	"bytes"
	"fmt"
	"io"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// Error says where a datagram cannot be decoded and why.
type Error struct {
	Offset int    // of the first octet at fault, counted from 0 in the datagram
	Reason string // what was expected and what is there
	Err    error  // the codec's error for this datagram: snpacket.ErrShort and its like
}

// Error returns offset and reason in one line.
func (e *Error) Error() string { return fmt.Sprintf("at offset 0x%04x: %s", e.Offset, e.Reason) }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Datagram writes an explanation of datagram to w, several lines of text. Offsets and
// octets are hexadecimal, as hex dumps have them.
//
// What cannot be decoded is explained as far as it goes; the last line then starts
// with "error" and the same is returned as an *Error. Exactly the datagrams that
// sn12.Parse refuses are errors. Whatever parses but breaks a rule of the specification
// gets a line that starts with "warning", and unusual but legal matters one that starts
// with "note". Any other error comes from w.
func Datagram(w io.Writer, datagram []byte) error {
	var text bytes.Buffer
	fault := message(&text, datagram, 0, "datagram")
	if _, err := w.Write(text.Bytes()); err != nil {
		return err
	}
	if fault != nil {
		return fault // never a nil *Error in the interface
	}
	return nil
}

// message explains d, which begins at offset base of the datagram, and what is
// encapsulated in it. It loops over the layers and does not indent them: a hostile
// datagram has room for 20,000.
func message(text *bytes.Buffer, d []byte, base int, title string) *Error {
	for {
		p := &printer{text: text, d: d, base: base}
		fmt.Fprintf(text, "%s of %s\n", title, octets(len(d)))
		var inner int
		if sn12.IsEncapsulated(d) {
			inner = p.encapsulation()
		} else if t, ok := p.header(); ok {
			p.body(t)
			p.nothingLeft(t)
		}
		p.finish()
		if p.err != nil || inner == 0 {
			return p.err
		}
		d, base, title = d[inner:], base+inner, "inner message"
	}
}

// header explains Length and MsgType, by the checks of snpacket.Split and in their
// order.
func (p *printer) header() (sn12.Type, bool) {
	size := len(p.d)
	if size == 0 {
		p.fail(snpacket.ErrShort, "nothing there; the smallest message has 2 octets")
		return 0, false
	}
	length, lengthSize := int(p.d[0]), 1
	if p.d[0] == 0x01 {
		lengthSize = 3
		if size < 4 {
			p.row(min(size, 3), "Length", "3-octet form (0x01 and two octets), cut short")
			p.fail(snpacket.ErrShort, "the 3-octet Length and MsgType take 4 octets, %d there", size)
			return 0, false
		}
		length = int(p.d[1])<<8 | int(p.d[2])
	}
	p.row(lengthSize, "Length", "%d (%d-octet form)", length, lengthSize)
	if size < 2 {
		p.fail(snpacket.ErrShort, "MsgType is missing; the smallest message has 2 octets")
		return 0, false
	}
	t := sn12.Type(p.d[p.pos])
	name := "(reserved)"
	if t.Known() {
		name = t.String()
	}
	p.row(1, "MsgType", "0x%02X %s", byte(t), name)
	return t, p.checkHeader(t, length, lengthSize)
}

func (p *printer) checkHeader(t sn12.Type, length, lengthSize int) bool {
	size := len(p.d)
	switch {
	case length < lengthSize+1:
		p.failAt(0, snpacket.ErrLength, "Length is %d, but Length and MsgType alone take %d octets", length, lengthSize+1)
	case length > size:
		p.failAt(0, snpacket.ErrLength, "Length is %d, but only %s are there: %d missing", length, octets(size), length-size)
	case length < size:
		p.failAt(length, snpacket.ErrLength, "Length is %d, but %s are there: %d too many; one datagram carries one message",
			length, octets(size), size-length)
	case t == sn12.TypeEncapsulated:
		p.failAt(0, snpacket.ErrLength, "an encapsulation header has the 1-octet Length only (section 5.5)")
	case !t.Known():
		p.failAt(lengthSize, snpacket.ErrType, "message type 0x%02X is reserved (section 5.2.2)", byte(t))
	}
	if p.err == nil && lengthSize == 3 && size-2 <= 255 {
		p.note("the 1-octet Length would do; the 3-octet form is legal at any size (section 5.2.1)")
	}
	return p.err == nil
}

// encapsulation explains an encapsulation header and returns its size, which is where
// the inner message begins.
func (p *printer) encapsulation() int {
	n := int(p.d[0])
	p.row(1, "Length", "%d (of this header only)", n)
	p.row(1, "MsgType", "0x%02X %s", byte(sn12.TypeEncapsulated), sn12.TypeEncapsulated)
	switch {
	case n < 2:
		p.failAt(0, snpacket.ErrLength, "Length is %d, but the encapsulation header takes at least 3 octets", n)
		return 0
	case n > len(p.d):
		p.failAt(0, snpacket.ErrLength, "Length is %d, but only %s are there", n, octets(len(p.d)))
		return 0
	case n < 3:
		p.failAt(2, snpacket.ErrLayout, "Length is %d, which leaves no room for Ctrl (section 5.5)", n)
		return 0
	}
	ctrl := p.d[2]
	p.row(1, "Ctrl", "broadcast radius %s", radius(ctrl&0x03))
	if ctrl&0xFC != 0 {
		p.note("Ctrl: bits 0x%02X are reserved and ignored", ctrl&0xFC)
	}
	p.octetsRow(n-3, "WirelessNodeId")
	if n == 3 {
		p.warn("the wireless node id is empty, so that nobody can be answered (section 5.5)")
	}
	if n == len(p.d) {
		p.fail(snpacket.ErrLayout, "nothing is encapsulated: the header must be followed by a whole message")
		return 0
	}
	if sn12.IsEncapsulated(p.d[n:]) {
		p.warn("encapsulation within encapsulation, which the specification does not describe (section 5.5)")
	}
	return n
}
