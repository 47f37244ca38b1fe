// Package gatewaytest is a simulated UDP network for tests of the gateway: sockets
// with the methods of gateway.PacketConn and gateway.GroupConn, joined by links that
// lose, duplicate, delay and reorder datagrams by a seed.
//
// It uses nothing but channels and timers, so it works in a bubble of
// testing/synctest, where a day of traffic takes seconds. The random numbers of a
// link, which is one direction between two addresses, depend only on the seed and
// the two addresses: what happens on one link does not depend on the order in which
// goroutines use others, and a failing seed can be run again.
package gatewaytest

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limits of a Network. What goes beyond them is dropped and counted, as in a real one.
const (
	QueueLen    = 1024    // datagrams in a socket's receive buffer
	MaxInFlight = 1 << 16 // datagrams on all links
	MaxSize     = 65507   // octets in a datagram
)

// Link says what happens to datagrams in one direction. The zero value delivers all
// of them at once and in order. Probabilities are from 0 to 1.
type Link struct {
	Loss      float64       // probability that a datagram is lost
	Duplicate float64       // probability that it arrives twice
	Delay     time.Duration // time it takes
	Jitter    time.Duration // up to so much more, evenly distributed; reorders by itself
	Reorder   float64       // probability that it is held back
	HoldBack  time.Duration // how much longer a datagram that is held back takes
}

// Sent is one datagram as its sender gave it to the network.
type Sent struct {
	At       time.Time
	From, To netip.AddrPort
	Hops     uint8 // hop limit of a datagram to a group, otherwise 0
	Payload  []byte
}

// Stats counts datagrams.
type Stats struct {
	Sent, Delivered, Lost, Duplicated uint64
	Unreachable                       uint64 // nobody listens there
	Overflow                          uint64 // a receive buffer or the network was full
}

// Network is a simulated network. Its methods and those of its sockets may be called
// from any goroutine.
type Network struct {
	mu      sync.Mutex // guards everything below
	seed    uint64
	link    func(from, to netip.AddrPort) Link
	tap     func(Sent)
	random  map[[2]netip.AddrPort]*rand.Rand
	sockets map[netip.AddrPort]*queue
	groups  map[netip.AddrPort][]*queue
	flights flights
	order   uint64
	stats   Stats
}

// New returns a network whose links behave as link says; nil is perfect links. link
// is called for each datagram, so conditions may change with time; it must not call
// the network.
func New(seed uint64, link func(from, to netip.AddrPort) Link) *Network {
	if link == nil {
		link = func(_, _ netip.AddrPort) Link { return Link{} }
	}
	return &Network{
		seed:    seed,
		link:    link,
		random:  make(map[[2]netip.AddrPort]*rand.Rand),
		sockets: make(map[netip.AddrPort]*queue),
		groups:  make(map[netip.AddrPort][]*queue),
	}
}

// Tap makes the network call f with each datagram sent, before it is lost or
// delivered. f must not call the network. The payload belongs to f.
func (n *Network) Tap(f func(Sent)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tap = f
}

// Stats returns the counts so far.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Errors of Listen, JoinGroup and WriteTo.
var (
	ErrInUse        = errors.New("gatewaytest: address in use")
	ErrNotMulticast = errors.New("gatewaytest: not a multicast address")
	ErrTooLarge     = errors.New("gatewaytest: message too long")
	ErrHops         = errors.New("gatewaytest: hop limit 0 reaches nobody")
)

// Listen opens a socket. Port 0 chooses a free port.
func (n *Network) Listen(addr netip.AddrPort) (*Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if addr.Port() == 0 {
		for port := uint16(49152); port != 0; port++ {
			a := netip.AddrPortFrom(addr.Addr(), port)
			if n.sockets[a] == nil {
				addr = a
				break
			}
		}
	}
	if addr.Port() == 0 || n.sockets[addr] != nil {
		return nil, ErrInUse
	}
	q := newQueue()
	n.sockets[addr] = q
	return &Conn{network: n, local: addr, queue: q}, nil
}

// send takes one datagram from a socket.
func (n *Network) send(b []byte, from, to netip.AddrPort, hops uint8) error {
	if len(b) > MaxSize {
		return ErrTooLarge
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.Sent++
	if n.tap != nil {
		n.tap(Sent{At: time.Now(), From: from, To: to, Hops: hops, Payload: slices.Clone(b)})
	}
	receivers := n.groups[to]
	if q := n.sockets[to]; q != nil {
		receivers = []*queue{q}
	}
	if len(receivers) == 0 {
		n.stats.Unreachable++
	}
	for _, q := range receivers {
		n.transmit(packet{from: from, payload: slices.Clone(b)}, q, to)
	}
	return nil
}

// transmit puts one datagram for one receiver on its link.
func (n *Network) transmit(p packet, q *queue, to netip.AddrPort) {
	link, r := n.link(p.from, to), n.randomOf(p.from, to)
	// All numbers are drawn whatever happens, so that changing one probability does
	// not change the fate of every later datagram.
	lost, twice := r.Float64() < link.Loss, r.Float64() < link.Duplicate
	first, second := delay(link, r), delay(link, r)
	if lost {
		n.stats.Lost++
		return
	}
	n.deliverAfter(first, p, q)
	if twice {
		n.stats.Duplicated++
		n.deliverAfter(second, p, q)
	}
}

func delay(link Link, r *rand.Rand) time.Duration {
	jitter, held := r.Float64(), r.Float64() < link.Reorder
	d := link.Delay + time.Duration(jitter*float64(link.Jitter))
	if held {
		d += link.HoldBack
	}
	return d
}

// randomOf returns the random numbers of a link.
func (n *Network) randomOf(from, to netip.AddrPort) *rand.Rand {
	key := [2]netip.AddrPort{from, to}
	r := n.random[key]
	if r == nil {
		r = rand.New(rand.NewPCG(n.seed, linkNumber(from, to)))
		n.random[key] = r
	}
	return r
}

func (n *Network) deliverAfter(d time.Duration, p packet, q *queue) {
	if d <= 0 {
		n.arrive(p, q)
		return
	}
	if len(n.flights) >= MaxInFlight {
		n.stats.Overflow++
		return
	}
	n.order++
	heap.Push(&n.flights, flight{at: time.Now().Add(d), order: n.order, packet: p, to: q})
	time.AfterFunc(d, n.land)
}

// land delivers everything whose time has come, in order of time and then of
// sending: timers of the same instant run in any order.
func (n *Network) land() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for len(n.flights) > 0 && !n.flights[0].at.After(now) {
		f := heap.Pop(&n.flights).(flight)
		n.arrive(f.packet, f.to)
	}
}

func (n *Network) arrive(p packet, q *queue) {
	select {
	case <-q.closed:
		n.stats.Unreachable++
		return
	default:
	}
	select {
	case q.packets <- p:
		n.stats.Delivered++
		q.bell.Ring()
	default:
		n.stats.Overflow++
	}
}

func (n *Network) closeSocket(addr netip.AddrPort, q *queue) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !q.close() {
		return net.ErrClosed
	}
	delete(n.sockets, addr)
	return nil
}

func (n *Network) closeGroup(group netip.AddrPort, q *queue) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !q.close() {
		return net.ErrClosed
	}
	// A new slice: send may be going through the old one.
	n.groups[group] = slices.DeleteFunc(slices.Clone(n.groups[group]), func(other *queue) bool { return other == q })
	return nil
}
