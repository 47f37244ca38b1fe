package mqtt

import (
	"io"
	"net"
)

// window is the part of a connection's byte stream that has been read and not yet
// decoded: buf.B[r:w]. buf is nil while nothing is buffered and the source takes its
// buffers from the pool.
type window struct {
	buf  *Buffer
	r, w int
}

// source reads a connection. Its wait adds at least one byte behind w.w, or fails;
// Read is for the long payloads that pass the window by.
type source interface {
	io.Reader
	wait(w *window) error
}

// Decoder cuts a byte stream into packets. It allocates for a packet only what the
// packet is allowed to hold, and checks everything before use.
//
// It can stop anywhere in a packet, if its source does not block, and go on there.
type Decoder struct {
	window
	src        source
	maxPayload int
	faults     int  // bad packets in a row
	begun      bool // CONNACK has been read

	// Of the packet that has begun to come.
	stage stage
	size  int    // on the wire
	left  int    // octets of it that are not decoded
	part  []byte // a topic that does not fit into the window
	got   int    // octets of part, or of the payload, that have come
}

// stage is what of a packet is decoded next.
type stage uint8

const (
	atHeader stage = iota
	atBody         // of a packet that is not PUBLISH
	atTopicLength
	atTopic
	atIdentifier
	atPayload
	atRest // nothing of which is kept
)

const (
	// maxControl is the longest body, in bytes, of a packet that is not PUBLISH: what claims
	// to be longer is not MQTT. MQTT 5 adds properties.
	maxControl = 64 << 10
	// maxFields is how much of it is looked at.
	maxFields = 16
	// maxFaults is how many bad packets in a row, other than PUBLISH, show that the framing is
	// lost.
	maxFaults = 16
)

// Reset makes d read the packets of a new connection, the first of which has to be CONNACK.
// The payload of a PUBLISH larger than maxPayload bytes is skipped unread.
func (d *Decoder) Reset(nc net.Conn, maxPayload int) {
	*d = Decoder{src: newSource(nc), maxPayload: maxPayload}
}

// Next reads one packet into p and returns its size on the wire in bytes. What is wrong
// inside a packet is left in p.Fault, and so are packets that have no meaning here: only an
// error ends the connection, one of the connection's own or a [ProtocolError]. After
// [ErrAgain] the next call has to be given the same p, and goes on with it.
func (d *Decoder) Next(p *Packet) (size int, err error) {
	if d.stage == atHeader {
		*p = Packet{}
		if err := d.header(p); err != nil {
			return 0, err
		}
	}
	for d.stage != atHeader {
		if err := d.decode(p); err != nil {
			return 0, err
		}
	}
	return d.size, nil
}

// decode takes the next part of a packet.
func (d *Decoder) decode(p *Packet) error {
	switch d.stage {
	case atBody:
		return d.body(p)
	case atTopicLength:
		return d.topicLength(p)
	case atTopic:
		return d.topic(p)
	case atIdentifier:
		b, err := d.need(2)
		if err != nil {
			return err
		}
		p.ID = uint16(b[0])<<8 | uint16(b[1])
		d.pass(2)
		d.toPayload(p)
		return nil
	case atPayload:
		if err := d.fillPart(p.Payload); err != nil {
			return err
		}
		d.stage = atHeader
		return nil
	}
	return d.rest()
}

// body reads what is looked at of a packet that is not PUBLISH.
func (d *Decoder) body(p *Packet) error {
	body, err := d.need(min(d.left, maxFields))
	if err != nil {
		return err
	}
	d.pass(len(body))
	d.stage = atRest
	if p.Fault = decodeBody(body, p); p.Fault == FaultNone {
		d.faults = 0
	} else if d.faults++; d.faults > maxFaults {
		return ProtocolError("too many bad packets in a row")
	}
	return nil
}

// decodeBody reads the body of a packet that is not PUBLISH. Flags of the fixed header and
// what follows the fields of MQTT 3.1.1, such as the reason codes of MQTT 5, are ignored.
func decodeBody(body []byte, p *Packet) Fault {
	switch p.Kind {
	case TypeConnack:
		return decodeConnack(body, p)
	case TypeSuback:
		return decodeSuback(body, p)
	case TypeUnsuback:
		return decodeUnsuback(body, p)
	case TypePuback, TypePubrec, TypePubrel, TypePubcomp:
		if len(body) < 2 {
			return faultShort
		}
		p.ID = uint16(body[0])<<8 | uint16(body[1])
	case TypeDisconnect:
		if len(body) > 0 {
			p.Code = body[0]
		}
	case TypePingresp:
	default:
		return faultType
	}
	return FaultNone
}

// header reads a fixed header, and with it says what comes next.
func (d *Decoder) header(p *Packet) error {
	first, n := byte(0), 0
	for shift := 0; ; shift += 7 {
		size := 2 + shift/7
		b, err := d.need(size)
		if err != nil {
			return err
		}
		n |= int(b[size-1]&0x7f) << shift
		if b[size-1] < 0x80 {
			first = b[0]
			d.r += size
			d.size, d.left = size+n, n
			break
		}
		if shift == 21 {
			return ProtocolError("the remaining length has more than four bytes")
		}
	}
	p.Kind = first >> 4
	if !d.begun && p.Kind != TypeConnack && p.Kind != TypeDisconnect {
		return ProtocolError("the first packet is not CONNACK")
	}
	d.begun = true
	if p.Kind == TypePublish {
		d.beginPublish(first, p)
		return nil
	}
	if n > maxControl {
		return ProtocolError("a packet of impossible length")
	}
	d.stage = atBody
	return nil
}

