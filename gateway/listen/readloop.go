package listen

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// maxDatagram is the largest datagram: the 16 bits of the UDP length field. Nothing
// larger can come, so a buffer of this size never truncates.
const maxDatagram = 65535

// The two sizes of pooled buffers. Devices send messages that fit a frame of their
// radio, so the small one serves nearly everything, and a full queue of small
// datagrams stays small.
const (
	smallBuffer = 2048
	largeBuffer = maxDatagram
)

// Datagram is one received datagram in a pooled buffer. It has one owner at a time:
// the reader that filled it, the queue it is in, the shard that took it. The last
// owner calls Recycle, after which nobody may touch it or what its bytes returned.
type Datagram struct {
	From     netip.AddrPort // who sent it
	Listener int            // index of the listener that received it
	n        int
	buf      []byte
	pool     *Pool
}

// Bytes returns the datagram. It is valid until Recycle.
func (d *Datagram) Bytes() []byte { return d.buf[:d.n] }

// Crowded reports whether more than half of the pool's limit is out.
func (d *Datagram) Crowded() bool { return d.pool.inUse.Load() > d.pool.limit/2 }

// Recycle gives the buffer back to its pool.
func (d *Datagram) Recycle() { d.pool.put(d) }

// Pool hands out datagrams of two sizes and limits what is out at any time to
// a number of octets, so that a flood of large datagrams into long queues costs
// datagrams and not memory. It may be used from many goroutines.
type Pool struct {
	limit int64
	inUse atomic.Int64 // octets of buffers handed out
	small sync.Pool
	large sync.Pool
}

// NewPool returns a pool that hands out at most limit octets of buffers.
func NewPool(limit int) *Pool {
	return &Pool{limit: int64(limit)}
}

// get returns a datagram with room for n octets (0..65535), or nil when the limit is
// reached.
func (p *Pool) get(n int) *Datagram {
	class, size := &p.small, smallBuffer
	if n > smallBuffer {
		class, size = &p.large, largeBuffer
	}
	if p.inUse.Add(int64(size)) > p.limit {
		p.inUse.Add(int64(-size))
		return nil
	}
	d, ok := class.Get().(*Datagram)
	if !ok {
		d = &Datagram{buf: make([]byte, size), pool: p}
	}
	d.n = n
	return d
}

func (p *Pool) put(d *Datagram) {
	p.inUse.Add(int64(-len(d.buf)))
	d.From, d.Listener, d.n = netip.AddrPort{}, 0, 0
	if len(d.buf) == smallBuffer {
		p.small.Put(d)
	} else {
		p.large.Put(d)
	}
}

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
		d := l.Pool.get(n)
		if d == nil {
			l.NoMemory(n)
			continue
		}
		copy(d.buf, buf[:n])
		d.From, d.Listener = from, l.Listener
		l.Handle(d)
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
