// Package websocket carries MQTT over WebSocket (RFC 6455; MQTT 3.1.1 section 6) to brokers that
// are reached so, and through HTTP proxies. It upgrades connections, makes of them a stream of
// octets, and says in plain words why an upgrade has failed.
//
// It waits for nobody: upstream/dial opens the connections, has TLS and the upgrade carried out
// within the time and the slot of the connect, and reads and writes what comes of them.
package websocket

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"
)

// Options configures a [WebSocket].
type Options struct {
	// Brokers are the URLs, ws or wss, of the brokers that are reached by WebSocket, by their
	// addresses, host:port each. The scheme says only which proxy is used and whether a port is
	// the usual one: TLS is for others to speak.
	Brokers map[string]*url.URL
	// Headers go into each request for an upgrade. What is in them is never shown.
	Headers http.Header
	// Proxies are those of the environment.
	Proxies Proxies
}

// Stats counts what a [WebSocket] does. Each field only grows, and may be read at any time.
type Stats struct {
	Upgrades atomic.Uint64              // that have succeeded
	Failures [reasonCount]atomic.Uint64 // by Reason
}

// WebSocket makes WebSocket connections of connections to brokers. It is safe for concurrent use.
type WebSocket struct {
	brokers map[string]broker // by address; it never changes
	headers http.Header
	stats   *Stats
	buffers sync.Pool // of the library: what a connection writes is put together in one
}

// broker is one that is reached by WebSocket.
type broker struct {
	url   string // as the library takes it
	path  string // of the URL, for messages
	proxy *proxy // nil: there is none
}

// Upgrade makes a WebSocket connection of nc, until ctx is done. It closes nc if it fails.
type Upgrade func(ctx context.Context, nc net.Conn) (net.Conn, error)

// Dial opens a connection.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// New returns a WebSocket that counts in stats. The error is a *ProxyError: the proxy of a broker
// cannot be used.
func New(o Options, stats *Stats) (*WebSocket, error) {
	w := &WebSocket{brokers: make(map[string]broker), headers: o.Headers, stats: stats}
	for address, u := range o.Brokers {
		p, err := o.Proxies.of(u)
		if err != nil {
			return nil, err
		}
		// Always as without TLS, which the library would speak itself.
		plain := url.URL{Scheme: "ws", Host: hostHeader(u), Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}
		w.brokers[address] = broker{url: plain.String(), path: u.EscapedPath(), proxy: p}
	}
	return w, nil
}

// hostHeader returns what the Host header says: the usual port of the scheme is left out.
func hostHeader(u *url.URL) string {
	host, _, _ := strings.Cut(u.Hostname(), "%") // the zone of an IPv6 address means nothing to others
	if port := u.Port(); port != "" && port != usualPort(u.Scheme) {
		return net.JoinHostPort(host, port)
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}

func usualPort(scheme string) string {
	if scheme == "wss" {
		return "443"
	}
	return "80"
}

// For returns the upgrade of connections to the broker at address, host:port; nil: that broker is
// not reached by WebSocket.
func (w *WebSocket) For(address string) Upgrade {
	b, ok := w.brokers[address]
	if !ok {
		return nil
	}
	return func(ctx context.Context, nc net.Conn) (net.Conn, error) { return w.upgrade(ctx, nc, b) }
}

const (
	// subprotocol is the one of MQTT (MQTT 3.1.1 section 6).
	subprotocol = "mqtt"
	// maxAnswer is how many octets the answer to an upgrade, or to CONNECT, may have.
	maxAnswer = 16 << 10
	// readBuffer is what a connection keeps for frame headers and small messages; larger ones are
	// read past it.
	readBuffer = 512
	// writeBuffer is the longest frame, in octets without its header: upstream/dial writes no
	// more at a time.
	writeBuffer = 16 << 10
)

// upgrade makes a WebSocket connection of nc.
func (w *WebSocket) upgrade(ctx context.Context, nc net.Conn, b broker) (net.Conn, error) {
	c := &conn{below: below{Conn: nc, left: maxAnswer}, stats: w.stats}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	dialer := websocket.Dialer{
		NetDialContext:  func(context.Context, string, string) (net.Conn, error) { return &c.below, nil },
		Subprotocols:    []string{subprotocol},
		ReadBufferSize:  readBuffer,
		WriteBufferSize: writeBuffer,
		WriteBufferPool: &w.buffers,
	}
	ws, answer, err := dialer.DialContext(ctx, b.url, w.headers)
	if err == nil {
		err = acceptable(answer)
	}
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		if ctx.Err() != nil { // nobody waits for it any more
			return nil, err
		}
		return nil, w.stats.count(c.refusal(err, answer, b.path))
	}
	c.below.left = unlimited
	c.begin(ws)
	w.stats.Upgrades.Add(1)
	return c, nil
}

// acceptable looks at what the library does not: that the broker has chosen what was offered.
func acceptable(answer *http.Response) error {
	if len(answer.Header.Values("Sec-WebSocket-Extensions")) > 0 {
		return &Fault{Reason: NotWebSocket, text: "the broker uses an extension that was not offered"}
	}
	switch chosen := answer.Header.Get("Sec-WebSocket-Protocol"); chosen {
	case subprotocol:
		return nil
	case "":
		return &Fault{Reason: Subprotocol, text: `the broker does not choose the subprotocol "mqtt"; does it speak MQTT at this path?`}
	default:
		return &Fault{Reason: Subprotocol, text: "the broker chooses the subprotocol " + quote(chosen) + `, not "mqtt"`}
	}
}

var errTooLong = errors.New("the answer is too long")
