package upstream

import (
	"fmt"
	"io"
)

// protocolError says what a broker sent that leaves no way to tell where the next packet
// begins, or that no connection begins with. It costs that connection.
type protocolError string

func (e protocolError) Error() string { return "upstream: protocol error: " + string(e) }

// packetFault says what is wrong inside a packet whose end is known. It costs that packet. It
// is one byte because the stack of each reader holds packets.
type packetFault uint8

const (
	faultNone packetFault = iota
	faultType
	faultSecondConnack
	faultShort
	faultQoS
	faultTopicLength
	faultTopic
	faultIdentifier
)

var packetFaults = [...]string{
	faultType:          "a packet type no server sends",
	faultSecondConnack: "a second CONNACK",
	faultShort:         "too short for its type",
	faultQoS:           "PUBLISH with QoS 3",
	faultTopicLength:   "PUBLISH is shorter than its topic",
	faultTopic:         "PUBLISH with an invalid topic",
	faultIdentifier:    "PUBLISH with packet identifier 0",
}

func (e packetFault) Error() string { return "upstream: bad packet: " + packetFaults[e] }

// disconnected is how a connection ends on which the broker has sent DISCONNECT. MQTT 3.1.1
// knows that of clients only, but brokers send it, some with the reason code of MQTT 5.
type disconnected uint8

// codeTakenOver is the reason code of MQTT 5 for a session that another connection has.
const codeTakenOver = 0x8e

func (e disconnected) Error() string {
	return fmt.Sprintf("upstream: the broker sent DISCONNECT with reason code 0x%02x", uint8(e))
}

// window is the part of a connection's byte stream that has been read and not yet
// decoded: buf.b[r:w]. buf is nil while nothing is buffered and the source takes its
// buffers from the pool.
type window struct {
	buf  *buffer
	r, w int
}

// source reads a connection. Its wait adds at least one byte behind w.w, or fails;
// Read is for the long payloads that pass the window by.
type source interface {
	io.Reader
	wait(w *window) error
}

// decoder cuts a byte stream into packets. It allocates for a packet only what the
// packet is allowed to hold, and checks everything before use.
type decoder struct {
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

// next reads one packet into p and returns its size on the wire in bytes. What is wrong
// inside a packet is left in p.fault, and so are packets that have no meaning here: only an
// error ends the connection.
func (d *decoder) next(p *packet) (size int, err error) {
	*p = packet{}
	first, n, header, err := d.header()
	if err != nil {
		return 0, err
	}
	p.kind = first >> 4
	if !d.begun && p.kind != typeConnack && p.kind != typeDisconnect {
		return 0, protocolError("the first packet is not CONNACK")
	}
	d.begun = true
	if p.kind == typePublish {
		return header + n, d.publish(first, n, p)
	}
	if n > maxControl {
		return 0, protocolError("a packet of impossible length")
	}
	body, err := d.need(min(n, maxFields))
	if err != nil {
		return 0, err
	}
	d.r += len(body)
	if p.fault = decodeBody(body, p); p.fault == faultNone {
		d.faults = 0
	} else if d.faults++; d.faults > maxFaults {
		return 0, protocolError("too many bad packets in a row")
	}
	return header + n, d.skip(n - len(body)) // which overwrites the body
}

// decodeBody reads the body of a packet that is not PUBLISH. Flags of the fixed header and
// what follows the fields of MQTT 3.1.1, such as the reason codes of MQTT 5, are ignored.
func decodeBody(body []byte, p *packet) packetFault {
	switch p.kind {
	case typeConnack:
		return decodeConnack(body, p)
	case typeSuback:
		return decodeSuback(body, p)
	case typeUnsuback:
		return decodeUnsuback(body, p)
	case typePuback, typePubrec, typePubrel, typePubcomp:
		if len(body) < 2 {
			return faultShort
		}
		p.id = uint16(body[0])<<8 | uint16(body[1])
	case typeDisconnect:
		if len(body) > 0 {
			p.code = body[0]
		}
	case typePingresp:
	default:
		return faultType
	}
	return faultNone
}

// header reads a fixed header: the first byte, the remaining length and the length
// of the header itself.
func (d *decoder) header() (first byte, remaining, size int, err error) {
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
			return 0, 0, 0, protocolError("the remaining length has more than four bytes")
		}
	}
}

// publish reads the body of a PUBLISH of n bytes (MQTT 3.1.1 section 3.3). DUP on
// QoS 0 is tolerated: it means nothing there. The identifier of one that cannot be
// delivered is read all the same where there is one, so that it can be acknowledged.
func (d *decoder) publish(first byte, n int, p *packet) error {
	p.qos = first >> 1 & 3
	p.dup = first&flagDup != 0
	p.retain = first&flagRetain != 0
	fixed := 2
	if p.qos > 0 {
		fixed = 4
	}
	switch {
	case p.qos == 3:
		p.fault = faultQoS
		return d.skip(n)
	case n < fixed:
		p.fault = faultShort
		return d.skip(n)
	}
	b, err := d.need(2)
	if err != nil {
		return err
	}
	topicLen := int(b[0])<<8 | int(b[1])
	d.r += 2
	if n < fixed+topicLen {
		p.fault = faultTopicLength
		return d.skip(n - 2)
	}
	topic, err := d.take(topicLen)
	if err != nil {
		return err
	}
	p.topic = string(topic)
	if p.qos > 0 {
		if b, err = d.need(2); err != nil {
			return err
		}
		p.id = uint16(b[0])<<8 | uint16(b[1])
		d.r += 2
	}
	n -= fixed + topicLen
	switch {
	case p.qos > 0 && p.id == 0:
		p.fault = faultIdentifier
	case !validTopic(p.topic):
		p.fault = faultTopic
	case n > d.maxPayload:
		p.oversize = true
	default:
		p.payload = make([]byte, n)
		return d.readFull(p.payload)
	}
	return d.skip(n)
}

// need returns a view of the next n bytes, valid until the next call; n is small.
func (d *decoder) need(n int) ([]byte, error) {
	for d.w-d.r < n {
		if d.r > 0 && d.buf != nil && d.r+n > len(d.buf.b) {
			d.w = copy(d.buf.b, d.buf.b[d.r:d.w])
			d.r = 0
		}
		if err := d.fill(); err != nil {
			return nil, err
		}
	}
	if n == 0 {
		return nil, nil
	}
	return d.buf.b[d.r : d.r+n], nil
}

// await returns when there is something to decode.
func (d *decoder) await() error {
	if d.r < d.w {
		return nil
	}
	return d.fill()
}

// fill reads more. In the middle of a packet an end of the stream is unexpected,
// which makes no difference to anyone; io.EOF stays io.EOF.
func (d *decoder) fill() error {
	if d.r == d.w {
		d.r, d.w = 0, 0
	}
	return d.src.wait(&d.window)
}

// take returns the next n bytes, from the window when they fit into it.
func (d *decoder) take(n int) ([]byte, error) {
	if n <= minBuffer {
		b, err := d.need(n)
		d.r += len(b)
		return b, err
	}
	b := make([]byte, n)
	return b, d.readFull(b)
}

// readFull fills p from the window, then from the source directly.
func (d *decoder) readFull(p []byte) error {
	if d.buf != nil {
		n := copy(p, d.buf.b[d.r:d.w])
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
func (d *decoder) skip(n int) error {
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
	own buffer
}

func (s *plainSource) wait(w *window) error {
	if s.own.b == nil {
		s.own.b = make([]byte, minBuffer)
	}
	w.buf = &s.own
	n, err := s.Read(s.own.b[w.w:])
	w.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}
