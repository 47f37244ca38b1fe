package torture

import (
	"bytes"
	"context"
	"net"
	"slices"
	"sync"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream/upstreamtest"
)

// broker is an MQTT broker that does nothing by itself: the world says which connection reads a packet,
// which one writes, and which one ends.
type broker struct {
	w        *world
	sessions []*brokerSession
	conns    []*brokerConn // that are open, in order of dialling
	dials    int
	down     bool // connections are refused
	ill      byte // return code of CONNACK, 0: well

	mu     sync.Mutex
	dialed []*brokerConn // since the last look
}

// brokerConn is one connection.
type brokerConn struct {
	b        *broker
	number   int
	far      *upstreamtest.Conn
	s        *brokerSession // nil before CONNECT
	out      []packetOut    // to be written
	orphan   bool           // its client is dead
	accepted bool           // CONNACK was written
	rules    strict

	mu  sync.Mutex // guards the following
	in  []byte
	eof bool
}

// packetOut is a packet that waits to be written. written is called then, nil: nothing.
type packetOut struct {
	b       []byte
	what    string
	written func()
}

// dial is called by goroutines of the gateway.
func (b *broker) dial(ctx context.Context) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if b.down {
		return nil, upstreamtest.ErrDown
	}
	near, far := upstreamtest.Pipe(1 << 20)
	c := &brokerConn{b: b, far: far}
	c.rules.c = c
	b.dialed = append(b.dialed, c)
	go c.pump()
	return near, nil
}

// pump reads what the gateway writes, until the connection ends.
func (c *brokerConn) pump() {
	buf := make([]byte, 4096)
	for {
		n, err := c.far.Read(buf)
		c.mu.Lock()
		if !c.orphan {
			c.in = append(c.in, buf[:n]...)
		}
		c.eof = c.eof || err != nil
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// open returns the connections that are open.
func (b *broker) open() []*brokerConn {
	b.mu.Lock()
	defer b.mu.Unlock()
	// Those that were dialled at once by several goroutines are put in an order that every run has.
	slices.SortStableFunc(b.dialed, func(x, y *brokerConn) int { return bytes.Compare(x.first(), y.first()) })
	for _, c := range b.dialed {
		b.dials++
		c.number = b.dials
		b.conns = append(b.conns, c)
	}
	b.dialed = nil
	return b.conns
}

// first is what has come until now.
func (c *brokerConn) first() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in
}

// setDown refuses connections from now on, or takes them again.
func (b *broker) setDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

// orphan is the end of the process at the other side of all connections: nothing comes after what has come,
// and nobody reads.
func (b *broker) orphan() {
	for _, s := range b.sessions {
		s.young, s.fresh = s.young || s.fresh, false
	}
	for _, c := range b.open() {
		c.mu.Lock()
		c.orphan, c.eof = true, true
		c.mu.Unlock()
	}
}

func (c *brokerConn) who() string {
	switch {
	case c.s == nil:
		return "broker"
	case c.s.dev == nil:
		return "own"
	}
	return c.s.dev.id
}

func (c *brokerConn) note(format string, args ...any) { c.b.w.note(c.who(), format, args...) }

// next returns the next packet that has come whole, nil: there is none; ended reports that there will be no other.
func (c *brokerConn) next() (p packets.ControlPacket, ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := frame(c.in)
	if n == 0 {
		return nil, c.eof
	}
	p, err := packets.ReadPacket(bytes.NewReader(c.in[:n]))
	if err != nil {
		c.b.w.ledger.offend("mqtt", "% x: %v", c.in[:n], err)
	}
	c.in = c.in[n:]
	return p, false
}

// ready reports whether there is something to serve.
func (c *brokerConn) ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.eof || frame(c.in) > 0
}

// frame returns the length of the first packet, 0 if it is not complete.
func frame(b []byte) int {
	length, shift := 0, 0
	for i := 1; i < len(b) && i < 5; i++ {
		length |= int(b[i]&0x7F) << shift
		if shift += 7; b[i]&0x80 == 0 {
			if n := 1 + i + length; n <= len(b) {
				return n
			}
			return 0
		}
	}
	return 0
}

// serve takes the next packet. It reports whether there was one.
func (c *brokerConn) serve() bool {
	p, ended := c.next()
	switch {
	case p != nil:
		c.take(p)
	case ended:
		c.note("mqtt %d: the gateway has closed", c.number)
		c.end()
	default:
		return false
	}
	return true
}

// queue appends a packet to what is to be written.
func (c *brokerConn) queue(p packets.ControlPacket, written func()) {
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		c.b.w.t.Fatal(err)
	}
	c.out = append(c.out, packetOut{b: b.Bytes(), what: describePacket(p), written: written})
}

// write writes the next packet that waits, or only its first octets. It reports whether there was one.
func (c *brokerConn) write(part bool) bool {
	if len(c.out) == 0 {
		return false
	}
	p := c.out[0]
	c.out = c.out[1:]
	if c.orphan {
		return true
	}
	if part {
		c.note("mqtt %d: < half of %s", c.number, p.what)
		_, _ = c.far.Write(p.b[:len(p.b)/2]) // the gateway may have closed
		return true
	}
	c.note("mqtt %d: < %s", c.number, p.what)
	if _, err := c.far.Write(p.b); err == nil && p.written != nil {
		p.written()
	}
	return true
}

// ended reports whether the gateway has ended the connection.
func (c *brokerConn) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.eof
}

// end ends the connection; what waits in either direction is lost.
func (c *brokerConn) end() {
	c.b.open()
	c.b.conns = slices.DeleteFunc(c.b.conns, func(other *brokerConn) bool { return other == c })
	_ = c.far.Close()
	c.out = nil
	s := c.s
	if s == nil || s.conn != c {
		return
	}
	s.conn = nil
	if s.dev != nil {
		s.dev.disturb()
	}
	if s.clean {
		s.giveUp("its connection, which was clean, has ended")
	}
}

// cut ends the connection as brokers do that fail.
func (c *brokerConn) cut(disconnect bool) {
	if disconnect && c.s != nil && !c.orphan {
		c.note("mqtt %d: < DISCONNECT", c.number)
		_, _ = c.far.Write([]byte{0xE0, 0})
	}
	c.note("mqtt %d: the broker closes", c.number)
	c.end()
}
