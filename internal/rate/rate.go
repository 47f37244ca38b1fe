// Package rate is the token bucket of the whole gateway. Time is an argument, so that it
// can be used inside state machines and tested without waiting; nothing here allocates,
// locks or reads a clock.
//
// What a bucket may hold is a [Limit], which many buckets share; the bucket itself is one
// instant, the time at which it is full again (8 octets). Times are monotonic, counted from any
// fixed start, and not negative. One that is earlier than another before it does no harm.
package rate

import (
	"sync/atomic"
	"time"
)

// Limit is how fast tokens come back and how many a full bucket has. The zero value is
// no limit: every bucket gives whatever is asked of it.
type Limit struct {
	tokens int64         // come back in period; 0: no limit
	period time.Duration // above 0 where tokens is
	one    time.Duration // in which one of them comes back, so that taking one needs no division
	depth  time.Duration // in which an empty bucket fills up
}

// maxBurst keeps the depth of a limit, in nanoseconds, far from the end of the range.
const maxBurst = 1 << 30

// PerSecond is a limit of so many tokens per second with a burst that passes at once. With
// tokens of 0 or less it is no limit, and otherwise with a burst of 0 or less nothing passes.
// A burst above 1 << 30 counts as that.
func PerSecond(tokens, burst int) Limit {
	if tokens <= 0 {
		return Limit{}
	}
	l := Limit{tokens: int64(tokens), period: time.Second, one: time.Second / time.Duration(tokens)}
	l.depth = l.time(min(max(burst, 0), maxBurst))
	return l
}

// Every is a limit of one token in each interval, where an empty bucket takes depth to fill
// up: as many intervals as the burst has tokens. With an interval of 0 it is no limit.
func Every(interval, depth time.Duration) Limit {
	if interval <= 0 {
		return Limit{}
	}
	return Limit{tokens: 1, period: interval, one: interval, depth: depth}
}

// time is how long n tokens take to come back. There is a limit.
func (l Limit) time(n int) time.Duration {
	if n == 1 {
		return l.one
	}
	return time.Duration(n) * l.period / time.Duration(l.tokens)
}

// take returns when a bucket is full again from which n tokens are taken, and how long it
// takes until they are there; only if that is 0 or less may they be taken.
func (l Limit) take(fullAt, now time.Duration, n int) (next, wait time.Duration) {
	if l.tokens == 0 {
		return fullAt, 0
	}
	next = max(fullAt, now) + l.time(n)
	return next, next - now - l.depth
}

// Bucket is the fill of one bucket; its owner always passes the same limit. The zero value
// is full.
type Bucket struct{ fullAt time.Duration }

// Take takes n tokens, or none and reports false if there are not so many. n is 0 to 1 << 30,
// and n intervals of the limit must not be longer than 100 years.
func (b *Bucket) Take(l Limit, now time.Duration, n int) bool { return b.TakeOrWait(l, now, n) == 0 }

// TakeOrWait is Take for somebody who waits: it returns 0 if the tokens are taken, and
// otherwise how long it takes until they are there, if nobody else takes any.
func (b *Bucket) TakeOrWait(l Limit, now time.Duration, n int) (wait time.Duration) {
	next, wait := l.take(b.fullAt, now, n)
	if wait > 0 {
		return wait
	}
	b.fullAt = next
	return 0
}

// Wait returns how long it takes until n tokens are there, if nobody takes any; 0: they are.
func (b *Bucket) Wait(l Limit, now time.Duration, n int) time.Duration {
	_, wait := l.take(b.fullAt, now, n)
	return max(wait, 0)
}

// AtomicBucket is a bucket without a lock that several goroutines may take from. When two do so
// at the same time, one of them may count for nothing. The zero value is full.
type AtomicBucket struct{ fullAt atomic.Int64 }

// Take takes n tokens like [Bucket.Take].
func (b *AtomicBucket) Take(l Limit, now time.Duration, n int) bool {
	next, wait := l.take(time.Duration(b.fullAt.Load()), now, n)
	if wait > 0 {
		return false
	}
	b.fullAt.Store(int64(next))
	return true
}

// Limiter is a bucket with its limit, for what there is only one of. The zero value is no
// limit.
type Limiter struct {
	limit  Limit
	bucket Bucket
}

// NewLimiter returns a full bucket.
func NewLimiter(l Limit) Limiter { return Limiter{limit: l} }

// Allow takes one token, or reports that there is none.
func (l *Limiter) Allow(now time.Duration) bool { return l.Take(now, 1) }

// Take takes n tokens like [Bucket.Take].
func (l *Limiter) Take(now time.Duration, n int) bool { return l.bucket.Take(l.limit, now, n) }
