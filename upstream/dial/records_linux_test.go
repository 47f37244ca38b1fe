package dial_test

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"testing"
)

// Types of TLS records.
const (
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
)

// records is a broker's side of a TLS connection that writes any record: what crypto/tls would
// not. Nothing may be written to the connection in another way once it is made.
type records struct {
	t      *testing.T
	nc     net.Conn
	aead   cipher.AEAD
	iv     []byte
	secret []byte // of TLS 1.3
	seq    uint64
}

// newRecords takes over the writing of the broker, which has written n records.
func newRecords(s *site, n uint64) *records {
	s.t.Helper()
	r := &records{t: s.t, nc: s.socket}
	state := s.broker.(*tls.Conn).ConnectionState()
	if state.Version == tls.VersionTLS13 {
		if state.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
			s.t.Fatalf("%s: this test speaks AES-128", tls.CipherSuiteName(state.CipherSuite))
		}
		r.rekey(s.secret("SERVER_TRAFFIC_SECRET_0"))
		r.seq = n
		return r
	}
	random, master := s.secretOf("CLIENT_RANDOM")
	server := serverRandom(s.tap.Bytes())
	block := prf(master, "key expansion", slices.Concat(server, random), 2*(16+4))
	r.setKey(block[16:32], block[36:40])
	r.seq = n + 1 // Finished
	return r
}

// rekey begins with a secret of TLS 1.3 (RFC 8446 section 7.3).
func (r *records) rekey(secret []byte) {
	r.secret = secret
	r.setKey(expand(r.t, secret, "key", 16), expand(r.t, secret, "iv", 12))
}

func (r *records) setKey(key, iv []byte) {
	block, err := aes.NewCipher(key)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.aead, err = cipher.NewGCM(block); err != nil {
		r.t.Fatal(err)
	}
	r.iv, r.seq = iv, 0
}

// record returns a record of a type.
func (r *records) record(kind byte, data []byte) []byte {
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], r.seq)
	r.seq++
	if len(r.iv) == 4 { // TLS 1.2
		additional := append(seq[:len(seq):len(seq)], kind, 3, 3, byte(len(data)>>8), byte(len(data)))
		n := 8 + len(data) + r.aead.Overhead()
		head := append([]byte{kind, 3, 3, byte(n >> 8), byte(n)}, seq[:]...)
		return r.aead.Seal(head, slices.Concat(r.iv, seq[:]), data, additional)
	}
	nonce := slices.Clone(r.iv)
	for i, octet := range seq {
		nonce[4+i] ^= octet
	}
	inner := append(slices.Clone(data), kind)
	n := len(inner) + r.aead.Overhead()
	head := []byte{recordData, 3, 3, byte(n >> 8), byte(n)}
	return r.aead.Seal(head, nonce, inner, head)
}

// keyUpdate returns a record that changes the key, which counts from the next record on, and asks
// for the same of the other side.
func (r *records) keyUpdate() []byte {
	b := r.record(recordHandshake, []byte{24, 0, 0, 1, 1})
	r.rekey(expand(r.t, r.secret, "traffic upd", 32))
	return b
}

func (r *records) send(b []byte) {
	r.t.Helper()
	if _, err := r.nc.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// secret returns one that crypto/tls has logged.
func (s *site) secret(label string) []byte {
	s.t.Helper()
	_, secret := s.secretOf(label)
	return secret
}

func (s *site) secretOf(label string) (random, secret []byte) {
	s.t.Helper()
	for lines := bufio.NewScanner(bytes.NewReader(s.secrets.Bytes())); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); fields[0] == label {
			random, _ = hex.DecodeString(fields[1])
			secret, _ = hex.DecodeString(fields[2])
			return random, secret
		}
	}
	s.t.Fatalf("%s is not logged", label)
	return nil, nil
}

// serverRandom returns the random octets of the ServerHello that a stream begins with.
func serverRandom(stream []byte) []byte { return stream[5+4+2:][:32] }

// expand is HKDF-Expand-Label (RFC 8446 section 7.1).
func expand(t *testing.T, secret []byte, label string, n int) []byte {
	t.Helper()
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// prf is that of TLS 1.2 (RFC 5246 section 5).
func prf(secret []byte, label string, seed []byte, n int) (out []byte) {
	seed = append([]byte(label), seed...)
	mac := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(slices.Concat(parts...))
		return h.Sum(nil)
	}
	for a := mac(seed); len(out) < n; a = mac(a) {
		out = append(out, mac(a, seed)...)
	}
	return out[:n]
}

// tapped is a connection whose written octets can be looked at.
type tapped struct {
	net.Conn
	tap *bytes.Buffer
}

func (c tapped) Write(p []byte) (int, error) {
	c.tap.Write(p)
	return c.Conn.Write(p)
}
