package upstream

import (
	"io"
)

// protocolError says what a broker sent that MQTT 3.1.1 does not allow. It costs
// that connection.
type protocolError string

func (e protocolError) Error() string { return "upstream: protocol error: " + string(e) }

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
}

// bodyLen is the only remaining length each packet from a server can have, -1 for a
// packet a server may not send. PUBLISH is apart. A SUBACK answers one filter.
var bodyLen = [16]int{-1, -1, 2, -1, 2, 2, 2, 2, -1, 3, -1, 2, -1, 0, -1, -1}

// next reads one packet into p and returns its size on the wire in bytes.
func (d *decoder) next(p *packet) (size int, err error) {
	*p = packet{}
	first, n, header, err := d.header()
	if err != nil {
		return 0, err
	}
	p.kind = first >> 4
	if p.kind == typePublish {
		return header + n, d.publish(first, n, p)
	}
	switch {
	case bodyLen[p.kind] < 0:
		return 0, protocolError("a packet type no server sends")
	case n != bodyLen[p.kind]:
		return 0, protocolError("a packet of wrong length")
	case p.kind == typePubrel && first&0x0f != 2, p.kind != typePubrel && first&0x0f != 0:
		return 0, protocolError("reserved flags are set")
	}
	body, err := d.need(n)
	if err != nil {
		return 0, err
	}
	d.r += n
	return header + n, decodeBody(body, p)
}

func decodeBody(body []byte, p *packet) error {
	switch p.kind {
	case typeConnack:
		return decodeConnack(body, p)
	case typeSuback:
		return decodeSuback(body, p)
	case typeUnsuback:
		return decodeUnsuback(body, p)
	case typePingresp:
		return nil
	}
	p.id = uint16(body[0])<<8 | uint16(body[1])
	return nil
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
// QoS 0 is tolerated: it means nothing there.
func (d *decoder) publish(first byte, n int, p *packet) error {
	p.qos = first >> 1 & 3
	p.dup = first&flagDup != 0
	p.retain = first&flagRetain != 0
	if p.qos == 3 {
		return protocolError("PUBLISH with QoS 3")
	}
	fixed := 2
	if p.qos > 0 {
		fixed = 4
	}
	if n < fixed {
		return protocolError("PUBLISH is too short")
	}
	b, err := d.need(2)
	if err != nil {
		return err
	}
	topicLen := int(b[0])<<8 | int(b[1])
	d.r += 2
	if n < fixed+topicLen {
		return protocolError("PUBLISH is shorter than its topic")
	}
	topic, err := d.take(topicLen)
	if err != nil {
		return err
	}
	p.topic = string(topic)
	if !validTopic(p.topic) {
		return protocolError("PUBLISH with an invalid topic")
	}
	if p.qos > 0 {
		if b, err = d.need(2); err != nil {
			return err
		}
		p.id = uint16(b[0])<<8 | uint16(b[1])
		d.r += 2
		if p.id == 0 {
			return protocolError("PUBLISH with packet identifier 0")
		}
	}
	if n -= fixed + topicLen; n > d.maxPayload {
		p.oversize = true
		return d.skip(n)
	}
	p.payload = make([]byte, n)
	return d.readFull(p.payload)
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