// beginPublish begins a PUBLISH (MQTT 3.1.1 section 3.3). DUP on QoS 0 is tolerated: it
// means nothing there. The identifier of one that cannot be delivered is read all the same
// where there is one, so that it can be acknowledged.
func (d *Decoder) beginPublish(first byte, p *Packet) {
	p.QoS = first >> 1 & 3
	p.Dup = first&flagDup != 0
	p.Retain = first&flagRetain != 0
	d.stage = atTopicLength
	switch {
	case p.QoS == 3:
		p.Fault, d.stage = faultQoS, atRest
	case d.left < 2+identifierLen(p):
		p.Fault, d.stage = faultShort, atRest
	}
}

// identifierLen is how many octets of a PUBLISH the packet identifier takes.
func identifierLen(p *Packet) int {
	if p.QoS > 0 {
		return 2
	}
	return 0
}

func (d *Decoder) topicLength(p *Packet) error {
	b, err := d.need(2)
	if err != nil {
		return err
	}
	n := int(b[0])<<8 | int(b[1])
	d.pass(2)
	if d.left < identifierLen(p)+n {
		p.Fault, d.stage = faultTopicLength, atRest
		return nil
	}
	d.part, d.got, d.stage = nil, n, atTopic // got: its length, for as long as there is no part
	if n > minBuffer {
		d.part, d.got = make([]byte, n), 0
	}
	return nil
}

// topic reads a topic, from the window if it fits into it.
func (d *Decoder) topic(p *Packet) error {
	if d.part == nil {
		b, err := d.need(d.got)
		if err != nil {
			return err
		}
		p.Topic = string(b)
		d.pass(len(b))
	} else {
		if err := d.fillPart(d.part); err != nil {
			return err
		}
		p.Topic, d.part = string(d.part), nil
	}
	if d.stage = atIdentifier; p.QoS == 0 {
		d.toPayload(p)
	}
	return nil
}

// toPayload comes to the payload of a PUBLISH, which is all that is left of it.
func (d *Decoder) toPayload(p *Packet) {
	d.stage = atRest
	switch {
	case p.QoS > 0 && p.ID == 0:
		p.Fault = faultIdentifier
	case !ValidTopic(p.Topic):
		p.Fault = faultTopic
	case d.left > d.maxPayload:
		p.Oversize = true
	default:
		p.Payload, d.got, d.stage = make([]byte, d.left), 0, atPayload
	}
}

// need returns a view of the next n bytes, valid until the next call; n is small.
func (d *Decoder) need(n int) ([]byte, error) {
	for d.w-d.r < n {
		if d.r > 0 && d.buf != nil && d.r+n > len(d.buf.B) {
			d.w = copy(d.buf.B, d.buf.B[d.r:d.w])
			d.r = 0
		}
		if err := d.fill(); err != nil {
			return nil, err
		}
	}
	if n == 0 {
		return nil, nil
	}
	return d.buf.B[d.r : d.r+n], nil
}

// Await returns when there is something to decode. A connection that is idle holds no
// buffer here, where the system allows that.
func (d *Decoder) Await() error {
	if d.r < d.w {
		return nil
	}
	return d.fill()
}

// Buffered reports whether something has been read that is not decoded.
func (d *Decoder) Buffered() bool { return d.r < d.w }

// Idle lets go of the buffer, if there is nothing in it.
func (d *Decoder) Idle() {
	if d.r == d.w && d.buf != nil {
		d.buf.Free()
		d.buf, d.r, d.w = nil, 0, 0
	}
}

// fill reads more. In the middle of a packet an end of the stream is unexpected,
// which makes no difference to anyone; io.EOF stays io.EOF.
func (d *Decoder) fill() error {
	if d.r == d.w {
		d.r, d.w = 0, 0
	}
	return d.src.wait(&d.window)
}

// pass goes past n bytes of the window.
func (d *Decoder) pass(n int) {
	d.r += n
	d.left -= n
}

// fillPart fills b, from which got octets on it is empty, from the window and then from the
// source directly.
func (d *Decoder) fillPart(b []byte) error {
	if d.buf != nil {
		n := copy(b[d.got:], d.buf.B[d.r:d.w])
		d.got += n
		d.pass(n)
	}
	for d.got < len(b) {
		n, err := d.src.Read(b[d.got:])
		d.got += n
		d.left -= n
		if err != nil && d.got < len(b) {
			return err
		}
	}
	return nil
}

// rest passes over what is left of a packet.
func (d *Decoder) rest() error {
	for {
		if d.pass(min(d.left, d.w-d.r)); d.left == 0 {
			d.stage = atHeader
			return nil
		}
		if err := d.fill(); err != nil {
			return err
		}
	}
}
