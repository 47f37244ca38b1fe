package gateway

import (
	"sngate/gateway/listen"
)

func newDirectory() *directory {
	d := &directory{}
	for i := range d.stripes {
		d.stripes[i].entries = make(map[listen.Peer]*entry)
	}
	return d
}

// stripe spreads peers by the last octets of their address, their port and node.
func (d *directory) stripe(p listen.Peer) *stripe {
	a := p.Addr.Addr().As16()
	h := uint32(p.Addr.Port())*31 + uint32(a[15]) + uint32(a[14])<<8
	for i := range len(p.Node) {
		h = h*31 + uint32(p.Node[i])
	}
	return &d.stripes[(h*0x9E3779B1)>>(32-6)]
}

// find returns the entry bound to p, or nil.
func (d *directory) find(p listen.Peer) *entry {
	s := d.stripe(p)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.entries[p]
}

// bind gives p to e and returns the entry that had it before, or nil.
func (d *directory) bind(p listen.Peer, e *entry) *entry {
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

// unbind takes p from e, if e is still bound to it.
func (d *directory) unbind(p listen.Peer, e *entry) {
	s := d.stripe(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[p] == e {
		delete(s.entries, p)
	}
}

// clientID returns the client id of the session that has an address; "": there is none.
func (d *directory) clientID(p listen.Peer) string {
	if e := d.find(p); e != nil {
		return e.session.ClientID()
	}
	return ""
}
