package websocket

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// unlimited is what below.left is when the answer to the upgrade has been read.
const unlimited = -1

// below is the connection below WebSocket, as the library uses it. It bounds what is read before
// the upgrade is done, and keeps the errors, of which the library tells only the words.
type below struct {
	net.Conn
	left     int                   // octets that may still be read
	readErr  error                 // of who reads
	writeErr atomic.Pointer[error] // the first
}

func (b *below) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.readErr = errTooLong
		return 0, errTooLong
	}
	if b.left > 0 {
		p = p[:min(len(p), b.left)]
	}
	n, err := b.Conn.Read(p)
	if b.left > 0 {
		b.left -= n
	}
	if err != nil {
		b.readErr = err
	}
	return n, err
}

func (b *below) Write(p []byte) (int, error) {
	n, err := b.Conn.Write(p)
	if err != nil {
		b.writeErr.CompareAndSwap(nil, &err)
	}
	return n, err
}

// conn is a WebSocket connection as a stream of octets: where its messages begin and end means
// nothing (MQTT 3.1.1 section 6). One goroutine may read while another one writes.
//
// It answers pings and a close frame when it is read. A broker whose messages are not read, as
// while a device is full, has no answer so long.
type conn struct {
	below below
	ws    *websocket.Conn
	stats *Stats

	// Of who reads.
	r   io.Reader // the rest of a message; nil: none is being read
	end error     // why nothing more can be read: the library must not be asked again
}

// answerTimeout is how long the answer to a ping may take to be written.
const answerTimeout = 10 * time.Second

func (c *conn) begin(ws *websocket.Conn) {
	c.ws = ws
	ws.SetPingHandler(func(data string) error {
		// If it fails, that shows in what is written next.
		_ = ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(answerTimeout))
		return nil
	})
}

// Read implements net.Conn. It takes of a message what fits into p, however long the message is.
func (c *conn) Read(p []byte) (n int, err error) {
	for n == 0 && len(p) > 0 && c.end == nil {
		if c.r == nil {
			c.r, c.end = c.message()
			continue
		}
		n, err = c.r.Read(p)
		switch {
		case err == io.EOF: // of the message
			c.r = nil
		case err != nil:
			c.end = c.readFault(err)
		}
	}
	if n == 0 {
		return 0, c.end
	}
	return n, nil
}

// message waits for the next one.
func (c *conn) message() (io.Reader, error) {
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return nil, c.readFault(err)
	}
	if kind != websocket.BinaryMessage {
		said := websocket.FormatCloseMessage(websocket.CloseUnsupportedData, "MQTT is binary")
		_ = c.ws.WriteControl(websocket.CloseMessage, said, time.Now().Add(answerTimeout))
		return nil, c.stats.count(&Fault{Reason: Protocol, text: "the broker has sent a text message; those of MQTT are binary"})
	}
	return r, nil
}

// Write implements net.Conn. After an error no more can be written.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, c.writeFault(err)
	}
	return len(p), nil
}

// Close implements net.Conn. It does not block, and so sends no close frame: what ends an MQTT
// session in good order is DISCONNECT, after which the broker closes.
func (c *conn) Close() error { return c.below.Close() }

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.below.LocalAddr() }

// RemoteAddr implements net.Conn. It is the proxy's if there is one.
func (c *conn) RemoteAddr() net.Addr { return c.below.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

// SetReadDeadline implements net.Conn. After a read has timed out no more can be read.
func (c *conn) SetReadDeadline(t time.Time) error { return c.ws.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn, for who writes.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.ws.SetWriteDeadline(t) }
