// Package listen is the gateway's side towards its devices: sockets, multicast groups, the
// loop that reads datagrams into pooled buffers, and Peer, which says where a device is. It
// knows no session and no shard; what is read is handed to a function.
package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Options describes a listener.
type Options struct {
	Address       string     // "host:port"
	Group         netip.Addr // multicast group for discovery, on the listener's port; the zero Addr: none
	Interface     string     // of the group; "": the system's choice
	ReceiveBuffer int        // octets; 0: DefaultReceiveBuffer
}

// Listener is an open listener.
type Listener struct {
	Conn          PacketConn
	Group         GroupConn // nil: none
	ReceiveBuffer int       // octets granted
}

// OnUnreachable has f called for each address that something was sent to and nobody is at,
// where the connection learns of that. It is called before the first ReadFrom and WriteTo,
// and f by those: it must not wait.
func (l *Listener) OnUnreachable(f func(netip.AddrPort)) {
	if c, ok := l.Conn.(*udpConn); ok {
		c.unreachable = f
	}
}

// KernelDrops is how many datagrams the operating system has dropped because the receive
// buffer was full, since the socket was opened; false where the platform does not tell. The
// kernel counts in 32 bits.
func (l *Listener) KernelDrops() (uint64, bool) {
	if c, ok := l.Conn.(interface{ KernelDrops() (uint64, bool) }); ok {
		return c.KernelDrops()
	}
	return 0, false
}

// Open opens a listener of UDP sockets.
func Open(o Options) (Listener, error) {
	udp := udpOptions{Address: o.Address, ReceiveBuffer: o.ReceiveBuffer}
	if o.Group.IsValid() {
		port, err := resolvePort(o.Address)
		if err != nil {
			return Listener{}, err
		}
		udp.Group = netip.AddrPortFrom(o.Group, port)
	}
	conn, granted, err := openUDP(udp)
	if err != nil {
		return Listener{}, err
	}
	l := Listener{Conn: conn, ReceiveBuffer: granted}
	if o.Group.IsValid() {
		if l.Group, err = openGroup(conn, groupOptions{Group: udp.Group, Interface: o.Interface}); err != nil {
			return Listener{}, errors.Join(err, conn.Close())
		}
	}
	return l, nil
}

// resolvePort returns the port of "host:port", which a group shares: not 0.
func resolvePort(address string) (uint16, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, fmt.Errorf("listen on udp %s: %w", address, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("listen on udp %s: port %q is no port that a multicast group can have", address, port)
	}
	return uint16(n), nil
}
