package secure_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"sngate/upstream/secure"
	"sngate/upstream/secure/securetest"
	"sngate/upstream/upstreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const broker = "mqtt.example:8883"

// site is a broker's authority and configuration, and the files of a gateway.
type site struct {
	t     *testing.T
	ca    *securetest.CA
	dir   string
	opt   secure.Options
	stats secure.Stats
	tls   *secure.TLS
	peer  *tls.Config // of the broker
	quick bool        // the broker has closed before the client writes
	seen  string      // the common name that the broker has seen last; "" without a certificate
}

// newSite returns a site with a broker that is trusted.
func newSite(t *testing.T) *site {
	s := &site{t: t, ca: securetest.NewCA(t, "site ca"), dir: t.TempDir()}
	s.ca.Write(t, s.at("ca.pem"))
	s.opt = secure.Options{Brokers: []string{broker}, CAFile: s.at("ca.pem"), MinVersion: tls.VersionTLS12, MaxClients: 10000}
	s.peer = &tls.Config{Certificates: []tls.Certificate{s.issue("broker", "mqtt.example")}, ClientCAs: s.ca.Pool()}
	return s
}

func (s *site) at(name string) string { return filepath.Join(s.dir, name) }

func (s *site) issue(name string, dns ...string) tls.Certificate {
	s.t.Helper()
	return s.ca.Issue(s.t, securetest.Certificate{Name: name, DNS: dns}).TLS(s.t)
}

// client writes a client certificate to files.
func (s *site) client(name, file string) {
	s.t.Helper()
	s.ca.Issue(s.t, securetest.Certificate{Name: name}).Write(s.t, s.at(file+".pem"), s.at(file+".key"))
}

func (s *site) start() {
	s.t.Helper()
	var err error
	if s.tls, err = secure.New(s.opt, &s.stats); err != nil {
		s.t.Fatal(err)
	}
}

// connect makes a connection of a client, over which one octet goes each way.
func (s *site) connect(client string) (resumed bool, err error) {
	s.t.Helper()
	if s.tls == nil {
		s.start()
	}
	handshake, err := s.tls.For(s.opt.Brokers[0], client)
	if err != nil {
		return false, err
	}
	a, b := upstreamtest.Pipe(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve(b)
	}()
	defer func() { <-done }()
	defer a.Close()
	nc, err := handshake(s.t.Context(), a)
	if err != nil {
		return false, err
	}
	defer nc.Close()
	if s.quick {
		<-done
	}
	if _, err = nc.Write([]byte{1}); err != nil {
		return false, err
	}
	_, err = nc.Read(make([]byte, 1))
	return nc.(interface{ ConnectionState() tls.ConnectionState }).ConnectionState().DidResume, err
}

// serve is the broker for one connection.
func (s *site) serve(b net.Conn) {
	defer b.Close()
	peer := tls.Server(b, s.peer)
	if peer.Handshake() != nil {
		return
	}
	s.seen = ""
	if chain := peer.ConnectionState().PeerCertificates; len(chain) > 0 {
		s.seen = chain[0].Subject.CommonName
	}
	if _, err := peer.Read(make([]byte, 1)); err == nil {
		_, _ = peer.Write([]byte{2})
	}
}

// must connects, and wants the broker to see a client certificate with this name.
func (s *site) must(client, seen string, resumed bool) {
	s.t.Helper()
	got, err := s.connect(client)
	if err != nil {
		s.t.Fatalf("%s: %v", client, err)
	}
	if got != resumed || s.seen != seen {
		s.t.Errorf("%s: resumed %v, the broker sees %q; want %v and %q", client, got, s.seen, resumed, seen)
	}
}

// wantFault connects, and wants a fault for this reason that says these texts.
func (s *site) wantFault(client string, reason secure.Reason, texts ...string) {
	s.t.Helper()
	before := s.stats.Failures[reason].Load()
	_, err := s.connect(client)
	var f *secure.Fault
	if !errors.As(err, &f) || f.Reason != reason {
		s.t.Fatalf("%v, want a fault for reason %v", err, reason)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			s.t.Errorf("%q does not say %q", err, text)
		}
	}
	if n := s.stats.Failures[reason].Load() - before; n != 1 {
		s.t.Errorf("%v is counted %d times", reason, n)
	}
}

// answer is a broker that is none: it answers the first octets with raw ones, and closes.
func (s *site) answer(raw string) error {
	s.t.Helper()
	s.start()
	handshake, err := s.tls.For(broker, "dev")
	if err != nil {
		s.t.Fatal(err)
	}
	a, b := upstreamtest.Pipe(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.Close()
		_, _ = b.Read(make([]byte, 4096))
		_, _ = b.Write([]byte(raw))
	}()
	defer func() { <-done }()
	_, err = handshake(context.Background(), a)
	return err
}
