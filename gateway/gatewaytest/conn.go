package gatewaytest

import (
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"time"

	"sngate/internal/eventloop/looptest"
)

// Conn is a simulated socket. It has the methods of gateway.PacketConn.
type Conn struct {
	network *Network
	local   netip.AddrPort
	queue   *queue
}

// ReadFrom waits for a datagram. What does not fit into b is lost. After Close it
// fails with net.ErrClosed.
func (c *Conn) ReadFrom(b []byte) (int, netip.AddrPort, error) { return c.queue.read(b) }

// TryReadFrom is ReadFrom that does not wait: ok is false where nothing has come, and after
// Close.
func (c *Conn) TryReadFrom(b []byte) (n int, from netip.AddrPort, ok bool) {
	select {
	case p := <-c.queue.packets:
		return copy(b, p.payload), p.from, !c.queue.isClosed()
	default:
		return 0, netip.AddrPort{}, false
	}
}

// TryWriteTo is WriteTo, which never waits here.
func (c *Conn) TryWriteTo(b []byte, to netip.AddrPort) error {
	_, err := c.WriteTo(b, to)
	return err
}

// Ready implements looptest.Pollable. The socket is one more descriptor for what Close frees the
// address of, and so open.
func (c *Conn) Ready() (read, write, open bool) {
	return len(c.queue.packets) > 0 && !c.queue.isClosed(), true, true
}

// Watch implements looptest.Pollable.
func (c *Conn) Watch(changed func()) { c.queue.bell.Watch(changed) }

// WriteTo sends a datagram to a socket, or to all members of a group with hop limit 1.
// Like UDP it does not tell whether anybody is there.
func (c *Conn) WriteTo(b []byte, to netip.AddrPort) (int, error) {
	if c.queue.isClosed() {
		return 0, net.ErrClosed
	}
	var hops uint8
	if to.Addr().IsMulticast() {
		hops = 1
	}
	if err := c.network.send(b, c.local, to, hops); err != nil {
		return 0, err
	}
	return len(b), nil
}

// LocalAddr is the address of the socket.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// Close frees the address. What is still queued or on its way is lost.
func (c *Conn) Close() error { return c.network.closeSocket(c.local, c.queue) }

// JoinGroup makes the socket a member of a multicast group. What is sent to the
// group arrives at the Group, not at the Conn.
func (c *Conn) JoinGroup(group netip.AddrPort) (*Group, error) {
	if !group.Addr().IsMulticast() {
		return nil, ErrNotMulticast
	}
	q := newQueue()
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	c.network.groups[group] = append(slices.Clone(c.network.groups[group]), q)
	return &Group{conn: c, group: group, queue: q}, nil
}

// Group is a membership. It has the methods of gateway.GroupConn.
type Group struct {
	conn  *Conn
	group netip.AddrPort
	queue *queue
}

// ReadFrom waits for a datagram to the group, the socket's own included.
func (g *Group) ReadFrom(b []byte) (int, netip.AddrPort, error) { return g.queue.read(b) }

// WriteGroup sends a datagram from the socket's address to the group. All members
// are one hop away.
func (g *Group) WriteGroup(b []byte, hops uint8) error {
	if g.queue.isClosed() || g.conn.queue.isClosed() {
		return net.ErrClosed
	}
	if hops == 0 {
		return ErrHops
	}
	return g.conn.network.send(b, g.conn.local, g.group, hops)
}

// Group is the address of the group.
func (g *Group) Group() netip.AddrPort { return g.group }

// Close leaves the group.
func (g *Group) Close() error { return g.conn.network.closeGroup(g.group, g.queue) }

// packet is a datagram as its receiver gets it.
type packet struct {
	from    netip.AddrPort
	payload []byte // shared by the receivers of a group and by duplicates: read only
}

// queue is the receive buffer of a socket. The network's lock guards closing.
type queue struct {
	packets chan packet
	closed  chan struct{}
	bell    looptest.Bell
}

func newQueue() *queue {
	return &queue{packets: make(chan packet, QueueLen), closed: make(chan struct{})}
}

func (q *queue) isClosed() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

// close reports whether this call closed the queue.
func (q *queue) close() bool {
	if q.isClosed() {
		return false
	}
	close(q.closed)
	return true
}

func (q *queue) read(b []byte) (int, netip.AddrPort, error) {
	if q.isClosed() {
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	select {
	case p := <-q.packets:
		return copy(b, p.payload), p.from, nil
	case <-q.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// flight is a datagram on a link.
type flight struct {
	at     time.Time
	order  uint64
	packet packet
	to     *queue
}

// flights is a heap (container/heap) by time of arrival, then by order of sending.
type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	if c := f[i].at.Compare(f[j].at); c != 0 {
		return c < 0
	}
	return f[i].order < f[j].order
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	old := *f
	last := old[len(old)-1]
	old[len(old)-1] = flight{}
	*f = old[:len(old)-1]
	return last
}

// linkNumber is a hash of two addresses that is the same in every run.
func linkNumber(from, to netip.AddrPort) uint64 {
	h := fnv.New64a()
	for _, a := range []netip.AddrPort{from, to} {
		b, err := a.MarshalBinary()
		if err != nil {
			panic(err) // MarshalBinary of a netip.AddrPort has no way to fail
		}
		_, _ = h.Write(append(b, 0))
	}
	return h.Sum64()
}
