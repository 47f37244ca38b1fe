package probe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Bounds on what of a certificate is shown: the other side has written it.
const (
	maxChain = 10 // certificates
	maxNames = 20 // of each
	maxText  = 256
)

// TLS is what a TLS connection has, or, of one that has failed, what is known of it.
type TLS struct {
	Version  string        `json:"version,omitempty"`
	Cipher   string        `json:"cipher,omitempty"`
	Protocol string        `json:"alpn,omitempty"` // the application protocol that was agreed on
	Chain    []Certificate `json:"chain"`          // that of the broker first
	// Expires is when the first of the chain ends; nil: there is no chain.
	Expires *time.Time `json:"expires,omitempty"`
}

// Certificate is one of a chain.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names"` // subject alternative names
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// tlsOf describes a connection; nil: it is not one of TLS.
func tlsOf(nc net.Conn) *TLS {
	c, ok := nc.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	state := c.ConnectionState()
	chain := state.PeerCertificates
	if len(state.VerifiedChains) > 0 {
		chain = state.VerifiedChains[0] // with the authority, which ends as well
	}
	t := newTLS(chain)
	t.Version, t.Cipher, t.Protocol = tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.NegotiatedProtocol
	return t
}

// tlsOfFault describes the certificates that were not accepted; nil: they are not known.
func tlsOfFault(err error) *TLS {
	var v *tls.CertificateVerificationError
	if !errors.As(err, &v) || len(v.UnverifiedCertificates) == 0 {
		return nil
	}
	return newTLS(v.UnverifiedCertificates)
}

func newTLS(chain []*x509.Certificate) *TLS {
	t := &TLS{Chain: []Certificate{}}
	for _, cert := range chain[:min(len(chain), maxChain)] {
		t.Chain = append(t.Chain, Certificate{
			Subject: short(cert.Subject.String()), Issuer: short(cert.Issuer.String()), Names: namesOf(cert),
			NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(),
		})
		if end := cert.NotAfter.UTC(); t.Expires == nil || end.Before(*t.Expires) {
			t.Expires = &end
		}
	}
	return t
}

func namesOf(cert *x509.Certificate) []string {
	names := []string{}
	for _, name := range cert.DNSNames {
		names = append(names, short(name))
	}
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return names[:min(len(names), maxNames)]
}

func short(text string) string {
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	return text
}

// outcome says what was agreed on, and warns of a certificate that ends within the given time.
func (t *TLS) outcome(now time.Time, warn time.Duration) outcome {
	text := t.Version + ", " + t.Cipher
	if t.Protocol != "" {
		text += fmt.Sprintf(", protocol %q", t.Protocol)
	}
	if t.Expires == nil {
		return found("%s", text)
	}
	left := t.Expires.Sub(now)
	text += fmt.Sprintf("; certificate of %s, valid until %s (%d days)", t.Chain[0].Subject, t.Expires.Format(time.DateOnly), int(left.Hours()/24))
	if left >= warn {
		return found("%s", text)
	}
	return outcome{result: Warning, reason: reasonExpires, text: text, advice: "renew the certificate: it, or one of its chain, ends soon"}
}
