package bolt

import (
	"errors"
	"sync"
	"time"

	"sngate/store"
)

// retryEvery is how long batches are refused after a failure before the file is tried
// again.
const retryEvery = time.Second

// compactEvery and compactRetry keep rewriting the file from becoming a load of its
// own; a copy that failed, for example for lack of space, is not tried again soon.
const (
	compactEvery = time.Minute
	compactRetry = time.Hour
)

// fileStore is the queue in front of the file and, in writer.go, the goroutine that writes it.
type fileStore struct {
	opts Options
	wake chan struct{} // one slot: something was queued, or the store is closing
	gone chan struct{} // closed when the writer has ended

	mu          sync.Mutex // guards the fields below
	queue       []request
	queuedLoads int // calls of LoadPrefix in it
	stats       store.Stats
	health      error
	closing     bool
	prompt      int  // entries of it that are not lazy
	rest        rest // what the writer waits for, and so what it is woken by

	// swap is held by Load while it reads, and by the writer while it exchanges or
	// reopens the file.
	swap sync.RWMutex

	// The rest belongs to the writer.
	engine    *engine
	pace      pace
	timer     *time.Timer   // of linger
	work      []store.Batch // of the transaction at hand; its capacity is used again
	loads     []request     // calls of LoadPrefix that are being served; likewise
	failed    error         // nil, or why the last attempt failed
	retryAt   time.Time
	deletesOK bool // although failing, commits that need no space went through
	compactAt time.Time
}

func (s *fileStore) Durable() bool { return true }

// request is an entry of the queue: a batch or, with load, the reading of some records.
type request struct {
	batch store.Batch
	load  *load
}

// load is a call of LoadPrefix.
type load struct {
	prefix []byte
	done   func([]store.Record, error)
}

func (r *request) lazy() bool { return r.load == nil && r.batch.Lazy }

func (r *request) size() int {
	n := r.batch.Size()
	if r.load != nil {
		n += len(r.load.prefix)
	}
	return n
}

func (s *fileStore) Submit(b store.Batch) bool { return s.enqueue(request{batch: b}) }

func (s *fileStore) enqueue(r request) bool {
	size := r.size()
	s.mu.Lock()
	full := s.stats.Queued >= s.opts.QueueBatches || s.stats.QueuedBytes >= s.opts.QueueBytes
	if full || s.closing {
		s.stats.Refused++
		s.mu.Unlock()
		return false
	}
	s.queue = append(s.queue, r)
	if r.load != nil {
		s.queuedLoads++
	}
	if !r.lazy() {
		s.prompt++
	}
	s.stats.Queued++
	s.stats.QueuedBytes += size
	if s.ends(s.rest) {
		s.wakeUp() // with the lock: it must not end a rest that begins after it
	}
	s.mu.Unlock()
	return true
}

func (s *fileStore) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *fileStore) Stats() store.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *fileStore) Health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

func (s *fileStore) Close() error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	s.wakeUp()
	s.mu.Unlock()
	<-s.gone
	if !first {
		return nil
	}
	s.swap.Lock()
	defer s.swap.Unlock()
	err := s.engine.close()
	s.engine.unpin()
	return errors.Join(s.Health(), err)
}

// pressing reports whether waiting would gain nothing, or delay what must not be delayed: the
// queue is full or has all that a transaction takes, there is a call of LoadPrefix, which ends
// a transaction, or the store is closing. The lock is held.
func (s *fileStore) pressing() bool {
	return s.closing || s.queuedLoads > 0 ||
		s.stats.Queued >= min(s.opts.QueueBatches, s.opts.TxOps) ||
		s.stats.QueuedBytes >= min(s.opts.QueueBytes, s.opts.TxBytes)
}

// rest is what the writer may be waiting for while there is something in the queue.
type rest uint8

const (
	none    rest = iota
	company      // more requests, to share a transaction
	prompts      // a request that is not lazy, for the others to share its transaction
)

// ends reports whether the queue ends a rest. The lock is held.
func (s *fileStore) ends(r rest) bool {
	return r == none || r == prompts && s.prompt > 0 || s.pressing()
}
