package gateway

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/internal/binrec"
	"sngate/snpacket/sn12"
	"sngate/store"
)

// resumption is the taking up of sessions from the store, before the shards run.
type resumption struct {
	gw      *Gateway
	entries map[string]*entry
	records map[*entry]entryRecord
	order   []*entry
	claims  map[listen.Peer]int    // how many sessions have been at an address
	bad     int                    // records that make no sense
	why     error                  // of the first one
	refused map[session.Reason]int // sessions that are not taken up

	predefined []byte // the digest of the last run; nil: there was none
}

// resume takes up the sessions that the store has.
func (g *Gateway) resume() error {
	r := resumption{gw: g, entries: make(map[string]*entry), records: make(map[*entry]entryRecord), claims: make(map[listen.Peer]int), refused: make(map[session.Reason]int)}
	if err := g.opts.Store.Load(r.load); err != nil {
		return fmt.Errorf("reading the store: %w", err)
	}
	// Sessions that have ended are listed in the order in which they did, see expire.
	slices.SortStableFunc(r.order, func(a, b *entry) int { return cmp.Compare(r.records[a].ended, r.records[b].ended) })
	for _, e := range r.order {
		if why := r.refusal(e); why != session.ReasonNone {
			r.refused[why]++
			e.shard.erase(e.session.ClientID())
			continue
		}
		r.goOn(e)
	}
	r.warnRefused()
	if g.opts.Store.Durable() {
		r.comparePredefined()
	}
	if r.bad > 0 {
		g.log.Error().Int("records", r.bad).Err(r.why).Msg("records of the store make no sense and are ignored")
	}
	if n := g.sessions.Load(); n > 0 {
		g.log.Info().Int64("sessions", n).Msg("sessions taken up from the store")
	}
	return nil
}

func (r *resumption) load(b store.Bucket, key, value []byte) error {
	switch string(key) {
	case clockKey:
		f := binrec.NewReader(value)
		if lived := time.Duration(f.U64()); f.Done() {
			r.gw.lived = max(r.gw.lived, lived)
		}
		return nil
	case predefinedKey:
		r.predefined = bytes.Clone(value)
		return nil
	}
	if string(key) == brokerKey {
		r.gw.dialer.StartAt(string(value))
		return nil
	}
	if err := r.record(b, key, value); err != nil {
		if r.bad++; r.why == nil {
			r.why = fmt.Errorf("%v %q: %w", b, key, err)
		}
	}
	return nil
}

func (r *resumption) record(b store.Bucket, key, value []byte) error {
	clientID, kind, rest, ok := splitKey(b, key)
	if !ok {
		return errEntryRecord
	}
	e := r.entries[string(clientID)]
	if e == nil {
		e = r.gw.shardOf(clientID).newEntry(string(clientID))
		r.entries[string(clientID)] = e
		r.order = append(r.order, e)
	}
	if kind == session.RecordSession {
		entryPart, sessionPart, err := parseEntry(value)
		if err != nil {
			return err
		}
		if p, ok := r.gw.peerOf(&entryPart); ok {
			r.claims[p]++
		}
		r.records[e], value = entryPart, sessionPart
		r.gw.lived = max(r.gw.lived, entryPart.ended) // newer than the clock that a crash has left
	}
	return e.session.Load(kind, rest, value)
}

// comparePredefined tells the operator when the predefined topics are others than those
// that devices were served with before.
func (r *resumption) comparePredefined() {
	digest := r.gw.opts.Session.Predefined.Digest()
	if bytes.Equal(r.predefined, digest[:]) {
		return
	}
	if r.predefined != nil {
		r.gw.log.Warn().Msg("the predefined topics are others than in the last run: " +
			"ids that devices were given for topics before keep their meaning as normal topic ids")
	}
	r.gw.savePredefined()
}

func (g *Gateway) savePredefined() {
	digest := g.opts.Session.Predefined.Digest()
	g.saveOwn(predefinedKey, digest[:])
}

// refusal tells why the configuration, which may have changed since, does not allow a
// session, as it would be found by a CONNECT of its device now.
func (r *resumption) refusal(e *entry) session.Reason {
	c := sn12.Connect{ProtocolID: sn12.ProtocolID, ClientID: []byte(e.session.ClientID())}
	_, why := r.gw.checkConnect(&c)
	if e.session.Assigned() {
		why = r.gw.checkAssigned(e)
	}
	at := r.records[e]
	if p, ok := r.gw.peerOf(&at); ok && why == session.ReasonNone && p.Node != "" && !r.gw.forwarderAllowed(p.Addr.Addr()) {
		return session.ReasonForwarderNotAllowed
	}
	return why
}

func (r *resumption) warnRefused() {
	if len(r.refused) == 0 {
		return
	}
	line := r.gw.log.Warn()
	for why, n := range r.refused {
		line.Int(why.String(), n)
	}
	line.Msg("the configuration no longer allows sessions that the store has: they are given up")
}

// goOn lets a session go on where it was.
func (r *resumption) goOn(e *entry) {
	s, g := e.shard, r.gw
	s.now = g.now()
	g.sessions.Add(1)
	s.clients[e.session.ClientID()] = e
	s.roster.add(e)
	at := r.records[e]
	e.setHome(at.home)
	// Where a crash came between one session losing an address and another one getting it,
	// neither has it: what comes from there could be taken for the other device's.
	if p, ok := g.peerOf(&at); ok && r.claims[p] == 1 {
		e.peer, e.bound = p, true
		g.directory.bind(p, e)
	}
	if !e.session.Resume(s.envFor(e), &s.out) {
		s.out.Reset()
		s.forget(e)
		s.erase(e.session.ClientID())
		return
	}
	if e.counted {
		s.byState[e.state].Add(-1)
	}
	e.accepted, e.acceptedAt = true, -keptFor
	e.state, e.counted = e.session.State(), true
	s.byState[e.state].Add(1)
	s.noteEnded(e, !live(e.state))
	if e.ended != nil && at.ended >= 0 {
		e.endedAt = at.ended - g.lived
	}
	s.settle(e)
}
