package listen

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func listenForTest(t *testing.T, opts udpOptions) (PacketConn, int) {
	t.Helper()
	c, granted, err := openUDP(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, granted
}

// readOne reads a datagram, and fails the test when none comes.
func readOne(t *testing.T, c packetReader) ([]byte, netip.AddrPort) {
	t.Helper()
	setReadDeadline(t, c, time.Now().Add(10*time.Second))
	b := make([]byte, maxDatagram)
	n, from, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n], from
}

// wantNothing fails the test if a datagram is waiting. What is sent over loopback is
// in the receiver's buffer when the send returns.
func wantNothing(t *testing.T, c packetReader) {
	t.Helper()
	setReadDeadline(t, c, time.Now().Add(50*time.Millisecond))
	if n, from, err := c.ReadFrom(make([]byte, maxDatagram)); err == nil {
		t.Errorf("%d octets from %s, want nothing", n, from)
	}
}

func setReadDeadline(t *testing.T, c packetReader, at time.Time) {
	t.Helper()
	var udp *net.UDPConn
	switch c := c.(type) {
	case *udpConn:
		udp = c.UDPConn
	case *udpGroup:
		udp = c.recv
	}
	if err := udp.SetReadDeadline(at); err != nil {
		t.Fatal(err)
	}
}

// hasIPv6 tells whether the host has IPv6 at all; containers often have not.
func hasIPv6() bool {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func TestListenerExchangesDatagramsOfEverySize(t *testing.T) {
	addresses := []string{"127.0.0.1:0", ":0", "0.0.0.0:0"}
	if hasIPv6() {
		addresses = append(addresses, "[::1]:0", "[::]:0")
	}
	for _, address := range addresses {
		t.Run(address, func(t *testing.T) {
			server, _ := listenForTest(t, udpOptions{Address: address})
			host := "127.0.0.1"
			if strings.Contains(address, "::") {
				host = "::1"
			}
			client, _ := listenForTest(t, udpOptions{Address: net.JoinHostPort(host, "0")})
			to := netip.AddrPortFrom(netip.MustParseAddr(host), server.LocalAddr().Port())
			for _, size := range []int{0, 1, 2, 1200, 2048, 2049, 60000, 65507} {
				want := bytes.Repeat([]byte{byte(size)}, size)
				if _, err := client.WriteTo(want, to); err != nil {
					t.Fatalf("%d octets: %v", size, err)
				}
				got, from := readOne(t, server)
				if !bytes.Equal(got, want) || from != client.LocalAddr() {
					t.Fatalf("sent %d octets from %s, got %d from %s", size, client.LocalAddr(), len(got), from)
				}
				if _, err := server.WriteTo(got, from); err != nil {
					t.Fatal(err)
				}
				if back, _ := readOne(t, client); !bytes.Equal(back, want) {
					t.Fatalf("%d octets came back as %d", size, len(back))
				}
			}
		})
	}
}

func TestAddressFamiliesAreAsWritten(t *testing.T) {
	only4, _ := listenForTest(t, udpOptions{Address: "0.0.0.0:0"})
	if a := only4.LocalAddr().Addr(); a != netip.IPv4Unspecified() {
		t.Errorf("0.0.0.0 became %s", a)
	}
	if !hasIPv6() {
		t.Log("this host has no IPv6")
		return
	}
	only6, _ := listenForTest(t, udpOptions{Address: "[::]:0"})
	client, _ := listenForTest(t, udpOptions{Address: "127.0.0.1:0"})
	// The port is free for IPv4, so [::] cannot have taken it.
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), only6.LocalAddr().Port())
	if _, err := client.WriteTo([]byte{1}, to); err != nil {
		t.Fatal(err)
	}
	wantNothing(t, only6)
}

// TestIPv6ClientKeepsItsZone_Case187 uses a link-local address where the host has
// one; every host has the loopback address, whose canonical form has none.
func TestIPv6ClientKeepsItsZone_Case187(t *testing.T) {
	if !hasIPv6() {
		t.Log("this host has no IPv6")
		return
	}
	host, zone := linkLocal(t)
	t.Logf("client at %q, zone %q", host, zone)
	server, _ := listenForTest(t, udpOptions{Address: "[::]:0"})
	client, _ := listenForTest(t, udpOptions{Address: net.JoinHostPort(host, "0")})
	to := netip.AddrPortFrom(netip.MustParseAddr(host), server.LocalAddr().Port())
	if _, err := client.WriteTo([]byte("hello"), to); err != nil {
		t.Fatal(err)
	}
	_, from := readOne(t, server)
	if from.Addr().Zone() != zone || from.Addr().String() != host {
		t.Fatalf("from %s, want the host %s with its zone", from, host)
	}
	if _, err := server.WriteTo([]byte("answer"), from); err != nil {
		t.Fatal(err)
	}
	if got, _ := readOne(t, client); string(got) != "answer" {
		t.Errorf("got %q", got)
	}
}

