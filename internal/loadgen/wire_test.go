package loadgen

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mirror sends back what it gets, once, and notes from how many addresses that came.
type mirror struct {
	conn *net.UDPConn
	mu   sync.Mutex
	from map[netip.AddrPort]bool
}

func startMirror(t *testing.T, address string) *mirror {
	t.Helper()
	addr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{from: make(map[netip.AddrPort]bool)}
	if m.conn, err = net.ListenUDP("udp", addr); err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	t.Cleanup(func() { m.conn.Close(); done.Wait() })
	done.Go(func() {
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := m.conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.from[from] = true
			m.mu.Unlock()
			if _, err := m.conn.WriteToUDPAddrPort(buf[:n], from); err != nil {
				return
			}
		}
	})
	return m
}

func (m *mirror) addr() netip.AddrPort {
	a := m.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// testWire checks what every wire promises.
func testWire(t *testing.T, address string, open func(netip.AddrPort, int) (wire, error)) {
	const devices = 300 // more than one octet of an address, and one turn of a set, hold
	m := startMirror(t, address)
	w, err := open(m.addr(), devices)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, devices)
	served := make(chan error, 1)
	go func() {
		served <- w.serve(func(i int, b []byte) { got <- fmt.Sprintf("%d: %s", i, b) })
	}()
	want := make(map[string]bool)
	for i := range devices {
		text := fmt.Sprint("of ", i)
		want[fmt.Sprintf("%d: %s", i, text)] = true
		w.send(i, []byte(text))
		if i%50 == 49 { // so that no buffer overflows
			for range 50 {
				receive(t, got, want)
			}
		}
	}
	w.close()
	select {
	case err := <-served:
		if err != nil {
			t.Errorf("serve ends with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("serve does not end")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.from) != devices {
		t.Errorf("%d devices have %d addresses", devices, len(m.from))
	}
}

func receive(t *testing.T, got <-chan string, want map[string]bool) {
	t.Helper()
	select {
	case text := <-got:
		if !want[text] {
			t.Fatalf("received %q", text)
		}
		delete(want, text)
	case <-time.After(20 * time.Second):
		t.Fatalf("still missing: %v", want)
	}
}

func TestDialedWire(t *testing.T) { testWire(t, "127.0.0.1:0", openDialed) }

func TestDialedWireOverIPv6(t *testing.T) { testWire(t, "[::1]:0", openDialed) }
