package gateway

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// scriptedConn answers reads by a function, until it is closed.
type scriptedConn struct {
	read   func(b []byte) (int, netip.AddrPort, error)
	closed chan struct{}
}

func (c *scriptedConn) ReadFrom(b []byte) (int, netip.AddrPort, error) {
	select {
	case <-c.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	default:
		return c.read(b)
	}
}

var testPeer = netip.MustParseAddrPort("192.0.2.1:2000")

func TestReadLoopBacksOffFromABrokenSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		conn := &scriptedConn{
			read:   func([]byte) (int, netip.AddrPort, error) { return 0, netip.AddrPort{}, broken },
			closed: make(chan struct{}),
		}
		var reads atomic.Int64
		done, ended := make(chan struct{}), make(chan struct{})
		loop := &readLoop{
			conn: conn, pool: newDatagramPool(1 << 20), done: done,
			handle:   func(*datagram) { t.Error("a datagram from a broken socket") },
			noMemory: func(int) { t.Error("no memory") },
			failed: func(err error) {
				if !errors.Is(err, broken) {
					t.Errorf("err = %v", err)
				}
				reads.Add(1)
			},
		}
		start := time.Now()
		go func() { defer close(ended); loop.run() }()
		synctest.Wait()
		if n := reads.Load(); n != readErrorsAtOnce+1 {
			t.Errorf("%d reads at once, want %d", n, readErrorsAtOnce+1)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		// 1+2+4+..+512 ms is about a second, then one read a second.
		if n := reads.Load(); n < 75 || n > 90 {
			t.Errorf("%d reads in the first minute, want about 85", n)
		}
		close(conn.closed)
		close(done)
		<-ended
		if d := time.Since(start); d != time.Minute {
			t.Errorf("ended after %s, want at once", d)
		}
	})
}

func TestReadLoopRecoversAfterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		conn := &scriptedConn{closed: make(chan struct{})}
		conn.read = func(b []byte) (int, netip.AddrPort, error) {
			if n++; n%20 != 0 {
				return 0, netip.AddrPort{}, errors.New("connection refused")
			}
			return copy(b, "hello"), testPeer, nil
		}
		got, failures := 0, 0
		loop := &readLoop{
			conn: conn, listener: 3, pool: newDatagramPool(1 << 20), done: make(chan struct{}),
			handle: func(d *datagram) {
				if string(d.bytes()) != "hello" || d.from != testPeer || d.listener != 3 {
					t.Errorf("datagram %q from %s at listener %d", d.bytes(), d.from, d.listener)
				}
				d.recycle()
				if got++; got == 50 {
					close(conn.closed)
				}
			},
			noMemory: func(int) { t.Error("no memory") },
			failed:   func(error) { failures++ },
		}
		start := time.Now()
		loop.run() // returns when closed
		// 19 errors in a row: 16 at once, then 1, 2 and 4 ms; a success starts anew.
		if d := time.Since(start); d != 50*7*time.Millisecond {
			t.Errorf("took %s", d)
		}
		if failures != 50*19 {
			t.Errorf("%d failures reported", failures)
		}
	})
}

func TestReadLoopEndsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done, ended := make(chan struct{}), make(chan struct{})
		loop := &readLoop{
			conn: &scriptedConn{
				read:   func([]byte) (int, netip.AddrPort, error) { return 0, netip.AddrPort{}, errors.New("broken") },
				closed: make(chan struct{}),
			},
			pool: newDatagramPool(0), done: done,
			handle: func(*datagram) {}, noMemory: func(int) {}, failed: func(error) {},
		}
		go func() { defer close(ended); loop.run() }()
		time.Sleep(10*time.Second + 300*time.Millisecond) // in the middle of a wait
		at := time.Now()
		close(done)
		<-ended
		if d := time.Since(at); d != 0 {
			t.Errorf("ended %s later", d)
		}
	})
}

func TestDatagramPoolIsBoundedInOctets(t *testing.T) {
	const limit = 10*largeBuffer + smallBuffer
	p := newDatagramPool(limit)
	var out []*datagram
	for range 10 {
		d := p.get(60000)
		if d == nil || len(d.bytes()) != 60000 {
			t.Fatal("refused below the limit")
		}
		out = append(out, d)
	}
	if p.get(60000) != nil {
		t.Error("handed out a large buffer beyond the limit")
	}
	small := p.get(20)
	if small == nil || len(small.buf) != smallBuffer {
		t.Fatal("no small buffer below the limit")
	}
	if p.get(0) != nil {
		t.Error("handed out a small buffer beyond the limit")
	}
	small.recycle()
	for _, d := range out {
		d.recycle()
	}
	if held := p.held.Load(); held != 0 {
		t.Errorf("%d octets held after all came back", held)
	}
	for _, n := range []int{0, 1, smallBuffer, smallBuffer + 1, maxDatagram} {
		d := p.get(n)
		if d == nil || len(d.bytes()) != n {
			t.Fatalf("get(%d) = %v", n, d)
		}
		d.recycle()
	}
}

func TestReadLoopCountsWhatThePoolRefuses(t *testing.T) {
	conn := &scriptedConn{closed: make(chan struct{})}
	conn.read = func(b []byte) (int, netip.AddrPort, error) { return 100, testPeer, nil }
	var held []*datagram
	refused := 0
	loop := &readLoop{
		conn: conn, pool: newDatagramPool(3 * smallBuffer), done: make(chan struct{}),
		handle: func(d *datagram) { held = append(held, d) },
		noMemory: func(n int) {
			if n != 100 {
				t.Errorf("refused %d octets", n)
			}
			if refused++; refused == 5 {
				close(conn.closed)
			}
		},
		failed: func(err error) { t.Error(err) },
	}
	loop.run()
	if len(held) != 3 || refused != 5 {
		t.Errorf("%d held, %d refused", len(held), refused)
	}
}
