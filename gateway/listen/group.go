package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// groupOptions names the multicast group of a listener.
type groupOptions struct {
	// Group is the multicast address, IPv4 or IPv6, and the port.
	Group netip.AddrPort
	// Interface is the name of the interface to receive and send on. Empty is the
	// system's choice by its routes; a zone in Group is another way to name it.
	Interface string
}

// udpGroup is GroupConn: a socket of its own for receiving, bound to the group so
// that nothing else reaches it, and the listener's socket for sending.
type udpGroup struct {
	recv  *net.UDPConn
	send  *udpConn
	group netip.AddrPort
	// mu makes setting the hop limit and sending one step.
	mu      sync.Mutex
	setHops func(hops int) error
}

// ErrGroup says that the group of a listener is what has failed, and not its address.
var ErrGroup = errors.New("join group")

// openGroup joins a group for a listener that openUDP returned with the same
// Group in its options. It is not available on Windows, where a socket cannot be
// bound to a group.
func openGroup(listener PacketConn, opts groupOptions) (GroupConn, error) {
	g, err := listenGroup(listener, opts)
	if err != nil {
		hint := ""
		if opts.Interface == "" && !isAddressInUse(err) {
			hint = " (naming an interface may help)"
		}
		return nil, fmt.Errorf("%w %s: %w%s", ErrGroup, opts.Group, err, hint)
	}
	return g, nil
}

func listenGroup(listener PacketConn, opts groupOptions) (*udpGroup, error) {
	addr := opts.Group.Addr().Unmap()
	if !addr.IsMulticast() {
		return nil, errors.New("not a multicast address")
	}
	main, ok := listener.(*udpConn)
	if !ok {
		return nil, fmt.Errorf("listener is a %T, not a UDP socket", listener)
	}
	if local := main.local.Addr(); local.Is4() && addr.Is6() ||
		local.Is6() && !local.IsUnspecified() && addr.Is4() {
		return nil, fmt.Errorf("listener %s has another address family", main.local)
	}
	ifi, err := groupInterface(addr.Zone(), opts.Interface)
	if err != nil {
		return nil, err
	}
	if ifi != nil && addr.Is6() {
		addr = addr.WithZone(ifi.Name)
	}
	g := &udpGroup{send: main, group: netip.AddrPortFrom(addr, opts.Group.Port())}
	if g.recv, err = bindGroup(g.group, ifi); err != nil {
		return nil, err
	}
	if err := g.join(ifi); err != nil {
		_ = g.recv.Close()
		return nil, err
	}
	return g, nil
}

// groupInterface finds the interface by either name; nil is the system's choice.
func groupInterface(zone, name string) (*net.Interface, error) {
	if name == "" {
		name = zone
	}
	if name == "" {
		return nil, nil
	}
	if zone != "" && zone != name {
		return nil, fmt.Errorf("the address names interface %s, the option %s", zone, name)
	}
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return ifi, nil
}

// join makes the receiving socket a member and sets the listener's socket up for
// sending: interface, and a copy to other gateways and clients on this host.
func (g *udpGroup) join(ifi *net.Interface) error {
	addr := &net.UDPAddr{IP: g.group.Addr().AsSlice()}
	if g.group.Addr().Is4() {
		out := ipv4.NewPacketConn(g.send.UDPConn)
		g.setHops = out.SetMulticastTTL
		if err := errors.Join(refuseGroups(g.recv, false), ipv4.NewPacketConn(g.recv).JoinGroup(ifi, addr)); err != nil {
			return err
		}
		if ifi != nil {
			if err := out.SetMulticastInterface(ifi); err != nil {
				return err
			}
		}
		return out.SetMulticastLoopback(true)
	}
	out := ipv6.NewPacketConn(g.send.UDPConn)
	g.setHops = out.SetMulticastHopLimit
	if err := errors.Join(refuseGroups(g.recv, true), ipv6.NewPacketConn(g.recv).JoinGroup(ifi, addr)); err != nil {
		return err
	}
	if ifi != nil {
		if err := out.SetMulticastInterface(ifi); err != nil {
			return err
		}
	}
	return out.SetMulticastLoopback(true)
}

func (g *udpGroup) ReadFrom(b []byte) (int, netip.AddrPort, error) {
	n, from, err := g.recv.ReadFromUDPAddrPort(b)
	return n, canonical(from), err
}

func (g *udpGroup) WriteGroup(b []byte, hops uint8) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.setHops(int(hops)); err != nil {
		return err
	}
	_, err := g.send.WriteTo(b, g.group)
	return err
}

func (g *udpGroup) Group() netip.AddrPort { return g.group }

func (g *udpGroup) Close() error { return g.recv.Close() }
