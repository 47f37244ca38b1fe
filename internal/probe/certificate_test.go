package probe

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"sngate/upstream/secure/securetest"
)

const day = 24 * time.Hour

func localhost() securetest.Certificate {
	return securetest.Certificate{Name: "broker", DNS: []string{"localhost", "mqtt.example"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(30 * day)}
}

func TestABrokerWithTLSThatWorks(t *testing.T) {
	b := newTLSSite(t, localhost()).start()
	p := run(t, b, patience)
	if p.Result != OK || p.RoundTripSeconds == nil || p.Address != "ssl://"+b.Address {
		t.Fatalf("%+v", p)
	}
	if s := p.step(StepTLS); !strings.Contains(s.Text, "TLS 1.3, TLS_") || !strings.Contains(s.Text, "certificate of CN=broker") {
		t.Errorf("%+v", s)
	}
	if p.TLS == nil || p.TLS.Version != "TLS 1.3" || len(p.TLS.Chain) != 2 || p.TLS.Expires == nil {
		t.Fatalf("%+v", p.TLS)
	}
	leaf, ca := p.TLS.Chain[0], p.TLS.Chain[1]
	if leaf.Subject != "CN=broker" || leaf.Issuer != "CN=site ca" || strings.Join(leaf.Names, " ") != "localhost mqtt.example 127.0.0.1" || ca.Subject != "CN=site ca" {
		t.Errorf("%+v", p.TLS.Chain)
	}
	if !p.TLS.Expires.Equal(ca.NotAfter) { // the authority's certificate ends tomorrow, the broker's in a month
		t.Errorf("expires %v, the authority %v", p.TLS.Expires, ca.NotAfter)
	}
}

func TestACertificateThatEndsSoon(t *testing.T) {
	b := newTLSSite(t, localhost()).start()
	b.ExpiryWarning = 2 * day
	p := run(t, b, patience)
	if s := p.step(StepTLS); p.Result != Warning || s.Result != Warning || s.Reason != "expires" || p.FailedStep != "" || p.RoundTripSeconds == nil {
		t.Errorf("%+v, %+v", p, s)
	}
}

func TestFaultsOfTLS(t *testing.T) {
	for _, tc := range []struct {
		name   string
		broker func(t *testing.T) *Broker
		step   string
		reason string
		text   string
		chain  bool // the report has the broker's certificates
	}{
		{"another name", func(t *testing.T) *Broker {
			s := newTLSSite(t, localhost())
			s.opt.ServerName = "other.example"
			return s.start()
		}, StepTLS, "tls_name_mismatch", `the broker's certificate is for "localhost", "mqtt.example", 127.0.0.1, not for "other.example"`, true},
		{"expired", func(t *testing.T) *Broker {
			c := localhost()
			c.NotBefore, c.NotAfter = time.Now().Add(-2*day), time.Now().Add(-day)
			return newTLSSite(t, c).start()
		}, StepTLS, "tls_expired", "expired at", true},
		{"unknown authority", func(t *testing.T) *Broker {
			s := newTLSSite(t, localhost())
			securetest.NewCA(t, "other ca").Write(t, s.at("ca.pem"))
			return s.start()
		}, StepTLS, "tls_unknown_ca", `but "CN=site ca"`, true},
		{"no client certificate, TLS 1.2", func(t *testing.T) *Broker {
			s := newTLSSite(t, localhost())
			s.peer.ClientAuth, s.peer.MaxVersion = tls.RequireAndVerifyClientCert, tls.VersionTLS12
			return s.start()
		}, StepTLS, "tls_certificate_required", "the broker asks for a client certificate", false},
		{"no client certificate, TLS 1.3", func(t *testing.T) *Broker {
			s := newTLSSite(t, localhost())
			s.peer.ClientAuth = tls.RequireAndVerifyClientCert
			return s.start()
		}, StepConnect, "tls_certificate_required", "the broker asks for a client certificate", true},
		{"a client certificate of a stranger", func(t *testing.T) *Broker {
			s := newTLSSite(t, localhost())
			s.peer.ClientAuth = tls.RequireAndVerifyClientCert
			securetest.NewCA(t, "stranger").Issue(t, securetest.Certificate{Name: "x"}).Write(t, s.at("x.pem"), s.at("x.key"))
			s.opt.Files = securetest.Files(s.at("x"))
			return s.start()
		}, StepConnect, "tls_certificate_refused", "the broker refuses the client certificate", true},
		{"a plain port", func(t *testing.T) *Broker {
			return newTLSSite(t, localhost()).broker(serve(t, (&script{}).handle))
		}, StepTLS, "tls_closed", `want "tcp://"`, false},
		{"a port that says something", func(t *testing.T) *Broker {
			return newTLSSite(t, localhost()).broker(serve(t, func(nc net.Conn) { _, _ = nc.Write([]byte("220 mail.example ESMTP\r\n")) }))
		}, StepTLS, "tls_not_tls", "is no TLS", false},
		{"a port that says nothing", func(t *testing.T) *Broker {
			return newTLSSite(t, localhost()).broker(serve(t, func(nc net.Conn) {
				for buf := make([]byte, 1024); ; {
					if _, err := nc.Read(buf); err != nil {
						return
					}
				}
			}))
		}, StepTLS, "timeout", "TLS: no answer within", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := tc.broker(t)
			if tc.reason == "timeout" {
				b.ConnectTimeout = silence
			}
			p := run(t, b, patience)
			s := p.step(p.FailedStep)
			if s.Name != tc.step || s.Reason != tc.reason || !strings.Contains(s.Text+"\n"+s.Advice, tc.text) {
				t.Errorf("%s failed: %+v", p.FailedStep, s)
			}
			if got := p.TLS != nil && len(p.TLS.Chain) > 0; got != tc.chain {
				t.Errorf("certificates are shown: %v", got)
			}
		})
	}
}

// What the other side has written into its certificates is bounded.
func TestAChainIsBounded(t *testing.T) {
	cert := &x509.Certificate{NotAfter: time.Unix(1e9, 0)}
	cert.Subject.CommonName = strings.Repeat("x", 10_000)
	for range 1000 {
		cert.DNSNames = append(cert.DNSNames, strings.Repeat("n", 5000))
	}
	chain := make([]*x509.Certificate, 100)
	for i := range chain {
		chain[i] = cert
	}
	got := newTLS(chain)
	if len(got.Chain) != maxChain || len(got.Chain[0].Names) != maxNames || len(got.Chain[0].Names[0]) > maxText+3 || len(got.Chain[0].Subject) > maxText+3 {
		t.Errorf("%d certificates, %d names", len(got.Chain), len(got.Chain[0].Names))
	}
}
