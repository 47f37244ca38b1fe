package listen

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openSocket(t *testing.T, address string, pool *Pool) *udpSocket {
	t.Helper()
	conn, _ := listenForTest(t, udpOptions{Address: address})
	s, err := newUDPSocket(conn.(*udpConn), 3, pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// await returns when there is something to read.
func (s *udpSocket) await(t *testing.T) {
	t.Helper()
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, 10_000); n != 1 {
		t.Fatalf("nothing comes: %v", err)
	}
}

func socketFamilies() map[string][2]string {
	families := map[string][2]string{"IPv4": {"127.0.0.1:0", "127.0.0.1"}}
	if hasIPv6() {
		families["IPv6"] = [2]string{"[::1]:0", "::1"}
		families["IPv4 at a socket for both"] = [2]string{":0", "127.0.0.1"}
		families["IPv6 at a socket for both"] = [2]string{":0", "::1"}
	}
	return families
}

// What comes is the same as by ReadFrom: the octets, and the sender in the form that an
// answer can be sent to.
func TestSocketReadsAndSends(t *testing.T) {
	for name, family := range socketFamilies() {
		t.Run(name, func(t *testing.T) {
			s := openSocket(t, family[0], NewPool(1<<30))
			to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(family[1]), s.conn.LocalAddr().Port()))
			device, err := net.DialUDP("udp", nil, to)
			if err != nil {
				t.Fatal(err)
			}
			defer device.Close()
			from := canonical(device.LocalAddr().(*net.UDPAddr).AddrPort())
			sizes := []int{0, 1, smallBuffer, smallBuffer + 1, 60_000, 7}
			for i := range 2 * socketBatch {
				if _, err := device.Write(bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)])); err != nil {
					t.Fatal(err)
				}
			}
			got := 0
			for got < 2*socketBatch {
				s.await(t)
				n, err := s.Read(func(d *Datagram) {
					want := bytes.Repeat([]byte{byte(got)}, sizes[got%len(sizes)])
					if !bytes.Equal(d.Bytes(), want) || d.From != from || d.Listener != 3 {
						t.Errorf("datagram %d: %d octets from %v of listener %d, want %d from %v", got, len(d.Bytes()), d.From, d.Listener, len(want), from)
					}
					d.Recycle()
					got++
				}, func(int) { t.Error("no memory") })
				if err != nil || n > socketBatch {
					t.Fatal(n, err)
				}
			}
			if n, err := s.Read(nil, nil); n != 0 || err != nil {
				t.Errorf("%d datagrams, %v: there is nothing", n, err)
			}
			for _, size := range []int{0, 5, 60_000} {
				sent := bytes.Repeat([]byte{9}, size)
				if err := s.Send(sent, from); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, maxDatagram)
				_ = device.SetReadDeadline(time.Now().Add(10 * time.Second))
				if n, err := device.Read(buf); err != nil || !bytes.Equal(buf[:n], sent) {
					t.Errorf("the device got %d octets, %v; want %d", n, err, size)
				}
			}
		})
	}
}

func TestSocketWithoutMemoryTellsSo(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0", NewPool(smallBuffer))
	device, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.conn.LocalAddr()))
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	for range 2 {
		if _, err := device.Write(make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	var kept []*Datagram
	dropped := 0
	for len(kept)+dropped < 2 {
		s.await(t)
		if _, err := s.Read(func(d *Datagram) { kept = append(kept, d) }, func(n int) { dropped += n }); err != nil {
			t.Fatal(err)
		}
	}
	if len(kept) != 1 || dropped != 5 {
		t.Errorf("%d datagrams kept, %d octets dropped; want 1 and 5", len(kept), dropped)
	}
}

// An ICMP error is reported, and costs neither what is read nor what is sent next.
func TestSocketReportsWhoIsUnreachable(t *testing.T) {
	for name, family := range socketFamilies() {
		t.Run(name, func(t *testing.T) {
			s := openSocket(t, family[0], NewPool(1<<20))
			reported := make(map[netip.AddrPort]bool)
			s.conn.unreachable = func(a netip.AddrPort) { reported[a] = true }
			network := "udp4"
			if netip.MustParseAddr(family[1]).Is6() {
				network = "udp6"
			}
			first, second := closedPort(t, network, family[1]), closedPort(t, network, family[1])
			for _, nobody := range []netip.AddrPort{first, second} {
				if err := s.Send([]byte{2, 0x16}, nobody); err != nil {
					t.Errorf("Send: %v", err)
				}
			}
			for deadline := time.Now().Add(10 * time.Second); len(reported) < 2 && time.Now().Before(deadline); {
				if _, err := s.Read(nil, nil); err != nil {
					t.Errorf("Read: %v", err)
				}
			}
			if !reported[first] || !reported[second] {
				t.Errorf("reported are %v, want %v and %v", reported, first, second)
			}
		})
	}
}

func TestSocketForIPv4RefusesIPv6(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0", NewPool(1<<20))
	if err := s.Send([]byte{1}, netip.MustParseAddrPort("[::1]:9")); err == nil {
		t.Error("no error")
	}
}

func TestSocketDoesNotAllocate(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0", NewPool(1<<20))
	device := openSocket(t, "127.0.0.1:0", NewPool(1<<20))
	to, octets := s.conn.LocalAddr(), []byte("hello")
	handle := func(d *Datagram) { d.Recycle() }
	if n := testing.AllocsPerRun(200, func() {
		if err := device.Send(octets, to); err != nil {
			t.Fatal(err)
		}
		for n := 0; n == 0; {
			n, _ = s.Read(handle, nil)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
