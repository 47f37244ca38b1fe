package loadgen

import (
	"net"
	"net/netip"
	"testing"
)

func TestSharedWire(t *testing.T) { testWire(t, "127.0.0.1:0", openShared) }

func TestPolledWire(t *testing.T) { testWire(t, "127.0.0.1:0", openPolled) }

func TestPolledWireOverIPv6(t *testing.T) { testWire(t, "[::1]:0", openPolled) }

func TestOneSocketIsEnoughOnLoopback(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:1883": true, "127.9.9.9:1883": true, "[::1]:1883": false, "192.0.2.1:1883": false} {
		w, err := openWire(netip.MustParseAddrPort(address), 2)
		if err != nil {
			t.Logf("%s: %v", address, err) // a machine without IPv6, or without a network
			continue
		}
		if _, got := w.(*shared); got != want {
			t.Errorf("%s: one socket %v, want %v", address, got, want)
		}
		go w.close()
		if err := w.serve(nil); err != nil {
			t.Error(err)
		}
	}
}

// What others send to the socket is not taken for the gateway's.
func TestSharedWireListensToTheGatewayAlone(t *testing.T) {
	m := startMirror(t, "127.0.0.1:0")
	w, err := openShared(m.addr(), 1)
	if err != nil {
		t.Fatal(err)
	}
	to := w.(*shared).conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	other, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 1, 0, 0), Port: int(to)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Write([]byte("forged")); err != nil {
		t.Fatal(err)
	}
	w.send(0, []byte("asked"))
	_ = w.serve(func(i int, b []byte) {
		if i != 0 || string(b) != "asked" {
			t.Errorf("device %d takes %q", i, b)
		}
		w.close()
	})
}

func TestSharedWireAllocatesNothing(t *testing.T) {
	m := startMirror(t, "127.0.0.1:0")
	w, err := openShared(m.addr(), 3)
	if err != nil {
		t.Fatal(err)
	}
	testRoundTrips(t, w)
}

func TestPolledWireAllocatesNothing(t *testing.T) {
	m := startMirror(t, "127.0.0.1:0")
	w, err := openPolled(m.addr(), 3)
	if err != nil {
		t.Fatal(err)
	}
	testRoundTrips(t, w)
}

// testRoundTrips counts the allocations of this process while datagrams go to and fro; those
// of the mirror are none.
func testRoundTrips(t *testing.T, w wire) {
	t.Helper()
	back, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.serve(func(int, []byte) { back <- struct{}{} })
	}()
	datagram := make([]byte, 40)
	if n := testing.AllocsPerRun(500, func() { w.send(2, datagram); <-back }); n != 0 {
		t.Errorf("%v allocations for a datagram to and fro", n)
	}
	w.close()
	<-ended
}
