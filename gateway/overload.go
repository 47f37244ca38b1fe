package gateway

import (
	"sync/atomic"
	"time"

	"sngate/gateway/session"
)

// overload counts what readers have dropped of one device before its shard saw it. Readers
// write it, the shard reads it for who asks.
type overload struct {
	rate, queue atomic.Uint32 // datagrams: beyond session.datagram_rate; no place in the queue
	last        atomic.Int64  // gateway time of the last, ns
}

func (o *overload) note(now time.Duration, why session.Reason) {
	o.last.Store(int64(now))
	if why == session.ReasonDatagramRate {
		o.rate.Add(1)
	} else {
		o.queue.Add(1)
	}
}
