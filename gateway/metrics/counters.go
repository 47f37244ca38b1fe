package metrics

import (
	"sync/atomic"

	"sngate/gateway/session"
	"sngate/gateway/session/dialogue"
)

// Counters are what one shard or reader counts on its way. They are plain arrays,
// found without a lookup, and one writer's alone, so that counting costs an
// uncontended atomic addition; a scrape adds up those of all writers.
//
// Several goroutines may share one if none of them is busy.
type Counters struct {
	_             [64]byte // keeps the neighbours' writes off our cache lines
	received      [256]atomic.Uint64
	sent          [256]atomic.Uint64
	bytesIn       atomic.Uint64
	bytesOut      atomic.Uint64
	retransmitted []atomic.Uint64 // by kind
	reasons       []atomic.Uint64 // of drops
	ended         []atomic.Uint64 // sessions, by reason
	_             [64]byte
}

// Received counts a received message of n octets.
func (c *Counters) Received(msgType byte, n int) {
	c.received[msgType].Add(1)
	c.bytesIn.Add(uint64(n))
}

// Sent counts a sent message of n octets.
func (c *Counters) Sent(msgType byte, n int) {
	c.sent[msgType].Add(1)
	c.bytesOut.Add(uint64(n))
}

// Retransmit counts a message that was sent again; Sent counts it as well.
func (c *Counters) Retransmit(kind dialogue.Kind) { c.retransmitted[kind].Add(1) }

// Drop counts a drop.
func (c *Counters) Drop(reason session.Reason) { c.reasons[reason].Add(1) }

// End counts the end of a session.
func (c *Counters) End(reason session.Reason) { c.ended[reason].Add(1) }
