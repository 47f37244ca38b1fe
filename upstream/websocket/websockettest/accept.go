// Package websockettest is the broker's side of WebSocket, for tests.
package websockettest

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/gorilla/websocket"
)

// Conn is a broker's end as a stream of octets: each Write is a message. Frames is for what else
// may be sent.
type Conn struct {
	net.Conn
	Frames *websocket.Conn
	r      io.Reader
}

// Accept answers the request for an upgrade that comes on nc.
func Accept(nc net.Conn) (*Conn, error) {
	r := bufio.NewReader(nc)
	req, err := http.ReadRequest(r)
	if err != nil {
		return nil, err
	}
	upgrader := websocket.Upgrader{Subprotocols: []string{"mqtt"}, CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := upgrader.Upgrade(&answer{nc: nc, rw: bufio.NewReadWriter(r, bufio.NewWriter(nc)), header: make(http.Header)}, req, nil)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: nc, Frames: ws}, nil
}

func (c *Conn) Read(p []byte) (n int, err error) {
	for n == 0 && err == nil {
		if c.r == nil {
			if _, c.r, err = c.Frames.NextReader(); err != nil {
				return 0, err
			}
		}
		if n, err = c.r.Read(p); err == io.EOF {
			c.r, err = nil, nil
		}
	}
	return n, err
}

func (c *Conn) Write(p []byte) (int, error) {
	return len(p), c.Frames.WriteMessage(websocket.BinaryMessage, p)
}

// answer is an http.ResponseWriter that gives the connection away.
type answer struct {
	nc     net.Conn
	rw     *bufio.ReadWriter
	header http.Header
}

func (a *answer) Header() http.Header                          { return a.header }
func (a *answer) Write(p []byte) (int, error)                  { return a.nc.Write(p) }
func (a *answer) WriteHeader(int)                              {}
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) { return a.nc, a.rw, nil }
