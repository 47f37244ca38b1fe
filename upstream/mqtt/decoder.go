package mqtt

import (
	"fmt"
	"io"
	"net"
)

// ProtocolError says what a broker sent that leaves no way to tell where the next packet
// begins, or that no connection begins with. It costs that connection.
type ProtocolError string

func (e ProtocolError) Error() string { return "upstream: protocol error: " + string(e) }

// Fault says what is wrong inside a packet whose end is known. It costs that packet. It
// is one byte because the stack of each reader holds packets.
type Fault uint8

// What may be wrong inside a packet.
const (
	FaultNone Fault = iota
	FaultSecondConnack
	faultType
	faultShort
	faultQoS
	faultTopicLength
	faultTopic
	faultIdentifier
)

var packetFaults = [...]string{
	FaultSecondConnack: "a second CONNACK",
	faultType:          "a packet type no server sends",
	faultShort:         "too short for its type",
	faultQoS:           "PUBLISH with QoS 3",
	faultTopicLength:   "PUBLISH is shorter than its topic",
	faultTopic:         "PUBLISH with an invalid topic",
	faultIdentifier:    "PUBLISH with packet identifier 0",
}

func (e Fault) Error() string { return "upstream: bad packet: " + packetFaults[e] }

// Disconnected is how a connection ends on which the broker has sent DISCONNECT. MQTT 3.1.1
// knows that of clients only, but brokers send it, some with the reason code of MQTT 5.
type Disconnected uint8

// CodeTakenOver is the reason code of MQTT 5 for a session that another connection has.
const CodeTakenOver = 0x8e

func (e Disconnected) Error() string {
	return fmt.Sprintf("upstream: the broker sent DISCONNECT with reason code 0x%02x", uint8(e))
}

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
type Decoder struct {
	window
	src        source
	maxPayload int
	faults     int  // bad packets in a row
	begun      bool // CONNACK has been read
}

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
// error ends the connection, one of the connection's own or a [ProtocolError].
func (d *Decoder) Next(p *Packet) (size int, err error) {
	*p = Packet{}
	first, n, header, err := d.header()
	if err != nil {
		return 0, err
	}
	p.Kind = first >> 4
	if !d.begun && p.Kind != TypeConnack && p.Kind != TypeDisconnect {
		return 0, ProtocolError("the first packet is not CONNACK")
	}
	d.begun = true
	if p.Kind == TypePublish {
		return header + n, d.publish(first, n, p)
	}
	if n > maxControl {
		return 0, ProtocolError("a packet of impossible length")
	}
	body, err := d.need(min(n, maxFields))
	if err != nil {
		return 0, err
	}
	d.r += len(body)
	if p.Fault = decodeBody(body, p); p.Fault == FaultNone {
		d.faults = 0
	} else if d.faults++; d.faults > maxFaults {
		return 0, ProtocolError("too many bad packets in a row")
	}
	return header + n, d.skip(n - len(body)) // which overwrites the body
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

// header reads a fixed header: the first byte, the remaining length and the length
// of the header itself.
func (d *Decoder) header() (first byte, remaining, size int, err error) {
	for shift := 0; ; shift += 7 {
		size = 2 + shift/7
		b, err := d.need(size)
		if err != nil {
			return 0, 0, 0, err
		}
		remaining |= int(b[size-1]&0x7f) << shift
		if b[size-1] < 0x80 {
			first = b[0]
			d.r += size
			return first, remaining, size, nil
		}
		if shift == 21 {
			return 0, 0, 0, ProtocolError("the remaining length has more than four bytes")
		}
	}
}

// publish reads the body of a PUBLISH of n bytes (MQTT 3.1.1 section 3.3). DUP on
// QoS 0 is tolerated: it means nothing there. The identifier of one that cannot be
// delivered is read all the same where there is one, so that it can be acknowledged.
func (d *Decoder) publish(first byte, n int, p *Packet) error {
	p.QoS = first >> 1 & 3
	p.Dup = first&flagDup != 0
	p.Retain = first&flagRetain != 0
	fixed := 2
	if p.QoS > 0 {
		fixed = 4
	}
	switch {
	case p.QoS == 3:
		p.Fault = faultQoS
		return d.skip(n)
	case n < fixed:
		p.Fault = faultShort
		return d.skip(n)
	}
	b, err := d.need(2)
	if err != nil {
		return err
	}
	topicLen := int(b[0])<<8 | int(b[1])
	d.r += 2
	if n < fixed+topicLen {
		p.Fault = faultTopicLength
		return d.skip(n - 2)
	}
	topic, err := d.take(topicLen)
	if err != nil {
		return err
	}
	p.Topic = string(topic)
	if p.QoS > 0 {
		if b, err = d.need(2); err != nil {
			return err
		}
		p.ID = uint16(b[0])<<8 | uint16(b[1])
		d.r += 2
	}
	n -= fixed + topicLen
	switch {
	case p.QoS > 0 && p.ID == 0:
		p.Fault = faultIdentifier
	case !ValidTopic(p.Topic):
		p.Fault = faultTopic
	case n > d.maxPayload:
		p.Oversize = true
	default:
		p.Payload = make([]byte, n)
		return d.readFull(p.Payload)
	}
	return d.skip(n)
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

// fill reads more. In the middle of a packet an end of the stream is unexpected,
// which makes no difference to anyone; io.EOF stays io.EOF.
func (d *Decoder) fill() error {
	if d.r == d.w {
		d.r, d.w = 0, 0
	}
	return d.src.wait(&d.window)
}

// take returns the next n bytes, from the window when they fit into it.
func (d *Decoder) take(n int) ([]byte, error) {
	if n <= minBuffer {
		b, err := d.need(n)
		d.r += len(b)
		return b, err
	}
	b := make([]byte, n)
	return b, d.readFull(b)
}

// readFull fills p from the window, then from the source directly.
func (d *Decoder) readFull(p []byte) error {
	if d.buf != nil {
		n := copy(p, d.buf.B[d.r:d.w])
		d.r += n
		p = p[n:]
	}
	if len(p) == 0 {
		return nil
	}
	_, err := io.ReadFull(d.src, p)
	return err
}

// skip passes over n bytes without keeping them.
func (d *Decoder) skip(n int) error {
	for {
		k := min(n, d.w-d.r)
		d.r += k
		if n -= k; n == 0 {
			return nil
		}
		if err := d.fill(); err != nil {
			return err
		}
	}
}

// plainSource reads a connection that cannot be waited on without a buffer, into a
// small one it keeps.
type plainSource struct {
	io.Reader
	own Buffer
}

func (s *plainSource) wait(w *window) error {
	if s.own.B == nil {
		s.own.B = make([]byte, minBuffer)
	}
	w.buf = &s.own
	n, err := s.Read(s.own.B[w.w:])
	w.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}
