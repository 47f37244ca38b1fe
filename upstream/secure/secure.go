// Package secure speaks TLS with brokers: it reads the files of certificates and keys, and
// again when they change, presents each client's certificate, verifies the broker's, resumes
// TLS sessions, and says in plain words why a handshake has failed.
//
// It opens no connection and waits for nobody: upstream/dial asks it for a handshake before it
// dials, and carries that out within the time and the slot of the connect.
package secure

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sngate/internal/secretfile"
)

// Options configures a [TLS].
type Options struct {
	// Brokers are the addresses, host:port each, of the brokers that speak TLS.
	Brokers []string
	// ServerName is the name that is sent to brokers (SNI) and that their certificates have to
	// have among their subject alternative names. "": the host of the broker's address.
	ServerName string
	// CAFile has the certificates (PEM) of those who may sign a broker's. "": the system's.
	CAFile string
	// Files returns the paths of the files (PEM) that have the certificate of a client, with the
	// chain behind it, and its private key; both "": it presents none. An error says why it has no
	// certificate, and cannot connect therefore. It is asked for each connect, and must not block.
	// nil: nobody presents any.
	Files func(client string) (certFile, keyFile string, err error)
	// Loaded is the directory where systemd puts what it loads for this service (LoadCredential=);
	// see secretfile.Locate and ReadPair. "": there is none.
	Loaded string
	// ALPN are the application protocols that are offered, the preferred one first.
	ALPN []string
	// OverHTTP are those of Brokers that are spoken to by HTTP, as for WebSocket: they are
	// offered "http/1.1", and not ALPN.
	OverHTTP []string
	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13.
	MinVersion uint16
	// MaxClients is of how many clients with a certificate of their own the TLS sessions are
	// kept, at least 1: those that have connected last.
	MaxClients int
	// Changed is called when a file has changed: with nil, what it has now is used from the
	// next connect on; with an error, what it had before stays in use. It is called once for
	// each change, from the goroutines of connects, and must not block. nil: nobody is told.
	Changed func(path string, err error)
}

// Stats counts what a [TLS] does. Each field only grows, and may be read at any time.
type Stats struct {
	Full     atomic.Uint64              // handshakes with certificates
	Resumed  atomic.Uint64              // handshakes that have resumed a TLS session
	Failures [reasonCount]atomic.Uint64 // by Reason
	BadFiles atomic.Uint64              // changes of files that could not be used
}

// TLS makes TLS connections of connections to brokers. It is safe for concurrent use.
type TLS struct {
	opt   Options
	stats *Stats

	roots    authorities
	mu       sync.Mutex                  // guards what follows; no file is read while it is held
	ids      recent[[2]string, *known]   // by the paths of certificate and key, up to maxIdentities
	sessions recent[[2]string, sessions] // by the same, up to Options.MaxClients
}

// Handshake makes a TLS connection of nc, until ctx is done. It closes nc if it fails.
type Handshake func(ctx context.Context, nc net.Conn) (net.Conn, error)

// New returns a TLS that counts in stats, and reads the authorities. The error is a *FileError.
func New(o Options, stats *Stats) (*TLS, error) {
	o.CAFile, _ = secretfile.Locate(o.CAFile, o.Loaded)
	t := &TLS{opt: o, stats: stats, ids: newRecent[[2]string, *known](maxIdentities), sessions: newRecent[[2]string, sessions](max(o.MaxClients, 1))}
	if len(o.Brokers) == 0 || o.CAFile == "" {
		return t, nil
	}
	t.roots.files = watch(time.Now(), o.CAFile)
	var err error
	if t.roots.pool, err = ReadAuthorities(o.CAFile); err != nil {
		return nil, err
	}
	return t, nil
}

// For returns the handshake of a client's next connection to the broker at address, host:port;
// nil: that broker does not speak TLS. The error says why the client cannot connect at all, as
// when it has no certificate.
func (t *TLS) For(address, client string) (Handshake, error) {
	if !slices.Contains(t.opt.Brokers, address) {
		return nil, nil
	}
	id, err := t.identity(client)
	if err != nil {
		var f *FileError
		if errors.As(err, &f) {
			t.stats.Failures[f.Reason].Add(1)
		}
		return nil, err
	}
	name := t.opt.ServerName
	if name == "" {
		name = hostOf(address)
	}
	alpn := t.opt.ALPN
	if slices.Contains(t.opt.OverHTTP, address) {
		alpn = []string{"http/1.1"}
	}
	return func(ctx context.Context, nc net.Conn) (net.Conn, error) { return t.handshake(ctx, nc, name, alpn, id) }, nil
}

// hostOf returns the host of an address without the zone of an IPv6 address, which means
// nothing to others.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	host, _, _ = strings.Cut(host, "%")
	return host
}

// handshake makes a TLS connection of nc as id.
func (t *TLS) handshake(ctx context.Context, nc net.Conn, name string, alpn []string, id *identity) (net.Conn, error) {
	c := &conn{nc: nc, name: name, alpn: alpn, id: id, opt: &t.opt, stats: t.stats}
	c.Conn = tls.Client(nc, &tls.Config{
		ServerName:         name,
		RootCAs:            id.roots,
		ClientSessionCache: id.sessions,
		NextProtos:         alpn,
		MinVersion:         t.opt.MinVersion,
		// Not Certificates: of those crypto/tls presents only what the broker says it takes,
		// and a broker that misses one says less than one that refuses one.
		GetClientCertificate: c.certificate,
	})
	if err := c.HandshakeContext(ctx); err != nil {
		nc.Close()
		if ctx.Err() != nil { // nobody waits for it any more
			return nil, err
		}
		return nil, c.fault(err)
	}
	if c.ConnectionState().DidResume {
		t.stats.Resumed.Add(1)
	} else {
		t.stats.Full.Add(1)
	}
	return c, nil
}
