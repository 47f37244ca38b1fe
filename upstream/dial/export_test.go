package dial

import (
	"context"
	"net"
	"net/netip"
)

// DialFrom returns what [Net] does, with another way to dial from one address.
func DialFrom(from []netip.Addr, dial func(context.Context, netip.Addr, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return newSources(from, dial).Dial
}

// Resting returns how many workers wait for a connect.
func Resting(d *Dialer) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.resting)
}
