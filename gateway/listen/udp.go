package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// DefaultReceiveBuffer is the receive buffer asked for a listener, in octets. The
// usual default of the system holds about 250 small datagrams: less than the answers
// of a few hundred sleepers that wake together.
const DefaultReceiveBuffer = 4 << 20

// udpOptions describes a listener.
type udpOptions struct {
	// Address is "host:port". Without a host the socket takes IPv4 and IPv6;
	// "0.0.0.0" is IPv4 only and "[::]" IPv6 only. A link-local host needs its zone
	// ("[fe80::1%eth0]:1883").
	Address string
	// ReceiveBuffer in octets; 0 is DefaultReceiveBuffer.
	ReceiveBuffer int
	// Group makes the listener fit for openGroup with this address. The zero value
	// is a listener without multicast.
	Group netip.AddrPort
}

// udpConn is PacketConn over a UDP socket.
type udpConn struct {
	*net.UDPConn
	local       netip.AddrPort
	unreachable func(netip.AddrPort) // nil: nobody wants to know
}

// openUDP opens a listener. It returns the size of the receive buffer that the
// system granted, in octets, to be compared with what was asked; less is no error.
func openUDP(opts udpOptions) (conn PacketConn, receiveBuffer int, err error) {
	conn, receiveBuffer, err = listenUDP(opts)
	if err != nil {
		return nil, 0, fmt.Errorf("listen on udp %s: %w", opts.Address, err)
	}
	return conn, receiveBuffer, nil
}

func listenUDP(opts udpOptions) (*udpConn, int, error) {
	network, err := udpNetwork(opts.Address)
	if err != nil {
		return nil, 0, err
	}
	share := opts.Group.IsValid()
	pc, err := bindListener(network, opts.Address, share)
	if err != nil {
		return nil, 0, err
	}
	udp := pc.(*net.UDPConn)
	c := &udpConn{UDPConn: udp, local: canonical(udp.LocalAddr().(*net.UDPAddr).AddrPort())}
	granted, err := c.prepare(opts, share)
	if err != nil {
		_ = udp.Close()
		return nil, 0, err
	}
	return c, granted, nil
}

// prepare sets the options of a bound socket.
func (c *udpConn) prepare(opts udpOptions, share bool) (granted int, err error) {
	// The socket must not receive what is sent to groups that some socket of this
	// host has joined: a SEARCHGW would be answered twice. Kernels before 4.20 cannot
	// do this for IPv6, which matters only if there is such a group.
	err4, err6 := refuseGroups(c.UDPConn, false), error(nil)
	if c.local.Addr().Is6() {
		err6 = refuseGroups(c.UDPConn, true)
	}
	// Without it, deliveries to where nobody is go on: no reason not to start.
	_ = queueErrors(c.UDPConn, false)
	if c.local.Addr().Is6() {
		_ = queueErrors(c.UDPConn, true)
	}
	if share {
		err = err4
		if opts.Group.Addr().Is6() {
			err = err6
		}
		if err != nil {
			return 0, fmt.Errorf("keep the group's datagrams apart: %w", err)
		}
		if err := allowReuse(c.UDPConn); err != nil {
			return 0, fmt.Errorf("share the port with the group: %w", err)
		}
	}
	want := opts.ReceiveBuffer
	if want == 0 {
		want = DefaultReceiveBuffer
	}
	granted, err = setReceiveBuffer(c.UDPConn, want)
	if err != nil {
		return 0, fmt.Errorf("receive buffer: %w", err)
	}
	return granted, nil
}

// udpNetwork chooses the address families by what the address says. The net package
// by itself would make 0.0.0.0 take IPv6 as well.
func udpNetwork(address string) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil: // empty, or a name
		return "udp", nil
	case ip.Is4() || ip.Is4In6():
		return "udp4", nil
	default:
		return "udp6", nil
	}
}

// bindListener binds a listener's socket. Nobody else may have the address, also
// when share lets a group's socket bind the same port later.
func bindListener(network, address string, share bool) (net.PacketConn, error) {
	var plain net.ListenConfig
	pc, err := plain.ListenPacket(context.Background(), network, address)
	if err == nil || !share || !onlyGroupsInTheWay(network, address) {
		return pc, err
	}
	reusing := net.ListenConfig{Control: reuseControl}
	return reusing.ListenPacket(context.Background(), network, address)
}

// onlyGroupsInTheWay tells whether a wildcard address that could not be bound is
// held by nothing but sockets of multicast groups, such as those of another gateway
// on this host with another port of its own. Loopback is part of every wildcard and of
// no group, so whoever holds the wildcard keeps the loopback addresses from being bound.
func onlyGroupsInTheWay(network, address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		return false
	}
	probes := map[string]string{"udp4": "127.0.0.1", "udp6": "::1"}
	free := 0
	for family, loopback := range probes {
		if network != "udp" && network != family {
			continue
		}
		probe, err := net.ListenPacket(family, net.JoinHostPort(loopback, port))
		if err != nil {
			if network == "udp" && !isAddressInUse(err) {
				continue // a host without this family
			}
			return false
		}
		_ = probe.Close()
		free++
	}
	return free > 0
}

func (c *udpConn) ReadFrom(b []byte) (int, netip.AddrPort, error) {
	for tries := 0; ; {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err == nil || !c.readAgain(err, &tries) {
			return n, canonical(from), err
		}
	}
}

func (c *udpConn) WriteTo(b []byte, to netip.AddrPort) (int, error) {
	for tries := 0; ; {
		n, err := c.WriteToUDPAddrPort(b, to)
		if err == nil || !c.again(err, &tries) {
			return n, err
		}
	}
}

func (c *udpConn) LocalAddr() netip.AddrPort { return c.local }

// KernelDrops is what Listener.KernelDrops tells.
func (c *udpConn) KernelDrops() (uint64, bool) { return kernelDropsOf(c.UDPConn) }

// control runs f on the socket's descriptor.
func control(c *net.UDPConn, f func(fd uintptr) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = f(fd) })
	return errors.Join(err, failed)
}
