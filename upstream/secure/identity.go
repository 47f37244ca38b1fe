package secure

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"sync"
	"time"

	"sngate/internal/secretfile"
)

const (
	// maxIdentities is how many client certificates are kept. One more, and the one used least
	// recently is read again when its client connects.
	maxIdentities = 4096
	// lookEvery is how often it is looked whether a file has changed.
	lookEvery = time.Second
)

// identity is as whom connections are made. TLS sessions belong to it, and to no other: a
// connection that resumes one is taken for that of the certificate that the session began with.
// It never changes: another certificate, or other authorities, make another identity.
type identity struct {
	certFile string
	cert     *tls.Certificate // nil: none is presented
	roots    *x509.CertPool   // nil: the system's
	sessions tls.ClientSessionCache
}

// newIdentity returns the identity of a certificate. t.mu is held.
func (t *TLS) newIdentity(at [2]string, cert *tls.Certificate) *identity {
	roots := t.roots.pool
	return &identity{certFile: at[0], cert: cert, roots: roots, sessions: t.sessionsOf(at, cert, roots)}
}

// authorities are who may sign the certificates of brokers.
type authorities struct {
	reading sync.Mutex // held while files are looked at and read
	files   watched
	pool    *x509.CertPool // nil: the system's; of TLS.mu
}

// known is an identity that may be found again.
type known struct {
	at      [2]string
	reading sync.Mutex // held while files are looked at and read
	files   watched
	id      *identity // of TLS.mu
}

// identity returns the identity of a client, from its files if they have changed.
func (t *TLS) identity(client string) (*identity, error) {
	at, err := t.files(client)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t.lookAtAuthorities(now)
	k, err := t.known(at, now)
	if err != nil {
		return nil, err // and the next time it is looked for again
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.id.roots != t.roots.pool {
		k.id = t.newIdentity(k.at, k.id.cert)
	}
	return k.id, nil
}

// files returns where the certificate of a client and its key are; "": it has none.
func (t *TLS) files(client string) (at [2]string, err error) {
	if t.opt.Files == nil {
		return at, nil
	}
	if at[0], at[1], err = t.opt.Files(client); err != nil {
		return at, &FileError{Key: "cert_file", Reason: BadFile, Missing: true, Msg: "there is no client certificate: " + err.Error()}
	}
	for i := range at {
		at[i], _ = secretfile.Locate(at[i], t.opt.Loaded)
	}
	return at, nil
}

// known returns what there is of a certificate. Its files are read by one connect at a time, and
// no other waits for that but one that has nothing yet.
func (t *TLS) known(at [2]string, now time.Time) (*known, error) {
	t.mu.Lock()
	k, ok := t.ids.get(at)
	t.mu.Unlock()
	if ok {
		if k.reading.TryLock() {
			t.readAgain(k, now)
			k.reading.Unlock()
		}
		return k, nil
	}
	k = &known{at: at}
	if at[0] != "" {
		k.files = watch(now, at[0], at[1])
	}
	cert, err := t.pair(at)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if other, ok := t.ids.get(at); ok {
		return other, nil // another connect was faster
	}
	k.id = t.newIdentity(at, cert)
	t.ids.put(at, k)
	return k, nil
}

// readAgain reads the files of a certificate again if they have changed. k.reading is held.
func (t *TLS) readAgain(k *known, now time.Time) {
	if !k.files.changed(now) {
		return
	}
	cert, err := t.pair(k.at)
	if err == nil {
		t.mu.Lock()
		k.id = t.newIdentity(k.at, cert)
		t.mu.Unlock()
	}
	t.tell(k.at[0], err)
}

// pair reads a certificate and its key; nil: there are no files.
func (t *TLS) pair(at [2]string) (*tls.Certificate, error) {
	if at[0] == "" {
		return nil, nil
	}
	return ReadPair(at[0], at[1], t.opt.Loaded)
}

// lookAtAuthorities reads the authorities again if their file has changed. One connect does it at
// a time; the others use those from before.
func (t *TLS) lookAtAuthorities(now time.Time) {
	r := &t.roots
	if !r.reading.TryLock() {
		return
	}
	defer r.reading.Unlock()
	if !r.files.changed(now) {
		return
	}
	pool, err := ReadAuthorities(t.opt.CAFile)
	if err == nil {
		t.mu.Lock()
		r.pool = pool
		t.mu.Unlock()
	}
	t.tell(t.opt.CAFile, err)
}

// tell tells of a file that has changed.
func (t *TLS) tell(path string, err error) {
	if err != nil {
		t.stats.BadFiles.Add(1)
	}
	if t.opt.Changed != nil {
		t.opt.Changed(path, err)
	}
}

// watched are files of which is known whether they have changed. The zero value has none.
type watched struct {
	paths  []string
	looked time.Time
	stamps []os.FileInfo // when they were read last, to use or not; nil: the file was not there
}

// watch is for files that are read right after it.
func watch(now time.Time, paths ...string) watched {
	return watched{paths: paths, looked: now, stamps: stamps(paths)}
}

// changed reports whether a file has changed, once for each change.
func (w *watched) changed(now time.Time) bool {
	if len(w.paths) == 0 || now.Sub(w.looked) < lookEvery {
		return false
	}
	w.looked = now
	present := stamps(w.paths)
	if slices.EqualFunc(present, w.stamps, unchanged) {
		return false
	}
	w.stamps = present
	return true
}

// unchanged compares a file with what it was before. One that has been replaced is another, even
// if its size and time are the same.
func unchanged(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && os.SameFile(a, b)
}

func stamps(paths []string) []os.FileInfo {
	list := make([]os.FileInfo, len(paths))
	for i, path := range paths {
		if info, err := os.Stat(path); err == nil {
			list[i] = info
		}
	}
	return list
}
