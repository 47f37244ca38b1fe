package dial

// How soon a client id may send CONNECT again: Options.ConnectInterval.

import (
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// interval knows when each client has last sent CONNECT. A client is known by what it is to us, as
// the client id that the broker is told may have the time in it, and by that, as two may be told
// the same. It is safe for concurrent use.
type interval struct {
	length      time.Duration
	seed, named maphash.Seed // of clients, and of client ids that brokers are told

	mu sync.Mutex
	// floor is when clients that are not known have sent theirs at the latest: before the
	// start that may have been in another process.
	floor time.Time
	// Clients are forgotten after one to two lengths: what was begun later is in recent.
	recent, older map[uint64]time.Time
	begun         time.Time // recent was
}

// maxRecent bounds the entries of each of the tables, of which a connect makes two. If there are
// more within one length, all clients are taken to have connected just now.
const maxRecent = 1 << 16

func newInterval(length time.Duration) *interval {
	now := time.Now()
	return &interval{length: length, seed: maphash.MakeSeed(), named: maphash.MakeSeed(), floor: now, begun: now}
}

// left returns how long a client has to wait. v.mu is held.
func (v *interval) left(id uint64, now time.Time) time.Duration {
	last := v.floor
	for _, table := range []map[uint64]time.Time{v.older, v.recent} {
		if at, known := table[id]; known && at.After(last) {
			last = at
		}
	}
	return v.length - now.Sub(last)
}

// note notes that a client sends CONNECT. v.mu is held.
func (v *interval) note(id uint64, now time.Time) {
	switch {
	case len(v.recent) >= maxRecent:
		v.floor, v.older, v.recent, v.begun = now, nil, nil, now
	case now.Sub(v.begun) >= v.length:
		v.older, v.recent, v.begun = v.recent, nil, now
	}
	if v.recent == nil {
		v.recent = make(map[uint64]time.Time)
	}
	v.recent[id] = now
}

// tooSoon is why a connect is put off: for how long.
type tooSoon time.Duration

func (s tooSoon) Error() string {
	return fmt.Sprintf("%v: %v too soon after another one of the client", ErrUnsent, time.Duration(s))
}

// early returns how long a client has to wait before it may send CONNECT.
func (v *interval) early(client string) time.Duration {
	if v.length <= 0 {
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.left(maphash.String(v.seed, client), time.Now())
}

// turn waits until a client may send CONNECT with a client id, which it does then, or until done is
// closed. It seldom has to wait: the connect has been put off before it was dialled. Another with
// the same client id may have been dialled meanwhile.
func (v *interval) turn(done <-chan struct{}, client, clientID string) error {
	for wait := v.take(client, clientID); wait > 0; wait = v.take(client, clientID) {
		select {
		case <-done:
			return ErrCancelled
		case <-time.After(wait):
		}
	}
	return nil
}

// take lets a client send CONNECT with a client id, or returns how long it has to wait.
func (v *interval) take(client, clientID string) time.Duration {
	if v.length <= 0 {
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now, one, other := time.Now(), maphash.String(v.seed, client), maphash.String(v.named, clientID)
	wait := max(v.left(one, now), v.left(other, now))
	if wait <= 0 {
		v.note(one, now)
		v.note(other, now)
	}
	return wait
}
