// Package securetest makes certificates for tests.
package securetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// CA is an authority that signs certificates.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Certificate says what a certificate is to be. What is zero has a default.
type Certificate struct {
	Name      string   // common name, which nobody verifies
	DNS       []string // subject alternative names
	IPs       []net.IP // the same
	NotBefore time.Time
	NotAfter  time.Time
}

// Pair is a certificate and its key.
type Pair struct{ Cert, Key []byte } // PEM

// day is for how long what has no other time is valid, before and after now.
const day = 24 * time.Hour

// NewCA makes an authority with a key of its own.
func NewCA(t testing.TB, name string) *CA {
	t.Helper()
	key := newKey(t)
	template := template(t, Certificate{Name: name})
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	template.ExtKeyUsage = nil
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &CA{cert, key}
}

// Issue makes a certificate for servers and clients.
func (ca *CA) Issue(t testing.TB, c Certificate) Pair {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template(t, c), ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{encode("CERTIFICATE", der), encode("PRIVATE KEY", private)}
}

// Pool has the authority alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Write writes the certificate of the authority to a file.
func (ca *CA) Write(t testing.TB, path string) {
	t.Helper()
	write(t, path, encode("CERTIFICATE", ca.cert.Raw), 0o644)
}

// Write writes certificate and key to files.
func (p Pair) Write(t testing.TB, cert, key string) {
	t.Helper()
	write(t, cert, p.Cert, 0o644)
	write(t, key, p.Key, 0o600)
}

// TLS returns the pair as crypto/tls wants it.
func (p Pair) TLS(t testing.TB) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func template(t testing.TB, c Certificate) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if c.NotBefore.IsZero() {
		c.NotBefore = now.Add(-day)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = now.Add(day)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: c.Name}, DNSNames: c.DNS, IPAddresses: c.IPs,
		NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// Files is Files of secure.Options: path with the client's identifier in place of "{client_id}",
// and ".pem" or ".key" behind it.
func Files(path string) func(client string) (certFile, keyFile string, err error) {
	return func(client string) (certFile, keyFile string, err error) {
		path := strings.ReplaceAll(path, "{client_id}", client)
		return path + ".pem", path + ".key", nil
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// write replaces a file at once, as who renews a certificate should.
func write(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
