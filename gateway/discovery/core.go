package discovery

import (
	"math"
	"net/netip"
	"time"

	"sngate/internal/rate"
	"sngate/snpacket/sn12"
)

// place says by which way a discovery message came, and so where its answer goes.
type place uint8

const (
	ViaListener  place = iota // sent to a listener's own address
	viaGroup                  // sent to a listener's multicast group
	ViaForwarder              // encapsulated by a forwarder
)

// search is a SEARCHGW to be answered.
type search struct {
	via      place
	listener int
	from     netip.AddrPort // the client or the forwarder
	node     []byte         // ViaForwarder: Wireless Node Id of the searcher, our own copy
	radius   uint8          // as in the SEARCHGW; 0 is the whole network
}

// announcement is a datagram that discovery wants sent.
type announcement struct {
	listener int
	msgType  sn12.Type
	toGroup  bool           // to the listener's group, otherwise to the address below
	hops     uint8          // toGroup: hop limit, 1..255
	to       netip.AddrPort // not toGroup
	payload  []byte         // valid until the next call
}

const (
	// wholeNetwork is the hop limit for radius 0, the largest there is.
	wholeNetwork = 255
	// maxForwarderRadius is what the two bits of a forwarder's Ctrl octet can say.
	maxForwarderRadius = 3
	// advertiseRetry is how long an ADVERTISE that is due waits for the broker, or for
	// a network it can be sent on, before it looks again.
	advertiseRetry = time.Second
	// noDeadline is the deadline of a gateway that does not advertise.
	noDeadline = time.Duration(math.MaxInt64)
)

// core decides when this gateway advertises itself and what it answers to
// clients that search (MQTT-SN 1.2 section 6.1). It is pure: the discoverer's
// goroutine owns it, tells it the time and sends what it asks for.
type core struct {
	gwID  uint8
	every time.Duration // between ADVERTISEs, whole seconds; 0: none are sent
	next  time.Duration // when the next one is due
	// bucket limits answers in total, not per address: the addresses of a flood are
	// forged, and a table of them would be its target.
	bucket rate.Limiter
	buf    []byte // backs announcement.payload
}

func newCore(gwID uint8, every time.Duration, answers rate.Limiter) core {
	d := core{gwID: gwID, every: every, next: noDeadline, bucket: answers}
	if every > 0 {
		d.next = 0
	}
	return d
}

// deadline is when advance is next wanted.
func (d *core) deadline() time.Duration { return d.next }

// advance returns the ADVERTISE to be sent to every group at now, or false. A
// gateway advertises only while it is connected to a broker; one that is not looks
// again a little later, so that the first ADVERTISE follows the connection closely.
// Duration is the time until the next one in seconds.
func (d *core) advance(now time.Duration, brokerReady bool) (payload []byte, ok bool) {
	if now < d.next {
		return nil, false
	}
	if !brokerReady {
		d.next = now + advertiseRetry
		return nil, false
	}
	d.next = now + d.every
	m := sn12.Advertise{GwID: d.gwID, Duration: uint16(d.every / time.Second)}
	d.buf, _ = m.Append(d.buf[:0]) // Append cannot fail for this type
	return d.buf, true
}

// unsent takes notice that the ADVERTISE of now reached no group at all.
func (d *core) unsent(now time.Duration) { d.next = now + min(advertiseRetry, d.every) }

// answer returns the GWINFO for a search, or false when answers are used up.
//
// The answer to the group goes at once and as far as the search did: a gateway
// does not wait as a client that knows a gateway does. It carries no GwAdd; its
// source is the address.
func (d *core) answer(now time.Duration, s search) (announcement, bool) {
	if !d.bucket.Allow(now) {
		return announcement{}, false
	}
	info := [3]byte{}
	gwInfo, err := sn12.GWInfo{GwID: d.gwID}.Append(info[:0])
	if err != nil {
		return announcement{}, false
	}
	a := announcement{listener: s.listener, msgType: sn12.TypeGWInfo, to: s.from}
	switch s.via {
	case viaGroup:
		a.toGroup, a.hops = true, s.radius
		if s.radius == 0 {
			a.hops = wholeNetwork
		}
	case ViaForwarder:
		wrapped := sn12.Encapsulated{Radius: min(s.radius, maxForwarderRadius), NodeID: s.node, Inner: gwInfo}
		if d.buf, err = wrapped.Append(d.buf[:0]); err != nil {
			return announcement{}, false
		}
		a.payload = d.buf
		return a, true
	}
	d.buf = append(d.buf[:0], gwInfo...)
	a.payload = d.buf
	return a, true
}
