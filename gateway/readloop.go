package gateway

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

// datagram is one received datagram in a pooled buffer. It has one owner at a time:
// the reader that filled it, the queue it is in, the shard that took it. The last
// owner calls recycle, after which nobody may touch it or what its bytes returned.
type datagram struct {
	from     netip.AddrPort // who sent it
	listener int            // index of the listener that received it
	n        int
	buf      []byte
	pool     *datagramPool
}

// bytes returns the datagram. It is valid until recycle.
func (d *datagram) bytes() []byte { return d.buf[:d.n] }

// recycle gives the buffer back to its pool.
func (d *datagram) recycle() { d.pool.put(d) }

// datagramPool hands out datagrams of two sizes and limits what is out at any time to
// a number of octets, so that a flood of large datagrams into long queues costs
// datagrams and not memory. It may be used from many goroutines.
type datagramPool struct {
	limit int64
	held  atomic.Int64 // octets of buffers handed out
	small sync.Pool
	large sync.Pool
}

// newDatagramPool returns a pool that hands out at most limit octets of buffers.
func newDatagramPool(limit int) *datagramPool {
	return &datagramPool{limit: int64(limit)}
}

// get returns a datagram with room for n octets (0..65535), or nil when the limit is
// reached.
func (p *datagramPool) get(n int) *datagram {
	class, size := &p.small, smallBuffer
	if n > smallBuffer {
		class, size = &p.large, largeBuffer
	}
	if p.held.Add(int64(size)) > p.limit {
		p.held.Add(int64(-size))
		return nil
	}
	d, ok := class.Get().(*datagram)
	if !ok {
		d = &datagram{buf: make([]byte, size), pool: p}
	}
	d.n = n
	return d
}

// crowded reports whether more than half of the limit is out.
func (p *datagramPool) crowded() bool { return p.held.Load() > p.limit/2 }

func (p *datagramPool) put(d *datagram) {
	p.held.Add(int64(-len(d.buf)))
	d.from, d.listener, d.n = netip.AddrPort{}, 0, 0
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

// packetReader is the half of a socket that a readLoop needs.
type packetReader interface {
	ReadFrom(b []byte) (n int, from netip.AddrPort, err error)
}

// readLoop reads datagrams from one socket until that is closed. One goroutine runs
// it.
type readLoop struct {
	conn     packetReader
	listener int // goes into each datagram
	pool     *datagramPool

	// handle takes over a datagram: it or somebody after it calls recycle.
	handle func(d *datagram)
	// noMemory is called for a datagram dropped because the pool is at its limit.
	noMemory func(n int)
	// failed is called for each error other than the end, for counting.
	failed func(err error)
	// done, when closed, cuts a wait after errors short. The loop ends when the
	// socket is closed; done only makes that prompt.
	done <-chan struct{}
}

// run reads until the socket is closed. The 64 KiB read buffer is held once per loop;
// each datagram is copied out of it into a buffer of its own size class.
func (l *readLoop) run() {
	buf := make([]byte, maxDatagram)
	failures := 0
	for {
		n, from, err := l.conn.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			l.failed(err)
			failures++
			if !l.backOff(failures) {
				return
			}
			continue
		}
		failures = 0
		d := l.pool.get(n)
		if d == nil {
			l.noMemory(n)
			continue
		}
		copy(d.buf, buf[:n])
		d.from, d.listener = from, l.listener
		l.handle(d)
	}
}

// backOff waits after the given number of errors in a row. It reports false when
// done was closed meanwhile.
func (l *readLoop) backOff(failures int) bool {
	if failures <= readErrorsAtOnce {
		select {
		case <-l.done:
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
	case <-l.done:
		return false
	case <-timer.C:
		return true
	}
}
