package listen

import (
	"errors"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A socket that is not connected learns of ICMP errors through its error queue only
// (IP_RECVERR, ip(7)). With that the next call on the socket fails once for each of
// them, whatever it was about to do; udpConn takes the queue then, and does it again.

// queueErrors has the ICMP errors of what a socket has sent put into its error queue.
func queueErrors(c *net.UDPConn, v6 bool) error {
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	return control(c, func(fd uintptr) error {
		return unix.SetsockoptInt(int(fd), level, option, 1)
	})
}

// errorsAtOnce bounds how many ICMP errors one call of takeErrors takes.
const errorsAtOnce = 128

// takeErrors empties the error queue of a socket, up to errorsAtOnce, and tells which
// addresses are unreachable. It reports whether there was anything.
func takeErrors(c *net.UDPConn, unreachable func(netip.AddrPort)) (any bool) {
	// Beside the error, there may be the address of who has reported it.
	var oob [256]byte
	for range errorsAtOnce {
		var n int
		var to unix.Sockaddr
		err := control(c, func(fd uintptr) (err error) {
			_, n, _, to, err = unix.Recvmsg(int(fd), nil, oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			return err
		})
		if err != nil {
			return any
		}
		any = true
		if to := addrPortOf(to); to.IsValid() && saysUnreachable(oob[:n]) {
			unreachable(to)
		}
	}
	return any
}

// queuedError reports whether err is one that the kernel makes of an ICMP error.
func queuedError(err error) bool {
	for _, errno := range []unix.Errno{
		unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET,
		unix.ENOPROTOOPT, unix.EPROTO, unix.EACCES, unix.EMSGSIZE, unix.EOPNOTSUPP,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// The types and codes of ICMP (RFC 792) and ICMPv6 (RFC 4443) that matter.
const (
	icmpUnreachable         = 3
	icmpFragmentationNeeded = 4 // a code of it that says something of a size
	icmp6Unreachable        = 1
)

// saysUnreachable reports whether an entry of the error queue says that nobody is at the
// address.
func saysUnreachable(oob []byte) bool {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for _, m := range messages {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !v4 && !v6 || len(m.Data) < int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			continue
		}
		// sock_extended_err (linux/errqueue.h): errno, 4 octets, then origin, type and code.
		switch origin, kind, code := m.Data[4], m.Data[5], m.Data[6]; {
		case origin == unix.SO_EE_ORIGIN_ICMP && kind == icmpUnreachable && code != icmpFragmentationNeeded,
			origin == unix.SO_EE_ORIGIN_ICMP6 && kind == icmp6Unreachable:
			return true
		}
	}
	return false
}

// addrPortOf is a socket address in the form that ReadFrom has.
func addrPortOf(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		addr := netip.AddrFrom16(a.Addr)
		if a.ZoneId != 0 {
			if i, err := net.InterfaceByIndex(int(a.ZoneId)); err == nil {
				addr = addr.WithZone(i.Name)
			}
		}
		return canonical(netip.AddrPortFrom(addr, uint16(a.Port)))
	}
	return netip.AddrPort{}
}
