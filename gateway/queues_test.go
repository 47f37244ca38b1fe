package gateway

import (
	"net"
	"testing"

	"sngate/gateway/listen"
)

// received returns a datagram as a reader gives it away.
func received(t *testing.T) *listen.Datagram {
	t.Helper()
	l, err := listen.Open(listen.Options{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	device, err := net.Dial("udp", l.Conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if _, err := device.Write([]byte{2, 0x16}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var d *listen.Datagram
	loop := &listen.Loop{
		Conn: l.Conn, Pool: listen.NewPool(1 << 20), Done: done,
		Handle:   func(got *listen.Datagram) { d = got; close(done); l.Conn.Close() },
		NoMemory: func(int) {}, Failed: func(error) {},
	}
	loop.Run()
	return d
}

// A flood of strangers makes no garbage: neither those who find room, nor those who do not.
func TestStrangersCostNoAllocation(t *testing.T) {
	q := newQueues(nil)
	a := arrival{datagram: received(t)}
	if n := testing.AllocsPerRun(100, func() {
		if !q.offerStranger(&a) {
			t.Fatal("no room")
		}
		if got := q.unbox(<-q.strangers); got.datagram != a.datagram {
			t.Fatal("another one comes out")
		}
	}); n != 0 {
		t.Errorf("%v allocations for one that finds room", n)
	}
	for q.offerStranger(&a) {
	}
	if n := testing.AllocsPerRun(100, func() { q.offerStranger(&a) }); n != 0 {
		t.Errorf("%v allocations for one that finds none", n)
	}
}
