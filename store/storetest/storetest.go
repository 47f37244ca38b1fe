// Package storetest has the tests that every store has to pass, [Run], and a store in memory
// that behaves like one in a file, for tests of what is built on it: it commits later than
// it is asked to, has a queue that can be full, fails and recovers, and loses with a crash
// what it has not committed.
//
// That store uses nothing but timers, so that it works in a bubble of testing/synctest.
package storetest

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sngate/store"
)

// What a disk answers; see Store.Fail.
var (
	ErrFull     = errors.New("no space left on device")
	ErrReadOnly = errors.New("read-only file system")
)

// record names a record; the key is a string to be comparable.
type record struct {
	bucket store.Bucket
	key    string
}

// request is a batch or, with loaded, a call of LoadPrefix.
type request struct {
	batch  store.Batch
	prefix []byte
	loaded func([]store.Record, error)
}

// Store is a durable store. Its methods may be called from any goroutine.
type Store struct {
	committing sync.Mutex // batches are carried out, and answered, one after the other

	mu        sync.Mutex // guards everything below
	delay     time.Duration
	stopped   bool
	busy      bool
	dead      bool // crashed: takes everything and answers nothing
	closed    bool
	fault     error
	health    error
	queue     []request
	octets    int // of queue
	committed map[record]string
	checker   store.Store // knows what a valid batch is, and counts
	stats     store.Stats
	submitted uint64
}

// New returns an empty store that commits a batch as soon as the goroutine that
// submits it lets it.
func New() *Store {
	return &Store{committed: make(map[record]string), checker: store.InMemory()}
}

// SetDelay sets how long a batch takes from Submit to its answer.
func (s *Store) SetDelay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// StopCommits stops the commits until StartCommits: batches wait.
func (s *Store) StopCommits() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// StartCommits commits what has waited since StopCommits, before it returns, and from then on at once.
func (s *Store) StartCommits() {
	s.mu.Lock()
	s.stopped = false
	n := len(s.queue)
	s.mu.Unlock()
	for range n {
		s.commit()
	}
}

// Fail makes the commits from now on fail with err, and succeed again when it is nil. As
// on a real disk, batches that only delete succeed while err is ErrFull.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault = err; err == nil {
		s.health = nil
	}
}

// SetBusy makes Submit refuse all batches, as when the queue is full.
func (s *Store) SetBusy(busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = busy
}

// Crash ends the store as the end of the process does: what is not committed is lost and
// is never answered, and neither is anything submitted later. It returns the store that
// the next process opens, which is in good order.
func (s *Store) Crash() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead, s.queue, s.octets = true, nil, 0
	next := New()
	next.delay = s.delay
	next.committed = maps.Clone(s.committed)
	return next
}

// Keys returns the committed keys as "bucket key", sorted.
func (s *Store) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for r := range s.committed {
		keys = append(keys, r.bucket.String()+" "+r.key)
	}
	slices.Sort(keys)
	return keys
}

// Value returns a committed value.
func (s *Store) Value(b store.Bucket, key string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.committed[record{b, key}]
	return v, ok
}

// Submitted returns how many batches were submitted, refused ones included.
func (s *Store) Submitted() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.submitted
}

// Durable implements store.Store.
func (s *Store) Durable() bool { return true }

// Load implements store.Store.
func (s *Store) Load(yield func(b store.Bucket, key, value []byte) error, buckets ...store.Bucket) error {
	wanted, err := store.Wanted(buckets)
	if err != nil {
		return err
	}
	s.mu.Lock()
	all, closed := s.find(""), s.closed
	s.mu.Unlock()
	if closed {
		return store.ErrClosed
	}
	for _, b := range wanted {
		for _, r := range all {
			if r.Bucket != b {
				continue
			}
			if err := yield(r.Bucket, r.Key, r.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// find returns the committed records whose keys begin with prefix, in order. s.mu is held.
func (s *Store) find(prefix string) (found []store.Record) {
	for r, value := range s.committed {
		if strings.HasPrefix(r.key, prefix) {
			found = append(found, store.Record{Bucket: r.bucket, Key: []byte(r.key), Value: []byte(value)})
		}
	}
	slices.SortFunc(found, func(a, b store.Record) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), bytes.Compare(a.Key, b.Key))
	})
	return found
}

// LoadPrefix implements store.Store. It succeeds while commits fail, as it mostly does in a
// file.
func (s *Store) LoadPrefix(prefix []byte, done func([]store.Record, error)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enqueue(request{prefix: prefix, loaded: done})
}

// Submit implements store.Store.
func (s *Store) Submit(b store.Batch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.submitted++
	return s.enqueue(request{batch: b})
}

// enqueue takes a request, unless the queue is full. s.mu is held.
func (s *Store) enqueue(r request) bool {
	switch full := len(s.queue) >= store.DefaultQueueBatches || s.octets >= store.DefaultQueueBytes; {
	case s.busy, full, s.closed:
		s.stats.Refused++
		return false
	case s.dead:
		return true
	}
	s.queue = append(s.queue, r)
	s.octets += r.batch.Size()
	if !s.stopped {
		time.AfterFunc(s.delay, s.commit)
	}
	return true
}

// commit carries out the request that waits longest, and answers it.
func (s *Store) commit() {
	s.committing.Lock()
	defer s.committing.Unlock()
	if answer := s.next(); answer != nil {
		answer()
	}
}

func (s *Store) next() (answer func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 || s.stopped {
		return nil
	}
	r := s.queue[0]
	s.queue = s.queue[1:]
	s.octets -= r.batch.Size()
	if r.loaded != nil {
		err := store.CheckPrefix(r.prefix)
		if err != nil {
			return func() { r.loaded(nil, err) }
		}
		found := s.find(string(r.prefix))
		return func() { r.loaded(found, nil) }
	}
	err := s.carryOut(r.batch)
	return func() { r.batch.Answer(err) }
}

// carryOut commits a batch, or says why it does not. s.mu is held.
func (s *Store) carryOut(b store.Batch) (err error) {
	if s.fault != nil && (s.fault != ErrFull || !onlyDeletes(b.Ops)) {
		s.health = s.fault
		s.stats.Failures++
		s.stats.Failed++
		return s.fault
	}
	s.checker.Submit(store.Batch{Ops: b.Ops, Done: func(e error) { err = e }})
	if err != nil {
		return err
	}
	for _, op := range b.Ops {
		s.apply(op)
	}
	s.stats.Commits++
	return nil
}

func onlyDeletes(ops []store.Op) bool {
	return !slices.ContainsFunc(ops, func(op store.Op) bool { return op.Kind == store.Put })
}

func (s *Store) apply(op store.Op) {
	at := record{op.Bucket, string(op.Key)}
	switch op.Kind {
	case store.Put:
		s.committed[at] = string(op.Value)
	case store.Delete:
		delete(s.committed, at)
	case store.DeletePrefix:
		maps.DeleteFunc(s.committed, func(r record, _ string) bool {
			return r.bucket == op.Bucket && strings.HasPrefix(r.key, at.key)
		})
	}
}

// Stats implements store.Store.
func (s *Store) Stats() store.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.checker.Stats()
	stats.Commits, stats.Failures = s.stats.Commits, s.stats.Failures
	stats.Failed += s.stats.Failed
	stats.Queued, stats.QueuedBytes = len(s.queue), s.octets
	stats.Refused = s.stats.Refused
	return stats
}

// Health implements store.Store. A failure shows when a commit has failed.
func (s *Store) Health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

// Close implements store.Store. It waits for no delay.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.StartCommits()
	return s.Health()
}
