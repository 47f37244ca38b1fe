package secure_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"sngate/upstream/secure"
	"sngate/upstream/secure/securetest"
	"sngate/upstream/upstreamtest"
)

func TestTheNameOfTheBrokerIsVerified_Case170(t *testing.T) {
	s := newSite(t)
	s.must("dev", "", false)

	s = newSite(t)
	s.opt.ServerName = "other.example"
	s.wantFault("dev", secure.NameMismatch, `TLS: the broker's certificate is for "mqtt.example", not for "other.example"`)

	s = newSite(t)
	s.opt.ServerName = "other.example"
	s.peer.Certificates = []tls.Certificate{s.issue("mqtt.example", "a.example", "other.example")}
	s.must("dev", "", false)

	// The common name does not count.
	s = newSite(t)
	s.peer.Certificates = []tls.Certificate{s.issue("mqtt.example")}
	s.wantFault("dev", secure.NameMismatch, `is for no name (it has no subject alternative name; the common name "mqtt.example" does not count), not for "mqtt.example"`)

	s = newSite(t)
	s.opt.Brokers = []string{"[fe80::7%eth0]:8883"}
	s.wantFault("dev", secure.NameMismatch, `not for "fe80::7"`)
	s.peer.Certificates = []tls.Certificate{s.ca.Issue(t, securetest.Certificate{IPs: []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("fe80::7")}}).TLS(t)}
	s.must("dev", "", false)

	s = newSite(t)
	many := make([]string, 20)
	for i := range many {
		many[i] = string(rune('a'+i)) + ".example"
	}
	s.peer.Certificates = []tls.Certificate{s.issue("broker", many...)}
	s.wantFault("dev", secure.NameMismatch, `"h.example" and 12 more, not for`)
}

func TestWhatIsWrongWithTheCertificateOfTheBrokerIsSaid_Case170(t *testing.T) {
	now := time.Now()
	dated := func(s *site, from, to time.Time) {
		s.peer.Certificates = []tls.Certificate{s.ca.Issue(t, securetest.Certificate{Name: "broker", DNS: []string{"mqtt.example"}, NotBefore: from, NotAfter: to}).TLS(t)}
	}
	s := newSite(t)
	end := now.Add(-time.Hour).UTC()
	dated(s, now.Add(-2*time.Hour), end)
	s.wantFault("dev", secure.Expired, `"CN=broker" expired at `+end.Format("2006-01-02 15:04:05")+" UTC; this machine's clock says "+now.UTC().Format("2006-01-02"))

	s = newSite(t)
	begin := now.Add(time.Hour).UTC()
	dated(s, begin, now.Add(2*time.Hour))
	s.wantFault("dev", secure.NotYetValid, `is not valid before `+begin.Format("2006-01-02 15:04:05")+" UTC")

	s = newSite(t)
	securetest.NewCA(t, "another").Write(t, s.opt.CAFile)
	s.wantFault("dev", secure.UnknownCA, `none of the known authorities (broker.ca_file) has signed the broker's certificate, but "CN=site ca"`)
}

func TestClientCertificatesThatBrokersDoNotTakeAreSaid_Case171(t *testing.T) {
	for i, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13, tls.VersionTLS13} {
		s := newSite(t)
		s.quick = i == 2
		s.peer.MinVersion, s.peer.MaxVersion = version, version
		s.peer.ClientAuth = tls.RequireAndVerifyClientCert
		s.wantFault("dev", secure.CertificateRequired, "the broker asks for a client certificate (broker.cert_file, broker.key_file): the broker says: ")

		s = newSite(t)
		s.quick = i == 2
		s.peer.MinVersion, s.peer.MaxVersion = version, version
		s.peer.ClientAuth = tls.RequireAndVerifyClientCert
		securetest.NewCA(t, "stranger").Issue(t, securetest.Certificate{Name: "x"}).Write(t, s.at("x.pem"), s.at("x.key"))
		s.opt.Files = securetest.Files(s.at("x"))
		s.wantFault("dev", secure.CertificateRefused, "the broker refuses the client certificate "+s.at("x.pem")+": the broker says: ")
	}
}

