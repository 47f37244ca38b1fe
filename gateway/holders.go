package gateway

import (
	"container/list"
	"math/bits"
)

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
