package gateway

import (
	"sync/atomic"
	"time"
)

// flow counts what one device sends, of any kind, against session.datagram_rate. It is
// looked at by the reader, before a datagram takes a place in a queue. The zero value is
// a full bucket.
//
// A device talks to one listener at a time, whose reader is one goroutine. When it moves,
// two may meet here; one of them may then count for nothing, which does no harm.
type flow struct{ fullAt atomic.Int64 }

// flowRate is the rate of every flow.
type flowRate struct {
	perToken, depth time.Duration // perToken 0: no limit
}

func newFlowRate(perSecond int) flowRate {
	if perSecond <= 0 {
		return flowRate{}
	}
	return flowRate{perToken: time.Second / time.Duration(perSecond), depth: 2 * time.Second}
}

func (f *flow) allow(r flowRate, now time.Duration) bool {
	if r.perToken == 0 {
		return true
	}
	fullAt := max(time.Duration(f.fullAt.Load()), now) + r.perToken
	if fullAt-now > r.depth {
		return false
	}
	f.fullAt.Store(int64(fullAt))
	return true
}
