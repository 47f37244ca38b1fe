//go:build unix

package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/internal/rate"
)

// loopback is the interface that the test uses.
func loopback(t *testing.T) *net.Interface {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, ifi := range interfaces {
		if ifi.Flags&net.FlagLoopback != 0 {
			return &ifi
		}
	}
	t.Fatal("this host has no loopback interface")
	return nil
}

// FreePort returns a port that was free a moment ago.
func FreePort(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return uint16(c.LocalAddr().(*net.UDPAddr).Port)
}

// clientOf joins a group as a client does, which sends and receives by one socket.
func clientOf(t *testing.T, group netip.AddrPort) *net.UDPConn {
	t.Helper()
	ifi := loopback(t)
	c, err := net.ListenMulticastUDP("udp4", ifi, net.UDPAddrFromAddrPort(group))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	out := ipv4.NewPacketConn(c)
	if err := errors.Join(out.SetMulticastInterface(ifi), out.SetMulticastLoopback(true)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDiscoveryOverRealMulticast_Case13_14_16 does what the tests on the simulated
// network do on sockets of the loopback interface.
func TestDiscoveryOverRealMulticast_Case13_14_16(t *testing.T) {
	port := FreePort(t)
	group := netip.AddrPortFrom(netip.MustParseAddr("239.255.77.6"), port)
	l, err := listen.Open(listen.Options{Address: fmt.Sprintf("0.0.0.0:%d", port), Group: group.Addr(), Interface: loopback(t).Name})
	if err != nil {
		t.Fatal(err)
	}
	client := clientOf(t, group)
	start := time.Now()
	d, err := New(Options{
		GwID: 7, AdvertiseEvery: 900 * time.Second, advertiseRadius: 1, answers: rate.PerSecond(10, 10),
		Listeners:   []listen.Listener{l},
		Pool:        listen.NewPool(1 << 20),
		Counters:    &messageCounts{},
		BrokerReady: func() bool { return true },
		Now:         func() time.Duration { return time.Since(start) },
		Drop:        func(reason session.Reason, err error) { t.Errorf("drop %v: %v", reason, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Start()
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	read := func(patience time.Duration) (string, netip.AddrPort, error) {
		b := make([]byte, 100)
		_ = client.SetReadDeadline(time.Now().Add(patience))
		n, from, err := client.ReadFromUDPAddrPort(b)
		return fmt.Sprintf("%x", b[:n]), from, err
	}
	want := func(hex string) {
		t.Helper()
		if got, from, err := read(10 * time.Second); err != nil || got != hex || from.Port() != port {
			t.Fatalf("client got %s from %s (%v), want %s from port %d", got, from, err, hex, port)
		}
	}
	want("0500070384")
	if _, err := client.WriteToUDPAddrPort([]byte{3, 1, 1}, group); err != nil {
		t.Fatal(err)
	}
	want("030101") // the client's own SEARCHGW comes back
	want("030207")
	if got, from, err := read(50 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s from %s (%v), want no second answer", got, from, err)
	}
	wantNoneRead(t, l.Conn)
}

// wantNoneRead closes a listener's connection and fails the test if a datagram was there:
// the listener never sees what is sent to the group.
func wantNoneRead(t *testing.T, c listen.PacketConn) {
	t.Helper()
	read := make(chan error, 1)
	go func() {
		_, _, err := c.ReadFrom(make([]byte, 100))
		read <- err
	}()
	select {
	case err := <-read:
		t.Errorf("the listener has read the SEARCHGW (%v)", err)
	case <-time.After(50 * time.Millisecond):
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		<-read
	}
}
