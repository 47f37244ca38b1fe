package gateway

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"

	"sngate/gateway/listen"
	"sngate/gateway/persist"
	"sngate/gateway/session"
	"sngate/gateway/session/dialogue"
	"sngate/store"
)

// restoration is the start from the store: it makes an entry for each session that is there,
// before the shards run. They load and restore the sessions themselves.
type restoration struct {
	gw        *Gateway
	entries   map[string]*entry
	records   map[*entry]persist.Entry
	stored    map[*entry]counted // messages, to be loaded later
	order     []*entry
	addresses map[listen.Peer]int    // how many sessions have been at an address
	refused   map[session.Reason]int // sessions that the configuration no longer allows
}

// restore finds the sessions that the store has, and starts the shards' restoring of them.
func (g *Gateway) restore() error {
	r := restoration{gw: g, entries: make(map[string]*entry), records: make(map[*entry]persist.Entry), stored: make(map[*entry]counted), addresses: make(map[listen.Peer]int), refused: make(map[session.Reason]int)}
	loaded, err := g.keeper.Load(r.record, r.rest)
	if err != nil {
		return err
	}
	if loaded.Broker != "" {
		g.dialer.StartAt(loaded.Broker)
	}
	// Sessions that have ended are listed in the order in which they did, see expire.
	slices.SortStableFunc(r.order, func(a, b *entry) int { return cmp.Compare(r.records[a].Ended, r.records[b].Ended) })
	for _, e := range r.order {
		if why := r.refusal(e); why != session.ReasonNone {
			r.refused[why]++
			e.shard.erase(e.session.ClientID())
			continue
		}
		if !e.session.Stored() { // nothing says what the session was
			e.shard.erase(e.session.ClientID())
			continue
		}
		r.expect(e)
	}
	r.warnRefused()
	if g.opts.Store.Durable() {
		g.comparePredefined(loaded.Predefined)
	}
	for _, s := range g.shards {
		s.queues.post(restorer{s}.more)
	}
	g.shards[0].loads.count.done(0, loaded.Faults)
	return nil
}

// rest counts a message or topic of a client; see persist.Keeper.Load. What is left of a session
// whose record is gone is found here too, and erased: it is not to come back as a part of the next one.
func (r *restoration) rest(clientID []byte, b store.Bucket, octets int) {
	e := r.entryOf(clientID)
	switch b {
	case store.Held:
		n := r.stored[e]
		n.heldMessages, n.heldOctets = n.heldMessages+1, n.heldOctets+octets
		r.stored[e] = n
	case store.Spool:
		n := r.stored[e]
		n.spoolMessages, n.spoolOctets = n.spoolMessages+1, n.spoolOctets+octets
		r.stored[e] = n
	}
}

func (r *restoration) entryOf(clientID []byte) *entry {
	e := r.entries[string(clientID)]
	if e == nil {
		e = r.gw.shardOf(clientID).newEntry(string(clientID))
		r.entries[string(clientID)] = e
		r.order = append(r.order, e)
	}
	return e
}

// record takes the record of a session; see persist.Keeper.Load.
func (r *restoration) record(clientID, record []byte, at *persist.Entry) error {
	e := r.entryOf(clientID)
	if at == nil {
		return nil
	}
	if p, ok := r.gw.peerOf(at); ok {
		r.addresses[p]++
	}
	r.records[e] = *at
	return e.session.Load(session.RecordSession, nil, record)
}

// comparePredefined tells the operator when the predefined topics are others than those
// that devices were served with before.
func (g *Gateway) comparePredefined(before []byte) {
	digest := g.opts.Session.Predefined.Digest()
	if bytes.Equal(before, digest[:]) {
		return
	}
	if before != nil {
		g.opts.Log.Warn().Msg("predefined topics changed since the last run: " +
			"ids given to devices before keep their meaning as normal topic ids")
	}
	g.savePredefined()
}

func (g *Gateway) savePredefined() {
	digest := g.opts.Session.Predefined.Digest()
	g.keeper.SavePredefined(digest[:])
}

// refusal tells why the configuration, which may have changed since, does not allow a
// session, as it would be found by a CONNECT of its device now.
func (r *restoration) refusal(e *entry) session.Reason {
	c := dialogue.Message{Kind: dialogue.Connect, Name: []byte(e.session.ClientID())}
	_, why := r.gw.opts.checkConnect(&c)
	if e.session.Assigned() {
		why = r.gw.opts.checkAssigned(e)
	}
	at := r.records[e]
	if p, ok := r.gw.peerOf(&at); ok && why == session.ReasonNone && p.Node != "" && !r.gw.opts.forwarderAllowed(p.Addr.Addr()) {
		return session.ReasonForwarderNotAllowed
	}
	return why
}

func (r *restoration) warnRefused() {
	if len(r.refused) == 0 {
		return
	}
	line := r.gw.opts.Log.Warn()
	for why, n := range r.refused {
		line.Int(why.String(), n)
	}
	line.Msg("dropping stored sessions that the configuration no longer allows")
}

// expect makes e the entry of a session that is loaded when its shard runs. From now on it is
// counted, found by its client id and its address, and has its place among those that have ended.
func (r *restoration) expect(e *entry) {
	s, g := e.shard, r.gw
	s.now = g.now()
	g.limits.sessions.Add(1)
	s.roster.add(e)
	at := r.records[e]
	e.home = at.Home
	// Where a crash came between one session losing an address and another one getting it,
	// neither has it: what comes from there could be taken for the other device's.
	if p, ok := g.peerOf(&at); ok && r.addresses[p] == 1 {
		e.peer, e.bound = p, true
		g.directory.bind(p, e)
	}
	e.accepted, e.acceptedAt = true, -keptFor
	s.gauges.state(&e.counted, e.session.State())
	s.spares.noteEnded(e, !live(e.counted.state), s.now)
	if e.ended != nil && at.Ended >= 0 {
		e.endedAt = g.keeper.Since(at.Ended)
	}
	s.countHeld(e)
	n := r.stored[e]
	s.gauges.held(&e.counted, n.heldMessages, n.heldOctets)
	s.gauges.spooled(&e.counted, n.spoolMessages, n.spoolOctets)
	s.loads.add(e)
}

// peerOf finds where a device was, if that listener is still there.
func (g *Gateway) peerOf(r *persist.Entry) (listen.Peer, bool) {
	addr, err := netip.ParseAddrPort(r.Addr)
	if err != nil {
		return listen.Peer{}, false
	}
	for i := range g.opts.Listeners {
		if g.opts.Listeners[i].Address == r.Listener {
			return listen.Peer{Listener: i, Addr: addr, Node: r.Node}, true
		}
	}
	return listen.Peer{}, false
}
