package listen

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
		loop := &Loop{
			Conn: conn, Pool: NewPool(1 << 20), Done: done,
			Handle:   func(*Datagram) { t.Error("a datagram from a broken socket") },
			NoMemory: func(int) { t.Error("no memory") },
			Failed: func(err error) {
				if !errors.Is(err, broken) {
					t.Errorf("err = %v", err)
				}
				reads.Add(1)
			},
		}
		start := time.Now()
		go func() { defer close(ended); loop.Run() }()
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
		loop := &Loop{
			Conn: conn, Listener: 3, Pool: NewPool(1 << 20), Done: make(chan struct{}),
			Handle: func(d *Datagram) {
				if string(d.Bytes()) != "hello" || d.From != testPeer || d.Listener != 3 {
					t.Errorf("datagram %q from %s at listener %d", d.Bytes(), d.From, d.Listener)
				}
				d.Recycle()
				if got++; got == 50 {
					close(conn.closed)
				}
			},
			NoMemory: func(int) { t.Error("no memory") },
			Failed:   func(error) { failures++ },
		}
		start := time.Now()
		loop.Run() // returns when closed
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
		loop := &Loop{
			Conn: &scriptedConn{
				read:   func([]byte) (int, netip.AddrPort, error) { return 0, netip.AddrPort{}, errors.New("broken") },
				closed: make(chan struct{}),
			},
			Pool: NewPool(0), Done: done,
			Handle: func(*Datagram) {}, NoMemory: func(int) {}, Failed: func(error) {},
		}
		go func() { defer close(ended); loop.Run() }()
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
	p := NewPool(limit)
	var out []*Datagram
	for range 10 {
		d := p.get(60000)
		if d == nil || len(d.Bytes()) != 60000 {
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
	small.Recycle()
	for _, d := range out {
		d.Recycle()
	}
	if held := p.inUse.Load(); held != 0 {
		t.Errorf("%d octets held after all came back", held)
	}
	for _, n := range []int{0, 1, smallBuffer, smallBuffer + 1, maxDatagram} {
		d := p.get(n)
		if d == nil || len(d.Bytes()) != n {
			t.Fatalf("get(%d) = %v", n, d)
		}
		d.Recycle()
	}
}

func TestReadLoopCountsWhatThePoolRefuses(t *testing.T) {
	conn := &scriptedConn{closed: make(chan struct{})}
	conn.read = func(b []byte) (int, netip.AddrPort, error) { return 100, testPeer, nil }
	var held []*Datagram
	refused := 0
	loop := &Loop{
		Conn: conn, Pool: NewPool(3 * smallBuffer), Done: make(chan struct{}),
		Handle: func(d *Datagram) { held = append(held, d) },
		NoMemory: func(n int) {
			if n != 100 {
				t.Errorf("refused %d octets", n)
			}
			if refused++; refused == 5 {
				close(conn.closed)
			}
		},
		Failed: func(err error) { t.Error(err) },
	}
	loop.Run()
	if len(held) != 3 || refused != 5 {
		t.Errorf("%d held, %d refused", len(held), refused)
	}
}
