package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Reason is why TLS with a broker has failed, as metrics tell it.
type Reason uint8

// Why TLS with a broker has failed.
const (
	NameMismatch        Reason = iota // the certificate of the broker is for another name
	Expired                           // it, or one of its chain, is not valid any more
	NotYetValid                       // or not yet
	UnknownCA                         // none of the known authorities has signed it
	BadCertificate                    // something else is wrong with it
	CertificateRequired               // the broker wants a client certificate, and there is none
	CertificateRefused                // it does not take the one there is
	KeyMismatch                       // the key of the client certificate belongs to another
	BadFile                           // its files cannot be used
	Version                           // there is no version that both speak
	Protocol                          // nor an application protocol (ALPN)
	NotTLS                            // what the broker says is no TLS
	Unfinished                        // it has closed the connection during the handshake
	Other
	reasonCount
)

// reasonNames are the names of reasons in metrics.
var reasonNames = [reasonCount]string{
	"name_mismatch", "expired", "not_yet_valid", "unknown_ca", "bad_certificate", "certificate_required", "certificate_refused",
	"key_mismatch", "bad_file", "version", "alpn", "not_tls", "closed", "other",
}

// ReasonNames returns the names of all reasons, by their numbers.
func ReasonNames() []string { return slices.Clone(reasonNames[:]) }

func (r Reason) String() string { return reasonNames[r] }

// Fault is why TLS with a broker has failed.
type Fault struct {
	Reason Reason
	text   string
	err    error
}

// Error says it in words for operators.
func (f *Fault) Error() string { return "TLS: " + f.text }

// Unwrap returns the error behind it.
func (f *Fault) Unwrap() error { return f.err }

// fault counts err, and explains it. The TLS session that the broker may have failed to resume is
// not tried again.
func (c *conn) fault(err error) error {
	c.id.sessions.Put(c.name, nil) // crypto/tls finds it by this name
	f := &Fault{err: err}
	if alert, ok := alertOf(err); ok {
		f.Reason, f.text = c.alerted(alert)
	} else {
		f.Reason, f.text = c.explain(err)
	}
	c.stats.Failures[f.Reason].Add(1)
	return f
}

// explain is about what this side has found.
func (c *conn) explain(err error) (Reason, string) {
	var (
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &host):
		return NameMismatch, fmt.Sprintf("the broker's certificate is for %s, not for %q", names(host.Certificate), c.name)
	case errors.As(err, &unknown):
		return UnknownCA, fmt.Sprintf("none of the known authorities (broker.ca_file) has signed the broker's certificate, but %q", short(unknown.Cert.Issuer.String()))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return outOfTime(invalid.Cert, time.Now())
	case errors.As(err, &verify):
		return BadCertificate, "the broker's certificate: " + verify.Err.Error()
	case errors.As(err, &record):
		return NotTLS, "what the broker answers is no TLS; is it the right port?"
	case strings.Contains(err.Error(), "unsupported protocol version"):
		return c.version()
	case strings.Contains(err.Error(), "ALPN"):
		return Protocol, err.Error()
	case closedByPeer(err) && c.asked:
		return c.certificateFault("the connection was closed")
	case closedByPeer(err):
		return Unfinished, "the handshake was not finished; does the broker speak TLS on this port?"
	}
	return Other, err.Error()
}

// Alerts (RFC 8446 section 6.2) of a broker.
const (
	alertHandshakeFailure    tls.AlertError = 40
	alertBadCertificate      tls.AlertError = 42
	alertCertificateUnknown  tls.AlertError = 46
	alertUnknownCA           tls.AlertError = 48
	alertAccessDenied        tls.AlertError = 49
	alertProtocolVersion     tls.AlertError = 70
	alertUnrecognizedName    tls.AlertError = 112
	alertCertificateRequired tls.AlertError = 116
	alertNoProtocol          tls.AlertError = 120
)

// alerted is about what the broker has found.
func (c *conn) alerted(alert tls.AlertError) (Reason, string) {
	what := "the broker says: " + strings.TrimPrefix(alert.Error(), "tls: ")
	switch {
	case alert == alertProtocolVersion:
		return c.version()
	case alert == alertNoProtocol:
		return Protocol, fmt.Sprintf("the broker knows none of the protocols %q (broker.alpn)", c.alpn)
	case alert == alertUnrecognizedName:
		return NameMismatch, fmt.Sprintf("the broker does not know the name %q", c.name)
	case alert == alertCertificateRequired,
		alert >= alertBadCertificate && alert <= alertCertificateUnknown,
		alert == alertUnknownCA, alert == alertAccessDenied,
		alert == alertHandshakeFailure && c.asked:
		return c.certificateFault(what)
	}
	return Other, what
}

// certificateFault is about the client certificate, or that there is none.
func (c *conn) certificateFault(what string) (Reason, string) {
	if c.id.cert == nil {
		return CertificateRequired, fmt.Sprintf("the broker asks for a client certificate (broker.cert_file, broker.key_file): %s", what)
	}
	return CertificateRefused, fmt.Sprintf("the broker refuses the client certificate %s: %s", c.id.certFile, what)
}

func (c *conn) version() (Reason, string) {
	return Version, fmt.Sprintf("the broker does not speak %s or a later version (broker.min_tls)", tls.VersionName(c.opt.MinVersion))
}

// outOfTime is about a certificate that is not valid at present.
func outOfTime(cert *x509.Certificate, now time.Time) (Reason, string) {
	const form = "2006-01-02 15:04:05"
	present := now.UTC().Format(form)
	if now.Before(cert.NotBefore) {
		return NotYetValid, fmt.Sprintf("the broker's certificate %q is not valid before %s UTC; this machine's clock says %s",
			short(cert.Subject.String()), cert.NotBefore.UTC().Format(form), present)
	}
	return Expired, fmt.Sprintf("the broker's certificate %q expired at %s UTC; this machine's clock says %s",
		short(cert.Subject.String()), cert.NotAfter.UTC().Format(form), present)
}

// maxNames and maxName bound what of a certificate goes into a message.
const (
	maxNames = 8
	maxName  = 128 // octets
)

// names lists the names that a certificate is for.
func names(cert *x509.Certificate) string {
	var list []string
	for _, name := range cert.DNSNames {
		list = append(list, fmt.Sprintf("%q", short(name)))
	}
	for _, ip := range cert.IPAddresses {
		list = append(list, ip.String())
	}
	switch n := len(list); {
	case n == 0:
		return fmt.Sprintf("no name (it has no subject alternative name; the common name %q does not count)", short(cert.Subject.CommonName))
	case n > maxNames:
		return fmt.Sprintf("%s and %d more", strings.Join(list[:maxNames], ", "), n-maxNames)
	}
	return strings.Join(list, ", ")
}

func short(text string) string {
	if len(text) > maxName {
		return strings.ToValidUTF8(text[:maxName], "") + "..."
	}
	return text
}

// alertOf returns the alert by which the broker has ended a connection. crypto/tls tells its
// number only by its words.
func alertOf(err error) (alert tls.AlertError, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	for alert = range tls.AlertError(255) {
		if alert.Error() == op.Err.Error() {
			return alert, true
		}
	}
	return 0, false
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
