package persist

import (
	"fmt"
	"sync/atomic"
	"time"

	"sngate/gateway/session"
	"sngate/internal/binrec"
	"sngate/store"
)

// Keeper gives the store what has to survive a restart. It may be used from many goroutines.
type Keeper struct {
	store store.Store
	now   func() time.Duration
	down  atomic.Bool   // the store did not take something
	lived time.Duration // running time of earlier processes; set by Load, before others run
}

// New returns the keeper of a store. now is the monotonic time since the gateway started.
func New(s store.Store, now func() time.Duration) *Keeper { return &Keeper{store: s, now: now} }

// Submit gives the store the records that a step of a session has left, as one batch, or
// reports that its queue is full. done is told the store's answer, from any goroutine. at
// says what the shell adds to the session's own record. A batch without records is answered
// behind those before it. lazy says that nobody waits for the answer: see store.Batch.
func (k *Keeper) Submit(clientID string, records []session.Record, at func() Entry, done func(error), lazy bool) bool {
	ops := make([]store.Op, len(records))
	for i := range records {
		ops[i] = opOf(clientID, &records[i], at)
	}
	return k.store.Submit(store.Batch{Ops: ops, Done: done, Lazy: lazy, From: clientID})
}

// Erase removes all that is stored of a client, or reports that the queue is full. done is
// told the store's answer, from any goroutine.
func (k *Keeper) Erase(clientID string, done func(error)) bool {
	var ops []store.Op
	for b := store.Sessions; b <= store.Spool; b++ {
		ops = append(ops, store.Op{Bucket: b, Kind: store.DeletePrefix, Key: keyOf(clientID, "", nil)})
	}
	return k.store.Submit(store.Batch{Ops: ops, Done: done, From: clientID})
}

// Busy reports whether the store's queue is more than half full.
func (k *Keeper) Busy() bool {
	stats := k.store.Stats()
	return stats.Queued > store.DefaultQueueBatches/2 || stats.QueuedBytes > store.DefaultQueueBytes/2
}

// Down reports whether the store has not taken something since Works was last called.
func (k *Keeper) Down() bool { return k.down.Load() }

// Failed notes that the store has not taken something.
func (k *Keeper) Failed() { k.down.Store(true) }

// Works notes that the store works, and reports whether it did not before.
func (k *Keeper) Works() bool { return k.down.Swap(false) }

// Fault returns why something that should be in the store is not, or nil. unsaved is how
// many clients it may not have what it should of.
func (k *Keeper) Fault(unsaved int64) error {
	if err := k.store.Health(); err != nil {
		return err
	}
	if unsaved > 0 {
		return fmt.Errorf("changes to %d sessions were not taken and have to be written again", unsaved)
	}
	return nil
}

// Describe describes the store in a few words, for people.
func (k *Keeper) Describe() string {
	if !k.store.Durable() {
		return "none, everything is in memory"
	}
	s := k.store.Stats()
	return fmt.Sprintf("%.1f MiB in the file, %d commits, the last one took %v",
		float64(s.FileBytes)/(1<<20), s.Commits, s.LastCommit.Round(10*time.Microsecond))
}

// Running is the time for which the gateway has been running at now, all its lives
// together: what is to last longer than a process is measured by it. A wall clock may
// jump by years on a machine that has no clock of its own.
func (k *Keeper) Running(now time.Duration) time.Duration { return k.lived + now }

// Since is the inverse of Running: the gateway's time at a running time, negative for one
// of an earlier process.
func (k *Keeper) Since(running time.Duration) time.Duration { return running - k.lived }

// SaveClock stores the running time.
func (k *Keeper) SaveClock() {
	k.saveOwn(clockKey, binrec.New(8).U64(uint64(k.Running(k.now()))))
}

// SaveBroker stores the address of the broker in use.
func (k *Keeper) SaveBroker(address string) { k.saveOwn(brokerKey, []byte(address)) }

// SavePredefined stores the digest of the predefined topics.
func (k *Keeper) SavePredefined(digest []byte) { k.saveOwn(predefinedKey, digest) }

// saveOwn stores a record of the gateway's own. If that fails, it has to be done again when
// the store works.
func (k *Keeper) saveOwn(key string, value []byte) {
	done := func(err error) {
		if err != nil {
			k.Failed()
		}
	}
	if !k.store.Submit(store.Batch{Ops: []store.Op{{Bucket: store.Sessions, Key: []byte(key), Value: value}}, Done: done}) {
		k.Failed()
	}
}