func linkLocal(t *testing.T) (host, zone string) {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, ifi := range interfaces {
		addrs, err := ifi.Addrs()
		if err != nil || ifi.Flags&net.FlagUp == 0 {
			continue
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is6() && prefix.Addr().IsLinkLocalUnicast() {
				return prefix.Addr().WithZone(ifi.Name).String(), ifi.Name
			}
		}
	}
	return "::1", ""
}

func TestCanonicalAddresses_Case187(t *testing.T) {
	tests := []struct{ in, want string }{
		{"192.0.2.1:1", "192.0.2.1:1"},
		{"[::ffff:192.0.2.1]:1", "192.0.2.1:1"},
		{"[2001:db8::1]:1", "[2001:db8::1]:1"},
		{"[fe80::1%eth0]:1", "[fe80::1%eth0]:1"},
	}
	for _, tt := range tests {
		if got := canonical(netip.MustParseAddrPort(tt.in)); got != netip.MustParseAddrPort(tt.want) || got.String() != tt.want {
			t.Errorf("canonical(%s) = %s", tt.in, got)
		}
	}
}

func TestReceiveBufferIsWhatWasGranted(t *testing.T) {
	_, granted := listenForTest(t, udpOptions{Address: "127.0.0.1:0", ReceiveBuffer: 131072})
	if granted != 131072 {
		t.Errorf("granted %d of 131072", granted)
	}
	_, granted = listenForTest(t, udpOptions{Address: "127.0.0.1:0"})
	if granted < 131072 || granted > DefaultReceiveBuffer {
		t.Errorf("granted %d of the default", granted)
	}
}

func TestAddressInUseIsAnErrorWithOrWithoutAGroup(t *testing.T) {
	group := netip.MustParseAddrPort("239.255.77.1:0")
	for _, host := range []string{"", "127.0.0.1", "0.0.0.0"} {
		for _, g := range []netip.AddrPort{{}, group} {
			first, _ := listenForTest(t, udpOptions{Address: net.JoinHostPort(host, "0"), Group: g})
			_, port, _ := net.SplitHostPort(first.LocalAddr().String())
			second, _, err := openUDP(udpOptions{Address: net.JoinHostPort(host, port), Group: g})
			if err == nil {
				_ = second.Close()
				t.Errorf("host %q, group %v: bound twice", host, g)
			} else if !isAddressInUse(err) || !strings.Contains(err.Error(), port) {
				t.Errorf("host %q: error %v", host, err)
			}
		}
	}
}

func TestWrongAddressesAreErrors(t *testing.T) {
	for _, address := range []string{"", "1883", "127.0.0.1", "127.0.0.1:99999", "[::1:1883", "[fe80::1%nosuchif]:0"} {
		if c, _, err := openUDP(udpOptions{Address: address}); err == nil {
			_ = c.Close()
			t.Errorf("%q was accepted", address)
		} else if !strings.Contains(err.Error(), address) {
			t.Errorf("%q: the error does not name it: %v", address, err)
		}
	}
}

func TestCloseWakesTheReader(t *testing.T) {
	c, _ := listenForTest(t, udpOptions{Address: "127.0.0.1:0"})
	result := make(chan error)
	go func() {
		_, _, err := c.ReadFrom(make([]byte, 10))
		result <- err
	}()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, net.ErrClosed) {
		t.Errorf("err = %v", err)
	}
}

func TestADatagramCostsNoAllocation(t *testing.T) {
	hosts := []string{"127.0.0.1"}
	if hasIPv6() {
		hosts = append(hosts, "::1")
	}
	for _, host := range hosts {
		c, _ := listenForTest(t, udpOptions{Address: net.JoinHostPort(host, "0")})
		setReadDeadline(t, c, time.Now().Add(time.Minute))
		b := make([]byte, 100)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := c.WriteTo(b, c.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.ReadFrom(b); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %.1f allocations per datagram", host, n)
		}
	}
}
