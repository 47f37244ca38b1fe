package gateway

import (
	"math"
	"sync/atomic"

	"sngate/gateway/session"
)

// budget is a number of octets for all devices together, such as the memory for the messages
// held for them (gateway.memory_limit). Shards share it.
//
// One rule shares it out: nobody may hold more than is left free. A single device can
// have half of it; of n that want as much as they can get, each has 1/(n+1), and as much
// is free for who comes next. As the free part shrinks, those who hold most are the
// first that hold more than it: their QoS 0 messages are dropped, oldest first, and when
// they have none, their connections to the broker are not read, so that QoS 1 and 2
// messages wait there. Who holds nothing may always have one message.
//
// Messages that wait in the spool for the broker count as well: they are in memory too.
// They are never dropped for others, because a device has been told that they are safe, so
// they may take at most half of it (limitSpool).
//
// What was on its way when a connection was stopped still comes, so a little more than
// the limit may be held.
type budget struct {
	limit int64 // octets; 0: none
	used  atomic.Int64
}

// add counts delta octets more, or fewer.
func (b *budget) add(delta int) { b.used.Add(int64(delta)) }

// free is how much is left.
func (b *budget) free() int {
	if b.limit <= 0 {
		return math.MaxInt
	}
	return int(min(max(b.limit-b.used.Load(), 0), math.MaxInt))
}

// What devices make the gateway remember beside messages (their footprints: wills, topic names, subscriptions,
// client ids, node ids: session.Footprint) counts in the budget of memory, and has one of its
// own for the store, of which it may fill a part. The rule is that of budget: nobody may
// have more than is left free. It differs in two things, because a footprint cannot be
// shed. A quarter of either is left to those who are known, so that no crowd of strangers
// takes it all; and every session, however full it is, may have a small share that is
// always there.

// storedPart is the part of the store's file that footprints may fill, and the same for the
// messages held in it. Pages are half full at worst, so that is half of the file.
const storedPart = 8

// footprintShare is the part of a budget that all footprints together may have whatever is free.
const footprintShare = 4

// share tells how much of a budget one session may have.
func (b *budget) share(known bool, sessions int) int {
	if b.limit <= 0 {
		return math.MaxInt
	}
	free := int64(b.free())
	if !known {
		free -= b.limit / 4
	}
	if always := b.limit / footprintShare; free >= always { // nearly always, and without a division
		return int(min(free, math.MaxInt))
	}
	return int(min(max(free, b.limit/footprintShare/int64(max(sessions, 1))), math.MaxInt))
}

// limits are what all shards have together, so that one device cannot take what others need.
type limits struct {
	memory     budget       // for messages and footprints
	footprints budget       // of the store: for these
	held       budget       // of the store: for messages held for devices
	spooled    atomic.Int64 // octets in the store for the broker, of all devices
	spoolMax   int64        // of them; see limitSpool
	sessions   atomic.Int64
}

// newLimits returns those that the options say.
func newLimits(o *Options) *limits {
	return &limits{
		memory:     budget{limit: o.MemoryLimit},
		footprints: budget{limit: o.StoreMaxBytes / storedPart},
		held:       budget{limit: o.StoreMaxBytes / storedPart},
		spoolMax:   limitSpool(o),
	}
}

// limitSpool returns how many octets the spools of all devices may hold.
func limitSpool(o *Options) int64 {
	if o.MemoryLimit <= 0 {
		return o.SpoolTotalBytes
	}
	return min(o.SpoolTotalBytes, o.MemoryLimit/2)
}

// admit fills in what a session may take in a step: known is whether its device is no
// stranger, of which there may be a crowd, and most how many sessions there can be.
func (l *limits) admit(env *session.Env, known bool, most int) {
	env.SpoolRoom = l.spooled.Load() < l.spoolMax
	env.HeldRoom = l.held.limit <= 0 || l.held.free() > 0
	env.FootprintLimit = min(l.memory.share(known, most), l.footprints.share(known, most))
	env.Allowance = l.memory.free()
}
