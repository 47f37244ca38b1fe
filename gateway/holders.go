package gateway

import (
	"math/bits"
)

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
