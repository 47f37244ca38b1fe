//go:build unix

package listen

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

// groupInterfaces returns the interfaces that the tests use: loopback for IPv4, and for
// IPv6, where loopback has no route for multicast, any other. The IPv6 groups have
// interface-local scope, which no datagram leaves the host with. v6 is empty on a host
// that has no such interface.
func groupInterfaces(t *testing.T) (v4, v6 string) {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, ifi := range interfaces {
		if ifi.Flags&net.FlagLoopback != 0 {
			v4 = ifi.Name
			continue
		}
		addrs, err := ifi.Addrs()
		if err != nil || ifi.Flags&net.FlagUp == 0 || ifi.Flags&net.FlagMulticast == 0 {
			continue
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is6() {
				v6 = ifi.Name
			}
		}
	}
	if v4 == "" {
		t.Fatal("this host has no loopback interface")
	}
	return v4, v6
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) uint16 {
	t.Helper()
	c, _ := listenForTest(t, udpOptions{Address: "127.0.0.1:0"})
	defer c.Close()
	return c.LocalAddr().Port()
}

type member struct {
	main  PacketConn
	group GroupConn
}

func join(t *testing.T, address string, group netip.AddrPort) member {
	t.Helper()
	main, _ := listenForTest(t, udpOptions{Address: address, Group: group})
	name, v6 := groupInterfaces(t)
	if group.Addr().Is6() {
		name = v6
	}
	g, err := openGroup(main, groupOptions{Group: group, Interface: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return member{main, g}
}

// TestGroupAndListenerAreApart: what is sent to the group comes in at the group only,
// and what is sent to the listener at the listener only, on the same port.
func TestGroupAndListenerAreApart(t *testing.T) {
	type row struct{ name, address, group, client string }
	tests := []row{
		{"IPv4", "0.0.0.0:", "239.255.77.2", "127.0.0.1"},
		{"IPv4 group, listener for both families", ":", "239.255.77.3", "127.0.0.1"},
		{"one address", "127.0.0.1:", "239.255.77.4", "127.0.0.1"},
	}
	if _, v6 := groupInterfaces(t); v6 != "" {
		tests = append(tests,
			row{"IPv6", "[::]:", "ff01::7702", "::1"},
			row{"IPv6 group, listener for both families", ":", "ff01::7703", "::1"})
	} else {
		t.Log("no interface for IPv6 multicast on this host")
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			port := freePort(t)
			_, portText, _ := net.SplitHostPort(netip.AddrPortFrom(netip.IPv4Unspecified(), port).String())
			group := netip.AddrPortFrom(netip.MustParseAddr(tt.group), port)
			m := join(t, tt.address+portText, group)
			client := join(t, tt.address+"0", group) // on the same host, with a port of its own

			if err := client.group.WriteGroup([]byte("search"), 1); err != nil {
				t.Fatal(err)
			}
			got, from := readOne(t, m.group)
			if string(got) != "search" || from.Port() != client.main.LocalAddr().Port() {
				t.Errorf("group got %q from %s", got, from)
			}
			wantNothing(t, m.group)
			wantNothing(t, m.main)
			readOne(t, client.group) // its own

			to := netip.AddrPortFrom(netip.MustParseAddr(tt.client), port)
			if _, err := client.main.WriteTo([]byte("direct"), to); err != nil {
				t.Fatal(err)
			}
			if got, _ := readOne(t, m.main); string(got) != "direct" {
				t.Errorf("listener got %q", got)
			}
			wantNothing(t, m.group)

			// The answer comes from the listener's port: it is the gateway's address.
			if err := m.group.WriteGroup([]byte("info"), 255); err != nil {
				t.Fatal(err)
			}
			got, from = readOne(t, client.group)
			if string(got) != "info" || from.Port() != m.main.LocalAddr().Port() {
				t.Errorf("client got %q from %s", got, from)
			}
			wantNothing(t, client.group)
		})
	}
}

// TestSeveralGatewaysShareAGroupInAnyOrder: the port of the group is also the port
// of one of the gateways, which may start last.
func TestSeveralGatewaysShareAGroupInAnyOrder(t *testing.T) {
	for _, ownPortFirst := range []bool{true, false} {
		port := freePort(t)
		group := netip.AddrPortFrom(netip.MustParseAddr("239.255.77.5"), port)
		same := netip.AddrPortFrom(netip.IPv4Unspecified(), port).String()
		order := []string{"0.0.0.0:0", same}
		if ownPortFirst {
			order = []string{same, "0.0.0.0:0"}
		}
		first, second := join(t, order[0], group), join(t, order[1], group)
		if err := first.group.WriteGroup([]byte("all"), 1); err != nil {
			t.Fatal(err)
		}
		for _, m := range []member{first, second} {
			if got, _ := readOne(t, m.group); string(got) != "all" {
				t.Errorf("got %q", got)
			}
			wantNothing(t, m.main)
		}
	}
}

func TestListenGroupRefusesWhatCannotWork(t *testing.T) {
	v4, _ := listenForTest(t, udpOptions{Address: "127.0.0.1:0"})
	type row struct {
		name     string
		listener PacketConn
		opts     groupOptions
		want     string
	}
	tests := []row{
		{"unicast address", v4, groupOptions{Group: netip.MustParseAddrPort("192.0.2.1:1883")}, "not a multicast address"},
		{"IPv6 group on IPv4", v4, groupOptions{Group: netip.MustParseAddrPort("[ff02::1]:1883")}, "address family"},
		{"unknown interface", v4, groupOptions{Group: netip.MustParseAddrPort("239.1.1.1:1883"), Interface: "nosuchif"}, "nosuchif"},
	}
	if hasIPv6() {
		both, _ := listenForTest(t, udpOptions{Address: ":0"})
		tests = append(tests, row{"two interfaces", both, groupOptions{Group: netip.MustParseAddrPort("[ff02::1%a]:1883"), Interface: "b"}, "interface a"})
		v6, _ := listenForTest(t, udpOptions{Address: "[::1]:0"})
		tests = append(tests, row{"IPv4 group on IPv6", v6, groupOptions{Group: netip.MustParseAddrPort("239.1.1.1:1883")}, "address family"})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := openGroup(tt.listener, tt.opts)
			if err == nil {
				_ = g.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
		})
	}
}
