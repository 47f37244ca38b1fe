// Package store is the contract between the gateway and what keeps its durable state: keys
// and values in four buckets. Nobody here knows of sessions and messages. Whoever has to
// remember something submits a [Batch] and acts on it, by acknowledging to a device or
// to the broker, when the batch is answered: what was answered with nil is on the disk.
//
// Package bolt keeps them in a file, [InMemory] nowhere, and package storetest has the tests
// that every store has to pass.
package store

import (
	"errors"
	"fmt"
	"time"
)

// Bucket names one of the key spaces of a store. The set is closed; the zero value is
// none of them.
type Bucket uint8

const (
	Sessions Bucket = iota + 1 // what is known about a client
	Topics                     // topic ids and the names they stand for
	Held                       // messages held for devices that sleep or are away
	Spool                      // messages of devices waiting for the broker
)

const bucketCount = 4

var bucketNames = [bucketCount + 1]string{"", "sessions", "topics", "held", "spool"}

// String returns the bucket's name as it stands in the file.
func (b Bucket) String() string {
	if b.valid() {
		return bucketNames[b]
	}
	return fmt.Sprintf("bucket(%d)", uint8(b))
}

func (b Bucket) valid() bool { return b >= Sessions && b <= Spool }

// OpKind says what an operation does.
type OpKind uint8

const (
	Put          OpKind = iota // store Value under Key, in place of what was there
	Delete                     // remove Key; no error if there is none
	DeletePrefix               // remove all keys that begin with Key; an empty Key empties the bucket
)

// Limits of one operation. A batch that exceeds them fails alone, with [ErrInvalid].
const (
	MaxKey   = 32768    // bytes
	MaxValue = 16 << 20 // bytes
)

// Op is one change. Value is used by [Put] only and may be empty.
type Op struct {
	Bucket Bucket
	Kind   OpKind
	Key    []byte
	Value  []byte
}

// Batch is a group of changes of which either all or none are made.
type Batch struct {
	// Ops are made in order. The store owns the slice and all it refers to from
	// Submit on, until Done is called.
	Ops []Op

	// Done, if not nil, is called exactly once: with nil when the batch is on the
	// disk, or with the reason why it is not known to be. It is called from the
	// goroutine that writes, so it has to be short and must not wait for the store; it
	// may call Submit. After an error the batch is never tried again by the store;
	// in one case, a disk that fails at the last step of a commit, it may be found
	// after a restart all the same. A Put that is refused may be forgotten; a Delete
	// that failed has to be submitted again, or the record is back after a restart.
	Done func(err error)

	// Lazy says that nobody waits for the batch. A store may keep it back, for a bounded time
	// and with all batches behind it that are lazy as well, until there is more to be written.
	Lazy bool

	// From says who asks, where several batches may come from one: they are no company for each
	// other, for which a store might wait to write them together. "": nobody else asks so.
	From string
}

// Record is one record that was found.
type Record struct {
	Bucket     Bucket
	Key, Value []byte
}

// Migration converts a record from one meaning to the next: it returns its value as it is to
// be from now on, or value itself. It is called for every record of a file that was written
// before. key and value are valid during the call only and must not be changed; what it
// returns belongs to the store. An error ends the start and leaves the file as it was.
type Migration func(b Bucket, key, value []byte) ([]byte, error)

// Store keeps keys and values. All methods may be called from several goroutines.
type Store interface {
	// Durable reports whether what is stored survives the process.
	Durable() bool

	// Load calls yield for all records of the buckets, or of all buckets if none is named,
	// bucket after bucket, in the order of the keys. key and value are valid during the
	// call only and must not be changed. It is meant for the start: yield must not wait for
	// a batch to be committed. An error of yield ends it and is returned. A bucket that does
	// not exist is an error, [ErrInvalid], before any call.
	Load(yield func(b Bucket, key, value []byte) error, buckets ...Bucket) error

	// LoadPrefix queues the reading of all records whose keys begin with prefix, as those of
	// one client do, and never blocks. It takes its turn among the batches: it finds what
	// all those submitted before it have left, and nothing of those submitted after it. Of
	// a batch that was answered with an error it finds all or nothing.
	//
	// done is called exactly once, under the rules of [Batch.Done], with the records bucket
	// after bucket, in the order of the keys; they belong to it. That there are none is no
	// error. With an error there are none: it says why they cannot be read, and concerns
	// nobody else's. An empty prefix is an error, [ErrInvalid].
	//
	// It reports false, and does not call done, where Submit refuses a batch. Until done is
	// called, prefix belongs to the store.
	LoadPrefix(prefix []byte, done func(records []Record, err error)) bool

	// Submit queues a batch and never blocks. It reports false, and does not call
	// Done, when the queue is full or the store is closed: the caller drops or
	// refuses. Batches are committed in the order in which they were submitted. One that
	// is larger than the queue is taken as long as the queue is not full, so that none is
	// refused for ever.
	Submit(b Batch) bool

	// Stats returns the counters. It is cheap.
	Stats() Stats

	// Health returns nil, or why the last commit failed. While it fails the store
	// answers batches with that error at once and tries again by itself once a second.
	Health() error

	// Close commits what was submitted and closes the file. The second call does
	// nothing. It returns the reason if something submitted could not be committed.
	Close() error
}

