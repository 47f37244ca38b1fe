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
	c := &connecting{peer: a.peer, shard: s, id: a.assigned}
	*t.slot(a.peer) = c
	return c
}

// find returns the CONNECT from p that waits; nil if there is none.
func (t *connectingTable) find(p listen.Peer) *connecting {
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
