package listen

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// closedPort returns an address of this host where nobody is.
func closedPort(t *testing.T, network, host string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket(network, net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	addr := c.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return canonical(addr)
}

// TestKernelTellsWhoIsUnreachable: of sockets of each family, for addresses of each, and
// the socket goes on as if nothing had been.
func TestKernelTellsWhoIsUnreachable(t *testing.T) {
	for _, tt := range []struct{ name, listen, network, host string }{
		{"IPv4", "127.0.0.1:0", "udp4", "127.0.0.1"},
		{"IPv6", "[::1]:0", "udp6", "::1"},
		{"IPv4 from a socket for both", ":0", "udp4", "127.0.0.1"},
		{"IPv6 from a socket for both", ":0", "udp6", "::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, _, err := openUDP(udpOptions{Address: tt.listen})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			reported := make(chan netip.AddrPort, 100)
			conn.(*udpConn).unreachable = func(a netip.AddrPort) { reported <- a }
			received := make(chan error, 100)
			var reader sync.WaitGroup
			reader.Go(func() {
				buf := make([]byte, 65535)
				for {
					_, _, err := conn.ReadFrom(buf)
					received <- err
					if err != nil {
						return
					}
				}
			})
			var want, got []netip.AddrPort
			for range 5 {
				nobody := closedPort(t, tt.network, tt.host)
				want = append(want, nobody)
				if _, err := conn.WriteTo([]byte{2, 0x16}, nobody); err != nil {
					t.Errorf("WriteTo: %v", err)
				}
			}
			for range want {
				select {
				case a := <-reported:
					got = append(got, a)
				case <-time.After(10 * time.Second):
					t.Fatalf("reported are %v, want %v", got, want)
				}
			}
			for _, a := range want {
				if !slices.Contains(got, a) {
					t.Errorf("%v is not reported; reported are %v", a, got)
				}
			}
			peer, err := net.ListenPacket(tt.network, net.JoinHostPort(tt.host, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(tt.host), conn.LocalAddr().Port()))
			if _, err := peer.WriteTo([]byte{2, 0x16}, to); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-received:
				if err != nil {
					t.Errorf("ReadFrom: %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("nothing is received any more")
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			reader.Wait()
		})
	}
}

// TestOnlyUnreachableCounts has the entries that an error queue may have besides.
func TestOnlyUnreachableCounts(t *testing.T) {
	entry := func(level, option int32, origin, kind, code byte) []byte {
		b := make([]byte, unix.CmsgSpace(16))
		header := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		header.Level, header.Type = level, option
		header.SetLen(unix.CmsgLen(16))
		copy(b[unix.CmsgLen(0)+4:], []byte{origin, kind, code})
		return b
	}
	v4 := func(origin, kind, code byte) []byte {
		return entry(unix.IPPROTO_IP, unix.IP_RECVERR, origin, kind, code)
	}
	v6 := func(origin, kind, code byte) []byte {
		return entry(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, origin, kind, code)
	}
	for name, tt := range map[string]struct {
		oob  []byte
		want bool
	}{
		"port unreachable":          {v4(unix.SO_EE_ORIGIN_ICMP, 3, 3), true},
		"host unreachable":          {v4(unix.SO_EE_ORIGIN_ICMP, 3, 1), true},
		"prohibited":                {v4(unix.SO_EE_ORIGIN_ICMP, 3, 13), true},
		"fragmentation needed":      {v4(unix.SO_EE_ORIGIN_ICMP, 3, 4), false},
		"time exceeded":             {v4(unix.SO_EE_ORIGIN_ICMP, 11, 0), false},
		"our own kernel":            {v4(unix.SO_EE_ORIGIN_LOCAL, 3, 3), false},
		"IPv6 port unreachable":     {v6(unix.SO_EE_ORIGIN_ICMP6, 1, 4), true},
		"IPv6 packet too big":       {v6(unix.SO_EE_ORIGIN_ICMP6, 2, 0), false},
		"IPv6 time exceeded":        {v6(unix.SO_EE_ORIGIN_ICMP6, 3, 3), false},
		"something else":            {entry(unix.SOL_SOCKET, unix.SCM_TIMESTAMP, unix.SO_EE_ORIGIN_ICMP, 3, 3), false},
		"nothing":                   {nil, false},
		"IPv4 from an IPv6 socket ": {v6(unix.SO_EE_ORIGIN_ICMP, 3, 3), true},
	} {
		if got := saysUnreachable(tt.oob); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
