//go:build !linux

package listen

import (
	"net"
	"net/netip"
)

// queueErrors has nothing to do: these systems do not tell which address an ICMP error
// is about, for a socket that is not connected.
func queueErrors(*net.UDPConn, bool) error { return nil }

func takeErrors(*net.UDPConn, func(netip.AddrPort)) bool { return false }

func queuedError(error) bool { return false }
