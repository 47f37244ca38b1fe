package hub

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"sngate/upstream/websocket/websockettest"
)

const (
	// maxUnsent is how many packets wait for a client that does not read.
	maxUnsent = 1024
	// endTime is how long what a client sent before its next CONNECT, such as DISCONNECT, may
	// take to arrive, as the two come over different connections.
	endTime   = 200 * time.Millisecond
	writeTime = 10 * time.Second
)

// conn is one connection. Its goroutine reads; another one writes.
type conn struct {
	h      *Hub
	raw    net.Conn // without TLS; anybody may close it
	nc     net.Conn
	out    chan []byte
	done   chan struct{} // closed when it has ended
	secure bool
	name   string // of the client's certificate

	// Since CONNECT; only the goroutine that reads changes it.
	clientID  string
	who       identity
	session   *session
	keepAlive time.Duration
	will      *Message
	left      bool        // by DISCONNECT
	published []time.Time // the latest, of which there may be PublishRate in a second
	expiry    *time.Timer
}

func newConn(h *Hub, nc net.Conn) *conn {
	return &conn{h: h, raw: nc, nc: nc, out: make(chan []byte, maxUnsent), done: make(chan struct{})}
}

// serve reads until the connection ends.
func (c *conn) serve() {
	if v := c.run(); v != nil {
		v.ClientID = c.clientID
		c.h.note(*v)
	}
	c.nc.Close()
	if c.expiry != nil {
		c.expiry.Stop()
	}
	h := c.h
	h.mu.Lock()
	delete(h.open, c)
	if c.session != nil {
		h.leave(c)
	}
	h.mu.Unlock()
	close(c.done)
}

// run serves the connection, and returns the rule that ends it; nil: none.
func (c *conn) run() *Violation {
	if err := c.nc.SetDeadline(time.Now().Add(connectTime)); err != nil {
		return nil
	}
	if v, ok := c.handshake(); !ok {
		return v
	}
	if c.h.o.WebSocket {
		ws, err := websockettest.Accept(c.nc)
		if err != nil {
			return &Violation{Rule: RuleProtocol, Detail: err.Error()}
		}
		c.nc = ws
	}
	p, v := c.read()
	if p == nil {
		return v
	}
	connect, ok := p.(*packets.ConnectPacket)
	if !ok {
		return &Violation{Rule: RuleProtocol, Detail: "the first packet is no CONNECT"}
	}
	if v := c.connect(connect); v != nil {
		if code := refusals[v.Rule]; code != 0 {
			ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
			ack.ReturnCode = code
			_ = ack.Write(c.nc) // it is closed anyway
		}
		return v
	}
	_ = c.nc.SetDeadline(time.Time{})
	c.h.wg.Go(c.write)
	for {
		if c.keepAlive > 0 {
			_ = c.nc.SetReadDeadline(time.Now().Add(c.keepAlive * 3 / 2))
		}
		p, v := c.read()
		if p == nil {
			return v
		}
		if v := c.packet(p); v != nil || c.left {
			return v
		}
	}
}

// refusals are the return codes of CONNACK where a rule has one; where it has none the hub just
// closes.
var refusals = map[Rule]byte{RuleClientID: 2, RuleUsername: 4, RuleSignature: 4, RuleExpired: 5}

// handshake begins TLS, where there is any.
func (c *conn) handshake() (*Violation, bool) {
	if c.h.tls == nil {
		if c.h.rules.Plain {
			return nil, true
		}
		return &Violation{Rule: RuleTLS, Detail: "the hub has no certificate"}, false
	}
	secure := tls.Server(c.raw, c.h.tls)
	err := secure.Handshake()
	var plain tls.RecordHeaderError
	var unknown *tls.CertificateVerificationError
	switch {
	case errors.As(err, &plain):
		return &Violation{Rule: RuleTLS, Detail: "what came is not TLS"}, false
	case errors.As(err, &unknown):
		return &Violation{Rule: RuleCertificate, Detail: err.Error()}, false
	case err != nil:
		return nil, false
	}
	if list := secure.ConnectionState().PeerCertificates; len(list) > 0 {
		c.name = list[0].Subject.CommonName
	}
	c.nc, c.secure = secure, true
	return nil, true
}

// read returns the next packet, or none and why, if a rule was broken.
func (c *conn) read() (packets.ControlPacket, *Violation) {
	var header [1]byte
	if _, err := io.ReadFull(c.nc, header[:]); err != nil {
		return nil, c.readFault(err)
	}
	size := 0
	for shift := 0; ; shift += 7 {
		var b [1]byte
		if _, err := io.ReadFull(c.nc, b[:]); err != nil {
			return nil, c.readFault(err)
		}
		size |= int(b[0]&0x7f) << shift
		if b[0]&0x80 == 0 {
			break
		}
		if shift == 21 {
			return nil, &Violation{Rule: RuleProtocol, Detail: "a length of more than four octets"}
		}
	}
	if size > maxPacket {
		return nil, &Violation{Rule: RuleProtocol, Detail: fmt.Sprintf("a packet of %d octets", size)}
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.nc, body); err != nil {
		return nil, c.readFault(err)
	}
	first := header[0]
	p, err := packets.NewControlPacketWithHeader(packets.FixedHeader{
		MessageType: first >> 4, Dup: first&8 != 0, Qos: first >> 1 & 3, Retain: first&1 != 0, RemainingLength: size,
	})
	if err == nil {
		err = p.Unpack(bytes.NewBuffer(body)) // a bytes.Reader ends too early for this codec
	}
	if err != nil {
		return nil, &Violation{Rule: RuleProtocol, Detail: err.Error()}
	}
	return p, nil
}

// readFault says whether the end of a connection breaks a rule.
func (c *conn) readFault(err error) *Violation {
	if errors.Is(err, os.ErrDeadlineExceeded) && c.session != nil {
		return &Violation{Rule: RuleSilence, Detail: fmt.Sprintf("nothing for one and a half of %v", c.keepAlive)}
	}
	return nil
}

// send gives a packet to the goroutine that writes, with the lock of the hub.
func (c *conn) send(p packets.ControlPacket) {
	var b bytes.Buffer
	_ = p.Write(&b) // a bytes.Buffer does not fail
	select {
	case c.out <- b.Bytes():
	default:
		if len(c.h.broken) < maxViolations {
			c.h.broken = append(c.h.broken, Violation{c.clientID, RuleSlow, "too many packets wait for it"})
		}
		c.raw.Close()
	}
}

func (c *conn) write() {
	for {
		select {
		case b := <-c.out:
			_ = c.nc.SetWriteDeadline(time.Now().Add(writeTime))
			if _, err := c.nc.Write(b); err != nil {
				c.raw.Close()
				return
			}
		case <-c.done:
			return
		}
	}
}