// Stats are the counters of a store since it was opened. Queue figures and sizes are
// those of the moment.
type Stats struct {
	Commits  uint64 // transactions written
	Batches  uint64 // batches committed
	Ops      uint64 // operations committed
	Bytes    uint64 // bytes of keys and values of committed operations
	Written  uint64 // bytes handed to the file for them, whole pages
	Failures uint64 // commits and reopenings that failed
	Failed   uint64 // batches answered with an error
	Refused  uint64 // batches that Submit did not take

	Compactions uint64        // times the file was rewritten to give space back
	LastCommit  time.Duration // how long the last successful commit took

	Queued      int   // batches and calls of LoadPrefix not yet answered
	QueuedBytes int   // their size in memory, estimated
	FileBytes   int64 // size of the file
	FreeBytes   int64 // part of it that holds nothing and will be used again
}

// What the queue of a store takes by default.
const (
	DefaultQueueBatches = 16384
	DefaultQueueBytes   = 16 << 20
)

// Errors that callers can tell apart, by errors.Is.
var (
	ErrInvalid = errors.New("invalid batch")
	ErrClosed  = errors.New("store is closed")
)

// opOverhead estimates the memory an operation needs beside its key and value.
const opOverhead = 96

// Size is what a batch counts against the limits, in bytes.
func (b Batch) Size() int {
	n := opOverhead
	for i := range b.Ops {
		n += opOverhead + len(b.Ops[i].Key) + len(b.Ops[i].Value)
	}
	return n
}

// Wanted returns the buckets that a call of Load names: all of them if it names none.
func Wanted(buckets []Bucket) ([]Bucket, error) {
	for _, b := range buckets {
		if !b.valid() {
			return nil, fmt.Errorf("%w: %v does not exist", ErrInvalid, b)
		}
	}
	if len(buckets) == 0 {
		return []Bucket{Sessions, Topics, Held, Spool}, nil
	}
	return buckets, nil
}

// CheckPrefix is Check for a call of LoadPrefix.
func CheckPrefix(prefix []byte) error {
	if len(prefix) == 0 || len(prefix) > MaxKey {
		return fmt.Errorf("%w: prefix of %d bytes, at least 1 and at most %d", ErrInvalid, len(prefix), MaxKey)
	}
	return nil
}

// Check finds mistakes of the caller, which would otherwise fail a transaction that
// other batches share. Every store answers such a batch with the error, an [ErrInvalid].
func (b Batch) Check() error {
	for i := range b.Ops {
		op := &b.Ops[i]
		switch {
		case !op.Bucket.valid():
			return fmt.Errorf("%w: %v does not exist", ErrInvalid, op.Bucket)
		case op.Kind > DeletePrefix:
			return fmt.Errorf("%w: unknown kind of operation %d", ErrInvalid, op.Kind)
		case len(op.Key) == 0 && op.Kind != DeletePrefix:
			return fmt.Errorf("%w: empty key in %v", ErrInvalid, op.Bucket)
		case len(op.Key) > MaxKey:
			return fmt.Errorf("%w: key of %d bytes in %v, at most %d", ErrInvalid, len(op.Key), op.Bucket, MaxKey)
		case len(op.Value) > MaxValue:
			return fmt.Errorf("%w: value of %d bytes in %v, at most %d", ErrInvalid, len(op.Value), op.Bucket, MaxValue)
		}
	}
	return nil
}

// Answer calls Done, if there is one.
func (b Batch) Answer(err error) {
	if b.Done != nil {
		b.Done(err)
	}
}

// Count adds a committed batch.
func (s *Stats) Count(b Batch) {
	s.Batches++
	s.Ops += uint64(len(b.Ops))
	for i := range b.Ops {
		s.Bytes += uint64(len(b.Ops[i].Key) + len(b.Ops[i].Value))
	}
}
