//go:build unix

package gateway

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// TestDiscoveryOverRealMulticast_Case13_14_16 does what the tests on the simulated
// network do on sockets of the loopback interface.
func TestDiscoveryOverRealMulticast_Case13_14_16(t *testing.T) {
	port := freePort(t)
	group := netip.AddrPortFrom(netip.MustParseAddr("239.255.77.6"), port)
	client := join(t, "127.0.0.1:0", group)
	m := join(t, fmt.Sprintf("0.0.0.0:%d", port), group)
	start := time.Now()
	d, err := newDiscoverer(discoveryOptions{
		gwID: 7, advertiseEvery: 900 * time.Second, advertiseRadius: 1, answersPerSecond: 10, answerBurst: 10,
		listeners:   []discoveryListener{{conn: m.main, group: m.group}},
		pool:        newDatagramPool(1 << 20),
		counters:    &counters{},
		brokerReady: func() bool { return true },
		now:         func() time.Duration { return time.Since(start) },
		drop:        func(reason discoveryDrop, err error) { t.Errorf("drop %d: %v", reason, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	d.start()
	closed := false
	defer func() {
		if !closed {
			_ = d.close()
		}
	}()
	want := func(hex string) {
		t.Helper()
		got, from := readOne(t, client.group)
		if fmt.Sprintf("%x", got) != hex || from.Port() != port {
			t.Fatalf("client got %x from %s, want %s from port %d", got, from, hex, port)
		}
	}
	want("0500070384")
	if err := client.group.WriteGroup([]byte{3, 1, 1}, 1); err != nil {
		t.Fatal(err)
	}
	own, _ := readOne(t, client.group)
	if fmt.Sprintf("%x", own) != "030101" {
		t.Fatalf("client's own SEARCHGW came back as %x", own)
	}
	want("030207")
	wantNothing(t, client.group) // no second answer
	wantNothing(t, m.main)       // the listener never saw the SEARCHGW
	closed = true
	if err := d.close(); err != nil {
		t.Error(err)
	}
}
