package gateway

import (
	"net/netip"
	"strconv"
	"sync"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// peer is where a device is: the listener it talks to and its address there, and the
// wireless node id it has behind a forwarder. It is only where to send the next
// datagram; a device is known by its client id.
type peer struct {
	listener int
	addr     netip.AddrPort
	node     string // as the forwarder wrote it; "" for a device without forwarder
}

// String is the peer as logs name it.
func (p peer) String() string {
	if p.node == "" {
		return p.addr.String()
	}
	return p.addr.String() + "/" + strconv.QuoteToASCII(p.node)
}

// overhead is how many octets wrap adds.
func (p peer) overhead() int {
	if p.node == "" {
		return 0
	}
	return sn12.Encapsulated{NodeID: []byte(p.node)}.Len()
}

// wrap returns datagram as it goes to the peer, in a buffer of its own when it has to
// be encapsulated (MQTT-SN 1.2 section 5.5). buf is reused.
func (p peer) wrap(buf, datagram []byte) ([]byte, error) {
	if p.node == "" {
		return datagram, nil
	}
	return sn12.Encapsulated{NodeID: []byte(p.node), Inner: datagram}.Append(buf[:0])
}

// directory finds the session of an address. Readers look addresses up while shards
// change them. Which session an address belongs to is decided here alone: an entry is
// bound to at most one address, and an address to at most one entry.
type directory struct {
	stripes [directoryStripes]stripe
}

const directoryStripes = 64

type stripe struct {
	mu      sync.RWMutex
	entries map[peer]*entry
	_       [32]byte // a cache line each
}

func newDirectory() *directory {
	d := &directory{}
	for i := range d.stripes {
		d.stripes[i].entries = make(map[peer]*entry)
	}
	return d
}

// stripe spreads peers by the last octets of their address, their port and node.
func (d *directory) stripe(p peer) *stripe {
	a := p.addr.Addr().As16()
	h := uint32(p.addr.Port())*31 + uint32(a[15]) + uint32(a[14])<<8
	for i := range len(p.node) {
		h = h*31 + uint32(p.node[i])
	}
	return &d.stripes[(h*0x9E3779B1)>>(32-6)]
}

// find returns the entry bound to p, or nil.
func (d *directory) find(p peer) *entry {
	s := d.stripe(p)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.entries[p]
}

// bind gives p to e and returns the entry that had it before, or nil.
func (d *directory) bind(p peer, e *entry) *entry {
	s := d.stripe(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.entries[p]
	s.entries[p] = e
	if before == e {
		return nil
	}
	return before
}

// release takes p from e, if it still has it.
func (d *directory) release(p peer, e *entry) {
	s := d.stripe(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[p] == e {
		delete(s.entries, p)
	}
}

// messageType returns the MsgType octet of a datagram the gateway has built itself.
func messageType(datagram []byte) byte {
	t, _, err := snpacket.Split(datagram)
	if err != nil {
		return 0xFF
	}
	return t
}
