package listen

import "net/netip"

// PacketConn is what the gateway needs of a UDP socket. The methods may be called
// from several goroutines at once.
//
// Addresses are canonical: an IPv4 peer is an IPv4 address, never an IPv4-mapped
// IPv6 one, so that an address is good as a map key; an IPv6 link-local peer has its
// zone.
type PacketConn interface {
	// ReadFrom reads one datagram into b, which must have room for 65,535 octets:
	// what does not fit is lost. After Close it fails with net.ErrClosed; after any
	// other error the connection may still be good.
	ReadFrom(b []byte) (n int, from netip.AddrPort, err error)
	// WriteTo sends one datagram. It keeps nothing of b.
	WriteTo(b []byte, to netip.AddrPort) (int, error)
	// LocalAddr is the address the socket is bound to, with the port in use.
	LocalAddr() netip.AddrPort
	// Close ends the connection and wakes its readers.
	Close() error
}

// GroupConn is the multicast side of a listener: it receives what is sent to a
// multicast group, and sends to that group from the listener's own address, because
// a client takes the address a GWINFO comes from as the gateway's (MQTT-SN 1.2
// section 6.1).
type GroupConn interface {
	// ReadFrom reads one datagram that was sent to the group, also one of our own.
	// It behaves as PacketConn.ReadFrom does.
	ReadFrom(b []byte) (n int, from netip.AddrPort, err error)
	// WriteGroup sends one datagram to the group, to travel at most hops hops
	// (1..255; 1 is the local network).
	WriteGroup(b []byte, hops uint8) error
	// Group is the multicast address, with a zone if it is bound to an interface.
	Group() netip.AddrPort
	// Close leaves the group and wakes the readers. The listener stays open.
	Close() error
}

// canonical unmaps an IPv4-mapped IPv6 address. (A zone on such an address is
// meaningless, and dropped.)
func canonical(a netip.AddrPort) netip.AddrPort {
	if a.Addr().Is4In6() {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return a
}
