package gateway

import (
	"net/netip"

	"sngate/gateway/listen"
)

// unreachable passes on that nobody is at an address, to the session that has it. One is
// on the way to a session at a time, so a flood of them costs little. What is behind a
// forwarder has another address, and is not meant.
func (g *Gateway) unreachable(listener int, addr netip.AddrPort) {
	p := listen.Peer{Listener: listener, Addr: addr}
	e := g.directory.find(p)
	if e == nil || !e.unreachable.CompareAndSwap(false, true) {
		return
	}
	e.shard.queues.post(func() {
		e.unreachable.Store(false)
		e.shard.markUnreachable(e, p)
	})
}

func (s *shard) markUnreachable(e *entry, p listen.Peer) {
	if e.gone || s.frozen || !s.holds(e, p) {
		return
	}
	e.session.Unreachable(s.envFor(e), &s.out)
	s.settle(e)
}
