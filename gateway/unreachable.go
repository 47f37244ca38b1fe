package gateway

import (
	"errors"
	"net"
	"net/netip"
)

// unreachables is a PacketConn that learns when nobody is at an address that something
// was sent to.
type unreachables interface {
	// OnUnreachable has f called for each such address. It is called before the first
	// ReadFrom and WriteTo, and f by those: it must not wait.
	OnUnreachable(f func(netip.AddrPort))
}

// OnUnreachable implements unreachables.
func (c *udpConn) OnUnreachable(f func(netip.AddrPort)) { c.unreachable = f }

// triesAfterErrors bounds how often a call is done again that has failed because of
// ICMP errors: shards must not wait for a flood of them to end.
const triesAfterErrors = 4

// again reports whether a call that has failed with err is worth doing again: the error
// was one that the network has reported of earlier datagrams. Somebody else may have
// taken it from the queue meanwhile.
func (c *udpConn) again(err error, tries *int) bool {
	if errors.Is(err, net.ErrClosed) || *tries >= triesAfterErrors {
		return false
	}
	*tries++
	return takeErrors(c.UDPConn, c.report) || queuedError(err)
}

// readAgain is the same for reading: a reader that has taken errors has read something.
func (c *udpConn) readAgain(err error, tries *int) bool {
	if !errors.Is(err, net.ErrClosed) && takeErrors(c.UDPConn, c.report) {
		return true
	}
	return c.again(err, tries)
}

func (c *udpConn) report(addr netip.AddrPort) {
	if c.unreachable != nil {
		c.unreachable(addr)
	}
}

// unreachable passes on that nobody is at an address, to the session that has it. One is
// on the way to a session at a time, so a flood of them costs little. What is behind a
// forwarder has another address, and is not meant.
func (g *Gateway) unreachable(listener int, addr netip.AddrPort) {
	p := peer{listener: listener, addr: addr}
	e := g.directory.find(p)
	if e == nil || !e.unreachable.CompareAndSwap(false, true) {
		return
	}
	e.shard.posted.post(func() {
		e.unreachable.Store(false)
		e.shard.markUnreachable(e, p)
	})
}

func (s *shard) markUnreachable(e *entry, p peer) {
	if e.gone || s.frozen || !s.holds(e, p) {
		return
	}
	e.session.Unreachable(s.envFor(e), &s.out)
	s.settle(e)
}
