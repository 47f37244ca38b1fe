package listen

import (
	"net/netip"
	"sync"
	"sync/atomic"
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

// deliver gives a copy of octets to handle, as a datagram, or their number to noMemory.
func (p *Pool) deliver(octets []byte, from netip.AddrPort, listener int, handle func(*Datagram), noMemory func(n int)) {
	d := p.get(len(octets))
	if d == nil {
		noMemory(len(octets))
		return
	}
	copy(d.buf, octets)
	d.From, d.Listener = from, listener
	handle(d)
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
