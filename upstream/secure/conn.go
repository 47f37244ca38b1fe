package secure

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// conn is a TLS connection that says why it fails. A certificate that the broker does not take
// shows in TLS 1.3 only in what is read first.
type conn struct {
	*tls.Conn
	nc    net.Conn
	name  string // that the broker's certificate has to have
	alpn  []string
	id    *identity
	opt   *Options
	stats *Stats

	asked bool        // the broker has asked for a certificate
	heard atomic.Bool // something has been read; until then one goroutine alone reads and writes
}

// certificate answers a broker that asks for a certificate.
func (c *conn) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c.asked = true
	if c.id.cert == nil {
		return new(tls.Certificate), nil
	}
	return c.id.cert, nil
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	switch heard := c.heard.Load(); {
	case !heard && n > 0:
		c.heard.Store(true)
	case !heard && err != nil && c.refused(err):
		err = c.fault(err)
	}
	return n, err
}

// Write implements net.Conn. The broker may have closed before anything is written: then what it
// has said is still to be read.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil || c.heard.Load() || !closedByPeer(err) {
		return n, err
	}
	_, said := c.Conn.Read(make([]byte, 1))
	if _, ok := alertOf(said); ok {
		return n, c.fault(said)
	}
	if c.asked {
		return n, c.fault(err)
	}
	return n, err
}

// refused reports whether err, before anything has been read, is how the broker ends a handshake
// that is over for this side. A broker that only closes may have other reasons, unless it has
// asked for a certificate that there is not.
func (c *conn) refused(err error) bool {
	if _, ok := alertOf(err); ok {
		return true
	}
	return c.asked && c.id.cert == nil && closedByPeer(err)
}

// Resumable says to upstream/dial that the connection below may report a temporary error where
// nothing has come: it goes on after that.
func (c *conn) Resumable() {}

// Close implements net.Conn. It does not block, as that of tls.Conn may for seconds, with a
// broker that reads nothing: what ends an MQTT session in good order is DISCONNECT, after which
// the broker closes.
func (c *conn) Close() error { return c.nc.Close() }

// closedByPeer reports whether err is the end of a connection that the broker has closed.
func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) || isReset(err)
}
