package gateway

import (
	"hash/maphash"

	"sngate/gateway/listen"
)

func newConnectingTable() *connectingTable { return &connectingTable{seed: maphash.MakeSeed()} }

func (t *connectingTable) slot(p listen.Peer) **connecting {
	return &t.slots[maphash.Comparable(t.seed, p)%connectingSlots]
}

// add remembers a CONNECT on its way to s.
func (t *connectingTable) add(a *arrival, s *shard) *connecting {
	c := &connecting{peer: a.peer, shard: s, id: a.assigned, waiting: &t.waiting}
	t.waiting.Add(1)
	*t.slot(a.peer) = c
	t.added++
	return c
}

// handled says that the shard is done with it.
func (c *connecting) handled() {
	if !c.done.Swap(true) {
		c.waiting.Add(-1)
	}
}

// find returns the CONNECT from p that waits; nil if there is none. Most of the time none waits
// at all.
func (t *connectingTable) find(p listen.Peer) *connecting {
	if t.waiting.Load() == 0 {
		if t.added > connectingKept {
			clear(t.slots[:])
			t.added = 0
		}
		return nil
	}
	slot := t.slot(p)
	switch c := *slot; {
	case c == nil:
		return nil
	case c.done.Load():
		*slot = nil
		return nil
	case c.peer == p:
		return c
	}
	return nil
}
