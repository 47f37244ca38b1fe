package gateway

import (
	"hash/maphash"
	"sync/atomic"

	"sngate/gateway/listen"
)

// connecting is a CONNECT that waits in a shard's queue. What its sender sends after it is
// put into the same queue, or it would come first and be answered with DISCONNECT.
type connecting struct {
	peer  listen.Peer
	shard *shard
	id    string      // the client id it gets, if it has none
	done  atomic.Bool // the shard has handled it

	awaits string // the shard's: the client id whose session it waits for, while that is being loaded
}

// connectingSlots is how many of them a reader remembers. Which one gives way is a matter
// of chance; its sender is treated as if it had not sent CONNECT yet.
const connectingSlots = 1024

// connectingTable remembers them. It is a reader's own, and does not grow.
type connectingTable struct {
	seed  maphash.Seed
	slots [connectingSlots]*connecting
}

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
