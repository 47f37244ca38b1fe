// Package storetest is a store.Store in memory that behaves like one in a file, for tests
// of what is built on it: it commits later than it is asked to, has a queue that can be
// full, fails and recovers, and loses with a crash what it has not committed.
//
// It uses nothing but timers, so that it works in a bubble of testing/synctest.
package storetest

import (
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

// Store is a durable store. Its methods may be called from any goroutine.
type Store struct {
	committing sync.Mutex // batches are carried out, and answered, one after the other

	mu        sync.Mutex // guards everything below
	delay     time.Duration
	held      bool
	busy      bool
	dead      bool // crashed, or closed
	fault     error
	health    error
	queue     []store.Batch
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

// Hold stops the commits until Release: batches wait.
func (s *Store) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
}

// Release commits what has waited since Hold, before it returns, and goes on as before.
func (s *Store) Release() {
	s.mu.Lock()
	s.held = false
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
func (s *Store) Load(yield func(b store.Bucket, key, value []byte) error) error {
	s.mu.Lock()
	all := maps.Clone(s.committed)
	s.mu.Unlock()
	order := slices.SortedFunc(maps.Keys(all), func(a, b record) int {
		if a.bucket != b.bucket {
			return int(a.bucket) - int(b.bucket)
		}
		return strings.Compare(a.key, b.key)
	})
	for _, r := range order {
		if err := yield(r.bucket, []byte(r.key), []byte(all[r])); err != nil {
			return err
		}
	}
	return nil
}

// Submit implements store.Store.
func (s *Store) Submit(b store.Batch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.submitted++
	switch full := len(s.queue) >= store.DefaultQueueBatches || s.octets >= store.DefaultQueueBytes; {
	case s.busy, full:
		s.stats.Refused++
		return false
	case s.dead:
		return true
	}
	s.queue = append(s.queue, b)
	s.octets += b.Size()
	if !s.held {
		time.AfterFunc(s.delay, s.commit)
	}
	return true
}

// commit carries out the batch that waits longest.
func (s *Store) commit() {
	s.committing.Lock()
	defer s.committing.Unlock()
	b, err, ok := s.next()
	if ok && b.Done != nil {
		b.Done(err)
	}
}

func (s *Store) next() (b store.Batch, err error, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 || s.held {
		return b, nil, false
	}
	b, s.queue = s.queue[0], s.queue[1:]
	s.octets -= b.Size()
	if s.fault != nil && (s.fault != ErrFull || !onlyDeletes(b.Ops)) {
		s.health = s.fault
		s.stats.Failures++
		s.stats.Failed++
		return b, s.fault, true
	}
	s.checker.Submit(store.Batch{Ops: b.Ops, Done: func(e error) { err = e }})
	if err != nil {
		return b, err, true
	}
	for _, op := range b.Ops {
		s.apply(op)
	}
	s.stats.Commits++
	return b, nil, true
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
	s.Release()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	return s.health
}
