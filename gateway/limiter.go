package gateway

import "time"

// limiter is a token bucket with time as an argument, kept as one instant: the time
// at which the bucket would be full again. It allocates nothing and has no lock; its
// owner is whoever holds it.
//
// The zero value allows nothing.
type limiter struct {
	perToken time.Duration // time in which one token comes back
	depth    time.Duration // time in which an empty bucket fills up: burst tokens
	fullAt   time.Duration // when the bucket is full again; in the past: it is full
}

// newLimiter returns a full bucket of burst tokens which regains rate tokens per
// second. With a rate or a burst below 1 it allows nothing.
func newLimiter(rate, burst int) limiter { return newSlowLimiter(rate, time.Second, burst) }

// newSlowLimiter is newLimiter for a rate in tokens per period.
func newSlowLimiter(rate int, period time.Duration, burst int) limiter {
	if rate < 1 || burst < 1 {
		return limiter{}
	}
	perToken := max(period/time.Duration(rate), 1)
	// The guard keeps a burst of absurd size from overflowing into a negative depth.
	burst = min(burst, int(min(never/4/perToken, 1<<30)))
	return limiter{perToken: perToken, depth: perToken * time.Duration(burst)}
}

// allow takes one token, or reports that there is none. now may not be negative; a
// now earlier than one before it does no harm.
func (l *limiter) allow(now time.Duration) bool { return l.take(now, 1) }

// take is allow for several tokens, 1 to 1 << 30: all of them or none.
func (l *limiter) take(now time.Duration, tokens int) bool {
	if l.perToken == 0 {
		return false
	}
	fullAt := max(l.fullAt, now) + l.perToken*time.Duration(tokens)
	if fullAt-now > l.depth {
		return false
	}
	l.fullAt = fullAt
	return true
}
