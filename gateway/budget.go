package gateway

import (
	"container/list"
	"math"
	"math/bits"
	"sync/atomic"
)

// budget is the memory for messages held for all devices together (gateway.memory_limit).
// Shards share it.
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

// limitSpool returns how many octets the spools of all devices may hold.
func limitSpool(o *Options) int64 {
	if o.MemoryLimit <= 0 {
		return o.SpoolTotalBytes
	}
	return min(o.SpoolTotalBytes, o.MemoryLimit/2)
}

// holders finds the device of a shard that holds most, to within a factor of two, among
// those that hold any QoS 0 messages: the others have nothing to drop. Classes are
// the number of bits of the octets held.
type holders struct {
	classes  [64]list.List // of *entry
	occupied uint64        // bit i: classes[i] has entries
}

// holder is the place of an entry in holders.
type holder struct {
	place *list.Element // nil: in none
	class int
}

// note puts e, which holds so many octets, in its place; octets 0 takes it out.
func (h *holders) note(e *entry, octets int) {
	class := bits.Len(uint(octets))
	if class == e.holder.class {
		return
	}
	if old := &h.classes[e.holder.class]; e.holder.place != nil {
		if old.Remove(e.holder.place); old.Len() == 0 {
			h.occupied &^= 1 << e.holder.class
		}
	}
	e.holder = holder{class: class}
	if class > 0 {
		e.holder.place = h.classes[class].PushBack(e)
		h.occupied |= 1 << class
	}
}

// biggest returns the holder of most, or nil.
func (h *holders) biggest() *entry {
	if h.occupied == 0 {
		return nil
	}
	return h.classes[bits.Len64(h.occupied)-1].Front().Value.(*entry)
}

// relief bounds how many devices one turn of a shard takes messages from.
const relief = 32

// relieve drops QoS 0 messages of those who hold more than is free.
func (s *shard) relieve() {
	for range relief {
		e := s.holders.biggest()
		if e == nil || e.heldOctets <= s.gw.budget.free() {
			return
		}
		e.session.Yield(s.envFor(e), &s.out)
		s.settle(e)
	}
}