func TestBrokersThatSpeakAnotherTLSAreSaid(t *testing.T) {
	s := newSite(t)
	s.opt.MinVersion = tls.VersionTLS13
	s.peer.MaxVersion = tls.VersionTLS12
	s.wantFault("dev", secure.Version, "the broker does not speak TLS 1.3 or a later version (broker.min_tls)")

	s = newSite(t)
	s.opt.ALPN = []string{"x-amzn-mqtt-ca"}
	s.peer.NextProtos = []string{"h2"}
	s.wantFault("dev", secure.Protocol, `the broker knows none of the protocols ["x-amzn-mqtt-ca"] (broker.alpn)`)
	s.peer.NextProtos = []string{"h2", "x-amzn-mqtt-ca"}
	s.must("dev", "", false)
	s.peer.NextProtos = nil // it does not know ALPN
	s.must("dev", "", true)
}

func TestWhatIsNoTLSIsSaid(t *testing.T) {
	for raw, want := range map[string]secure.Reason{
		"\x20\x02\x00\x01\x00\x00\x00\x00": secure.NotTLS,     // CONNACK of MQTT
		"HTTP/1.1 400 Bad Request\r\n\r\n": secure.NotTLS,     //
		"":                                 secure.Unfinished, // as a broker does that expects CONNECT
		"\x15\x03\x01\x00\x02\x02\x50":     secure.Other,      // the alert internal_error
	} {
		s := newSite(t)
		err := s.answer(raw)
		var f *secure.Fault
		if !errors.As(err, &f) || f.Reason != want || s.stats.Failures[want].Load() != 1 {
			t.Errorf("%q: %v, want a fault for reason %v", raw, err, want)
		}
		if raw == "" && !errors.Is(err, io.EOF) {
			t.Errorf("%v does not show that the broker has closed", err)
		}
	}
}

// A connect that nobody waits for any more ends, and is nobody's fault.
func TestAHandshakeEndsWithItsContext(t *testing.T) {
	s := newSite(t)
	s.start()
	handshake, err := s.tls.For(broker, "dev")
	if err != nil {
		t.Fatal(err)
	}
	a, b := upstreamtest.Pipe(0)
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = b.Read(make([]byte, 4096))
		cancel()
	}()
	if nc, err := handshake(ctx, a); nc != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", nc, err)
	}
	if _, err := b.Write([]byte{1}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the connection is left open: %v", err)
	}
	for i := range s.stats.Failures {
		if s.stats.Failures[i].Load() != 0 {
			t.Errorf("counted as %v", secure.Reason(i))
		}
	}
}

func TestFilesThatCannotBeUsedAreNamed(t *testing.T) {
	s := newSite(t)
	s.client("gateway", "a")
	s.client("gateway", "b")
	s.opt.Files = func(string) (string, string, error) { return s.at("a.pem"), s.at("b.key"), nil }
	want := func(err error, key string, reason secure.Reason) {
		t.Helper()
		var f *secure.FileError
		if !errors.As(err, &f) || f.Key != key || f.Reason != reason || f.Missing {
			t.Errorf("%v, want a fault of %s", err, key)
		}
	}
	_, err := s.connect("dev")
	want(err, "key_file", secure.KeyMismatch)
	if err := os.Chmod(s.at("b.key"), 0o604); err != nil {
		t.Fatal(err)
	}
	_, err = s.connect("dev")
	want(err, "key_file", secure.BadFile)
	if err := os.WriteFile(s.opt.CAFile, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = secure.New(s.opt, &s.stats)
	want(err, "ca_file", secure.BadFile)
}

// A broker that is spoken to by HTTP is offered that, whatever others are.
func TestBrokersSpokenToByHTTPAreOfferedThat(t *testing.T) {
	s := newSite(t)
	s.opt.ALPN = []string{"x-amzn-mqtt-ca"}
	s.opt.OverHTTP = []string{broker}
	for _, speaks := range [][]string{{"http/1.1"}, {"h2", "http/1.1"}, nil} {
		s.peer.NextProtos = speaks
		if _, err := s.connect("dev"); err != nil {
			t.Errorf("a broker that speaks %q: %v", speaks, err)
		}
	}
	s.peer.NextProtos = []string{"x-amzn-mqtt-ca"}
	if _, err := s.connect("dev"); err == nil {
		t.Error("it is offered what others are")
	}
}
