package listen

import (
	"errors"
	"net"
	"net/netip"
)

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
