package oplog

// How many lines the log may have of each kind and level.

import (
	"sync"
	"time"

	"sngate/internal/rate"
)

// Kind is a kind of log lines with bounds of its own, so that a flood of one kind hides
// nothing of another.
type Kind uint8

// The kinds of lines.
const (
	Sessions  Kind = iota // what becomes of devices that have been accepted before
	Devices               // what else their devices cause
	Strangers             // what anybody can cause
	Broker                // what the broker causes
	Faults                // errors of sockets, and our own
)

// limits bounds one kind.
type limits struct {
	perSecond int // lines of each level
	daily     int // octets at info; half of it at warn, an eighth at error
}

// dailyLogLimit is what the log of a day stays below, in octets, at level info: what
// limitsOf adds up to, with the levels, and room for the lines of the built-in broker,
// which has bounds of its own, and for those that only the operator causes.
const dailyLogLimit = 100_000_000

var limitsOf = [...]limits{
	Sessions:  {perSecond: 100, daily: 18_000_000},
	Devices:   {perSecond: 100, daily: 16_000_000},
	Strangers: {perSecond: 50, daily: 11_000_000},
	Broker:    {perSecond: 10, daily: 4_500_000},
	Faults:    {perSecond: 10, daily: 4_500_000},
}

// lineOverhead is what a line has at most beside the texts that are given to Log.At:
// time, level, the names of the fields, numbers, and the message.
const lineOverhead = 320

// level is one level of one kind.
type level struct {
	mu        sync.Mutex
	perSecond rate.Limiter // of lines
	octets    rate.Limiter
	leftOut   uint64
}

// take reports whether one more line of so many octets may be written, and how many were
// left out before it.
func (v *level) take(now time.Duration, octets int, bounded bool) (leftOut uint64, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.leftOut > 0 {
		octets += lineOverhead // of the line that tells it
	}
	if !v.perSecond.Allow(now) || bounded && !v.octets.Take(now, octets) {
		v.leftOut++
		return 0, false
	}
	leftOut, v.leftOut = v.leftOut, 0
	return leftOut, true
}
