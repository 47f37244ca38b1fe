package upstreamtest

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Listener is the far end of Options.Dial for a test that plays the broker itself.
type Listener struct {
	Addresses chan string // of each dial, as the dialer passed it
	conns     chan *Conn
	size      int
}

// NewListener returns a Listener whose connections buffer size bytes (0: 64 KiB).
func NewListener(size int) *Listener {
	return &Listener{Addresses: make(chan string, 1024), conns: make(chan *Conn, 1024), size: size}
}

// Dial is for upstream.Options.
func (l *Listener) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	near, far := Pipe(l.size)
	select {
	case l.Addresses <- address:
	default: // nobody reads them
	}
	select {
	case l.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for the next dial and returns the broker's end of it.
func (l *Listener) Accept(t testing.TB) *Peer { return &Peer{T: t, Conn: <-l.conns} }

// Dialled returns how many dials wait for Accept.
func (l *Listener) Dialled() int { return len(l.conns) }

// Peer plays the broker on one connection. Its methods fail the test when something
// else happens than they say.
type Peer struct {
	T    testing.TB
	Conn *Conn
}

// Read returns the next packet.
func (p *Peer) Read() packets.ControlPacket {
	p.T.Helper()
	cp, err := packets.ReadPacket(p.Conn)
	if err != nil {
		p.T.Fatalf("broker: reading a packet: %v", err)
	}
	return cp
}

// Want reads the next packet and checks its type by its text in packets.String.
func Want[P packets.ControlPacket](p *Peer, why string) P {
	p.T.Helper()
	cp := p.Read()
	want, ok := cp.(P)
	if !ok {
		p.T.Fatalf("broker: %s: got %T %v, want %T", why, cp, cp, want)
	}
	return want
}

// WantQuiet checks that nothing has arrived.
func (p *Peer) WantQuiet(why string) {
	p.T.Helper()
	if n := p.Conn.Buffered(); n > 0 {
		p.T.Fatalf("broker: %s: got %v", why, p.Read())
	}
}

// WantEOF checks that the connection ends without another packet.
func (p *Peer) WantEOF(why string) {
	p.T.Helper()
	if cp, err := packets.ReadPacket(p.Conn); err == nil {
		p.T.Fatalf("broker: %s: got %v", why, cp)
	}
}

// Send writes a packet.
func (p *Peer) Send(cp packets.ControlPacket) {
	p.T.Helper()
	var b bytes.Buffer
	if err := cp.Write(&b); err != nil {
		p.T.Fatalf("broker: encoding %v: %v", cp, err)
	}
	p.SendRaw(b.Bytes()...)
}

// SendRaw writes bytes.
func (p *Peer) SendRaw(b ...byte) {
	p.T.Helper()
	if _, err := p.Conn.Write(b); err != nil {
		p.T.Fatalf("broker: writing: %v", err)
	}
}

// Accept reads CONNECT and accepts it.
func (p *Peer) Accept(present bool) *packets.ConnectPacket {
	p.T.Helper()
	c := Want[*packets.ConnectPacket](p, "a new connection begins with CONNECT")
	ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	ack.SessionPresent = present
	p.Send(ack)
	return c
}

// Publish writes a PUBLISH.
func (p *Peer) Publish(topic, payload string, qos byte, id uint16, dup bool) {
	p.T.Helper()
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.TopicName, m.Payload, m.Qos, m.MessageID, m.Dup = topic, []byte(payload), qos, id, dup
	p.Send(m)
}
