package listen

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Error budget of a read loop. Some platforms report an ICMP "port unreachable" for
// an earlier answer as a read error; that is news about one peer, so a row of errors
// is read through at once. What fails for longer is a broken socket: wait, and longer
// each time, until it recovers or is closed.
const (
	readErrorsAtOnce = 16
	readBackoffMin   = time.Millisecond
	readBackoffMax   = time.Second
)

// packetReader is the half of a socket that a Loop needs.
type packetReader interface {
	ReadFrom(b []byte) (n int, from netip.AddrPort, err error)
}

// Loop reads datagrams from one socket until that is closed. One goroutine runs
// it.
type Loop struct {
	Conn     packetReader
	Listener int // goes into each datagram
	Pool     *Pool

	// Handle takes over a datagram: it or somebody after it calls Recycle.
	Handle func(d *Datagram)
	// NoMemory is called for a datagram dropped because the pool is at its limit.
	NoMemory func(n int)
	// Failed is called for each error other than the end, for counting.
	Failed func(err error)
	// Done, when closed, cuts a wait after errors short. The loop ends when the
	// socket is closed; Done only makes that prompt.
	Done <-chan struct{}
}

// Run reads until the socket is closed. The 64 KiB read buffer is held once per loop;
// each datagram is copied out of it into a buffer of its own size class.
func (l *Loop) Run() {
	buf := make([]byte, maxDatagram)
	failures := 0
	for {
		n, from, err := l.Conn.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			l.Failed(err)
			failures++
			if !l.backOff(failures) {
				return
			}
			continue
		}
		failures = 0
		l.Pool.deliver(buf[:n], from, l.Listener, l.Handle, l.NoMemory)
	}
}

// backOff waits after the given number of errors in a row. It reports false when
// done was closed meanwhile.
func (l *Loop) backOff(failures int) bool {
	if failures <= readErrorsAtOnce {
		select {
		case <-l.Done:
			return false
		default:
			return true
		}
	}
	wait := readBackoffMax
	if doublings := failures - readErrorsAtOnce - 1; doublings < 10 {
		wait = min(readBackoffMin<<doublings, readBackoffMax)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-l.Done:
		return false
	case <-timer.C:
		return true
	}
}
