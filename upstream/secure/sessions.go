package secure

import (
	"container/list"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
)

// maxSessions is how many TLS sessions a client keeps: the last with each of so many names of
// brokers.
const maxSessions = 4

// sessions are the TLS sessions that belong to a certificate, which outlive that in memory: it
// can be read again, they cannot.
type sessions struct {
	of    [sha256.Size]byte // the certificate that is presented; zero: none is
	roots *x509.CertPool    // who vouches for the brokers; nil: the system's authorities
	cache tls.ClientSessionCache
}

// sessionsOf returns the TLS sessions of the client whose certificate is in these files. A session
// is resumed only as whom it was begun, and with brokers that the same authorities vouch for: with
// another certificate or other authorities they are new ones. t.mu is held.
func (t *TLS) sessionsOf(at [2]string, cert *tls.Certificate, roots *x509.CertPool) tls.ClientSessionCache {
	of := digest(cert)
	if s, ok := t.sessions.get(at); ok && s.of == of && s.roots == roots {
		return s.cache
	}
	s := sessions{of: of, roots: roots, cache: tls.NewLRUClientSessionCache(maxSessions)}
	t.sessions.put(at, s)
	return s.cache
}

func digest(cert *tls.Certificate) (sum [sha256.Size]byte) {
	if cert == nil {
		return sum
	}
	h := sha256.New()
	for _, der := range cert.Certificate {
		h.Write(der)
	}
	h.Sum(sum[:0])
	return sum
}

// recent holds up to max values by their keys. One more, and the one used least recently is
// forgotten.
type recent[K comparable, V any] struct {
	max   int
	byKey map[K]*list.Element // of entry[K, V]
	order list.List           // the one used last in front
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](most int) recent[K, V] {
	return recent[K, V]{max: most, byKey: make(map[K]*list.Element)}
}

// get finds a value, and notes that it is used.
func (r *recent[K, V]) get(key K) (value V, ok bool) {
	e := r.byKey[key]
	if e == nil {
		return value, false
	}
	r.order.MoveToFront(e)
	return e.Value.(entry[K, V]).value, true
}

// put adds a value, or replaces that of the key.
func (r *recent[K, V]) put(key K, value V) {
	if e := r.byKey[key]; e != nil {
		e.Value = entry[K, V]{key, value}
		r.order.MoveToFront(e)
		return
	}
	if r.order.Len() >= r.max {
		oldest := r.order.Remove(r.order.Back()).(entry[K, V])
		delete(r.byKey, oldest.key)
	}
	r.byKey[key] = r.order.PushFront(entry[K, V]{key, value})
}
