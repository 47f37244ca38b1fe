package gateway

import (
	"encoding/binary"

	"sngate/gateway/listen"
)

func newDirectory() *directory {
	d := &directory{}
	for i := range d.stripes {
		d.stripes[i].byKey = make(map[uint64]*entry)
		d.stripes[i].byPeer = make(map[listen.Peer]*entry)
	}
	return d
}

// place is where in a directory a peer is.
type place struct {
	*stripe
	ipv4 bool   // key says all of it
	key  uint64 // for the choice of the stripe
	peer listen.Peer
}

// place finds the place of a peer. Nearly every datagram is from one with an IPv4 address and
// without a forwarder, which is looked up by one number: there are fewer listeners than
// ports. Others are spread by the last octets of their address, their port and node.
func (d *directory) place(p listen.Peer) place {
	at := place{peer: p}
	if p.Node == "" && p.Addr.Addr().Is4() {
		a := p.Addr.Addr().As4()
		at.ipv4, at.key = true, uint64(p.Listener)<<48|uint64(binary.BigEndian.Uint32(a[:]))<<16|uint64(p.Addr.Port())
	} else {
		a := p.Addr.Addr().As16()
		at.key = uint64(p.Addr.Port())*31 + uint64(a[15]) + uint64(a[14])<<8
		for i := range len(p.Node) {
			at.key = at.key*31 + uint64(p.Node[i])
		}
	}
	at.stripe = &d.stripes[at.key*0x9E3779B97F4A7C15>>(64-directoryStripeBits)]
	return at
}

// get and set are called with the lock; set with nil takes the entry away.
func (at *place) get() *entry {
	if at.ipv4 {
		return at.byKey[at.key]
	}
	return at.byPeer[at.peer]
}

func (at *place) set(e *entry) {
	switch {
	case at.ipv4 && e == nil:
		delete(at.byKey, at.key)
	case at.ipv4:
		at.byKey[at.key] = e
	case e == nil:
		delete(at.byPeer, at.peer)
	default:
		at.byPeer[at.peer] = e
	}
}

// find returns the entry bound to p, or nil.
func (d *directory) find(p listen.Peer) *entry {
	at := d.place(p)
	at.mu.RLock()
	defer at.mu.RUnlock()
	return at.get()
}

// bind gives p to e and returns the entry that had it before, or nil.
func (d *directory) bind(p listen.Peer, e *entry) *entry {
	at := d.place(p)
	at.mu.Lock()
	defer at.mu.Unlock()
	before := at.get()
	at.set(e)
	if before == e {
		return nil
	}
	return before
}

// unbind takes p from e, if e is still bound to it.
func (d *directory) unbind(p listen.Peer, e *entry) {
	at := d.place(p)
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.get() == e {
		at.set(nil)
	}
}

// clientID returns the client id of the session that has an address; "": there is none.
func (d *directory) clientID(p listen.Peer) string {
	if e := d.find(p); e != nil {
		return e.session.ClientID()
	}
	return ""
}
