// Package deadline finds who is to be woken next among very many, nearly all of whom put
// their deadlines off again and again.
package deadline

import (
	"math"
	"time"
)

// Never is the deadline of something that waits for no time.
const Never = time.Duration(math.MaxInt64)

// Slot is what an item carries to be held by a [Heap]: the instant it
// wants to be woken at, and where its entry is. The zero value is an item that waits
// for nothing. An item is in one heap at most.
type Slot struct {
	at  time.Duration // the deadline wanted; meaningful while pos > 0
	pos int32         // index of the entry in the heap plus one; 0: none
}

// slot makes a struct that embeds Slot fit for a [Heap].
func (s *Slot) slot() *Slot { return s }

// timed is an item of a [Heap]: a pointer to a struct with a Slot.
type timed interface{ slot() *Slot }

// Heap orders items by deadline. It belongs to one goroutine and has no lock; the zero value
// is empty. T is a pointer to a struct that embeds [Slot].
//
// It is lazy, because nearly every datagram moves a session's deadline, and nearly
// always to a later time (keep-alive): such a move only stores the new instant in
// the item. The entry stays where it is, too early, and is re-keyed when it surfaces.
// Only a deadline that becomes earlier moves an entry. So an entry's key is never
// later than its item's deadline. [Heap.Next] re-keys what it finds too early on top, so that
// nobody is woken for nothing.
//
// The heap has four children per node: half the levels of a binary one, and the
// children of a node share a cache line or two.
type Heap[T timed] struct {
	heap []entry[T]
}

// entry is an item in the heap. It holds the slot beside the item so that moving an entry
// needs no call through the type parameter.
type entry[T timed] struct {
	key  time.Duration
	slot *Slot
	item T
}

const (
	heapArity = 4
	// heapKeep is the number of entries whose memory is kept however empty the heap is.
	heapKeep = 256
)

// len returns the number of entries.
func (d *Heap[T]) len() int { return len(d.heap) }

// Update sets item's deadline to at. [Never] takes the deadline away; the entry then
// goes when it surfaces, or with [Heap.Remove].
func (d *Heap[T]) Update(item T, at time.Duration) {
	s := item.slot()
	if s.pos == 0 {
		if at == Never {
			return
		}
		s.at = at
		d.heap = append(d.heap, entry[T]{key: at, slot: s, item: item})
		d.up(len(d.heap) - 1)
		return
	}
	s.at = at
	if i := int(s.pos) - 1; at < d.heap[i].key {
		d.heap[i].key = at
		d.up(i)
	}
}

// Remove takes item out, so that the heap no longer refers to it. An item that is
// not in the heap is left alone.
func (d *Heap[T]) Remove(item T) {
	if s := item.slot(); s.pos != 0 {
		d.delete(int(s.pos) - 1)
	}
}

// Next returns the earliest deadline, or [Never].
func (d *Heap[T]) Next() time.Duration {
	for len(d.heap) > 0 {
		switch top := &d.heap[0]; top.slot.at {
		case top.key:
			return top.key
		case Never:
			d.delete(0)
		default:
			top.key = top.slot.at
			d.down(0)
		}
	}
	return Never
}

// tick is what deadlines that need not be exact are put off to a multiple of, so that many of
// them wake their owner once.
const tick = 500 * time.Millisecond

// Coarse returns when something is to be woken that is due at the instant at, but may be up to
// half a second late: exactly then if that is within a second.
func Coarse(at, now time.Duration) time.Duration {
	if at == Never || at-now <= 2*tick {
		return at
	}
	return (at + tick - 1) / tick * tick
}

// Due takes out and returns the item with the earliest deadline if that is at or
// before now. The caller gives it its next deadline with [Heap.Update]. Items come in the
// order of their deadlines.
func (d *Heap[T]) Due(now time.Duration) (item T, ok bool) {
	for len(d.heap) > 0 && d.heap[0].key <= now {
		top := &d.heap[0]
		switch at := top.slot.at; {
		case at == top.key:
			item = top.item
			d.delete(0)
			return item, true
		case at == Never:
			d.delete(0)
		default:
			top.key = at
			d.down(0)
		}
	}
	return item, false
}

// delete removes the entry at index i and marks its item as not held.
func (d *Heap[T]) delete(i int) {
	d.heap[i].slot.pos = 0
	last := len(d.heap) - 1
	moved := d.heap[last]
	d.heap[last] = entry[T]{} // the array must not keep the item alive
	d.heap = d.heap[:last]
	if i < last {
		d.heap[i] = moved
		d.up(i)
		d.down(int(moved.slot.pos) - 1)
	}
	// Give memory back after a peak. The factor of four leaves the slice half empty,
	// so that the next growth and the next shrinking are both far away.
	if c := cap(d.heap); c > heapKeep && len(d.heap) < c/4 {
		d.heap = append(make([]entry[T], 0, c/2), d.heap...)
	}
}

// up moves the entry at index i towards the root until its parent is not later.
func (d *Heap[T]) up(i int) {
	e := d.heap[i]
	for i > 0 {
		parent := (i - 1) / heapArity
		if d.heap[parent].key <= e.key {
			break
		}
		d.put(i, d.heap[parent])
		i = parent
	}
	d.put(i, e)
}

// down moves the entry at index i away from the root until no child is earlier.
func (d *Heap[T]) down(i int) {
	e := d.heap[i]
	for {
		first := heapArity*i + 1
		if first >= len(d.heap) {
			break
		}
		least := first
		for c := first + 1; c < min(first+heapArity, len(d.heap)); c++ {
			if d.heap[c].key < d.heap[least].key {
				least = c
			}
		}
		if e.key <= d.heap[least].key {
			break
		}
		d.put(i, d.heap[least])
		i = least
	}
	d.put(i, e)
}

// put stores an entry at index i and tells its item so.
func (d *Heap[T]) put(i int, e entry[T]) {
	d.heap[i] = e
	e.slot.pos = int32(i + 1)
}
