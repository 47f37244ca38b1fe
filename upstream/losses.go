package upstream

import (
	"sync"
	"time"
)

// lossSlot and lossSlots make up the time before a loss in which other losses count
// as the same event: one second.
const (
	lossSlot  = 125 * time.Millisecond
	lossSlots = 8
)

// losses tells a broker that went away, which everyone feels, from a device that has
// moved to another gateway, which takes over its session and closes one connection
// here. It counts, for all Links of a Dialer, the open connections and the losses.
type losses struct {
	mu    sync.Mutex
	open  int
	total uint64
	slots [lossSlots]struct {
		at int64 // now / lossSlot
		n  uint64
	}
}

// lossMark remembers the surroundings of one loss.
type lossMark struct {
	before uint64 // losses in total a second before this one
	others uint64 // other connections there were then
}

func (s *losses) opened() {
	s.mu.Lock()
	s.open++
	s.mu.Unlock()
}

// closed is called for a connection that was ended on purpose.
func (s *losses) closed() {
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
}

// lost is called for a connection that ended unasked.
func (s *losses) lost(now time.Duration) lossMark {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := int64(now / lossSlot)
	var recent uint64
	for i := range s.slots {
		if at-s.slots[i].at < lossSlots {
			recent += s.slots[i].n
		}
	}
	m := lossMark{before: s.total - recent, others: uint64(s.open-1) + recent}
	s.open--
	s.total++
	slot := &s.slots[at%lossSlots]
	if slot.at != at {
		slot.at, slot.n = at, 0
	}
	slot.n++
	return m
}

// alone reports, some time after the loss of m, whether it was one of few: fewer than
// half of the other connections were lost with it. With no others there is nothing
// to compare with, and lone is set.
func (s *losses) alone(m lossMark) (isolated, lone bool) {
	s.mu.Lock()
	lost := s.total - m.before - 1
	s.mu.Unlock()
	return m.others > 0 && 2*lost < m.others, m.others == 0
}
