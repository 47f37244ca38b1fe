package gateway

import (
	"math"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/gateway/session/dialogue"
	"sngate/internal/deadline"
)

// arriveConnect handles CONNECT: the only message that makes a session.
func (s *shard) arriveConnect(a *arrival) {
	c := a.message()
	switch {
	case c.Fault == dialogue.Malformed:
		s.report.refusedWithout(s.now, a, session.ReasonMalformed)
		return
	case len(c.Name) == 0:
		s.arriveNameless(a, &c)
		return
	}
	if code, why := s.gw.opts.checkConnect(&c); why != session.ReasonNone {
		s.refuse(a, code, why)
		return
	}
	e := s.roster.byID[string(c.Name)]
	switch {
	case e == nil:
		var why session.Reason
		if e, why = s.admit(a.peer, string(c.Name)); e == nil {
			s.refuse(a, dialogue.Congestion, why)
			return
		}
	case e.loading.on:
		s.loads.await(s.now, e, a)
		return
	case e.bound && e.peer != a.peer && s.gw.opts.AddressChange == AddressChangeDeny && s.defends(e):
		s.refuseStranger(a, session.ReasonAddressChange)
		return
	}
	if s.claims(e, a, &c) {
		return
	}
	s.connect(e, a)
}

// connect binds e to where a CONNECT has come from, and lets its session handle it.
func (s *shard) connect(e *entry, a *arrival) {
	s.bind(e, a.peer)
	if !live(e.session.State()) {
		e.session.RestartMsgIDs(s.gw.opts.FirstMsgID())
	}
	s.handle(e, a)
}

// defends reports whether a live session stays where it is, and has its device asked
// whether it is still there.
func (s *shard) defends(e *entry) bool {
	if !live(e.session.State()) || e.session.HalfOpen() || e.session.Contested(s.envFor(e), &s.out) {
		return false
	}
	s.endStep(e)
	return true
}

// refuse answers a CONNECT for which there is no session.
func (s *shard) refuse(a *arrival, code dialogue.Code, why session.Reason) {
	s.report.refusedWithout(s.now, a, why)
	s.reply(a.peer, dialogue.Message{Kind: dialogue.ConnAck, Code: code})
}

func (s *shard) newEntry(clientID string) *entry {
	e := &entry{shard: s, session: session.New(s.gw.opts.Session, clientID, spoken()), refusals: s.report.past.Take(clientID), heardAt: deadline.Never}
	e.session.StartMsgIDs(s.gw.opts.FirstMsgID())
	return e
}

// drawTries is how often a shard draws for a client id of its own: more often than there
// are shards, many times over.
const drawTries = 4096

// free returns id, or another one if some other device has it; "" if there is none to be had.
func (s *shard) free(id string, p listen.Peer) string {
	for range drawTries {
		e := s.roster.find(id)
		if s.gw.shardOf([]byte(id)) == s && (e == nil || e.session.Assigned() && e.bound && e.peer == p) {
			return id
		}
		id = s.gw.opts.drawClientID()
	}
	return ""
}

// arriveNameless handles a CONNECT without a client id. c is what could be read of it.
func (s *shard) arriveNameless(a *arrival, c *dialogue.Message) {
	if code, why := session.CheckAssigned(s.gw.opts.Session, c, a.assigned); why != session.ReasonNone {
		s.refuse(a, code, why)
		return
	}
	id := s.free(a.assigned, a.peer)
	e := s.roster.find(id)
	if e != nil && e.loading.on {
		s.loads.await(s.now, e, a)
		return
	}
	if e == nil {
		why := session.ReasonClientID
		if id != "" {
			e, why = s.admit(a.peer, id)
		}
		if e == nil {
			s.refuse(a, dialogue.Congestion, why)
			return
		}
		e.session.SetAssigned()
		s.report.assigned(e, a)
	}
	s.connect(e, a)
}

// admit makes the entry of a client id that has none, or tells why not.
func (s *shard) admit(p listen.Peer, clientID string) (*entry, session.Reason) {
	if !s.gw.admission.allow(s.now, p.Addr.Addr()) {
		return nil, session.ReasonConnectRate
	}
	if s.gw.limits.sessions.Load() >= int64(s.gw.opts.MaxSessions) {
		s.makeRoom()
	}
	if s.gw.limits.sessions.Add(1) > int64(s.gw.opts.MaxSessions) {
		s.gw.limits.sessions.Add(-1)
		return nil, session.ReasonMaxSessions
	}
	e := s.newEntry(clientID)
	s.roster.add(e)
	return e, session.ReasonNone
}

// makeRoom gives a session up for one that comes. First the will dialogue that has gone
// on for longest without ever having been accepted: forged CONNECTs with Will=1 leave
// such behind, and could fill the gateway with them; a device in the middle of one
// answers within a round trip, or connects again. Then the session that has been kept
// for longest for a device that has gone, or such sessions would fill it with the years;
// not before it is loaded, because it may have messages for the broker.
func (s *shard) makeRoom() {
	if e := s.spares.oldestHalfOpen(); e != nil {
		e.session.GiveWay(s.envFor(e), &s.out)
		s.endStep(e)
		return
	}
	e := s.spares.oldestEnded()
	switch {
	case e == nil || s.now < e.endedAt+keptFor:
	case e.loading.on:
		s.loads.hurry(e)
	case e.idle():
		s.counters.Drop(session.ReasonMaxSessions)
		s.report.remember(s.now, e, session.ReasonMaxSessions)
		s.forget(e)
	}
}

// A CONNECT with Will=1 for a live session from another address than its device's. It
// can be forged, and to begin its will dialogue ends whatever the device is in the middle
// of. So a session of its own, a claim, has the dialogue, and the live one stays where it is
// until that is complete. A shard has one claim for a client id: the newest.
// Claims are in no count of sessions: a shard has no more of them than it has sessions.

// claims reports whether the CONNECT of an arrival is to claim the session of e, and has
// it do so.
func (s *shard) claims(e *entry, a *arrival, c *dialogue.Message) bool {
	old := s.roster.claimed[e.session.ClientID()]
	if !c.Will || s.isAt(e, a.peer) || !live(e.session.State()) || e.session.HalfOpen() {
		s.dropClaim(old)
		return false
	}
	if old == nil && len(s.roster.claimed) >= len(s.roster.byID) { // claims outlive the sessions that they are for
		s.refuse(a, dialogue.Congestion, session.ReasonMaxSessions)
		return true
	}
	if old == nil || old.peer != a.peer {
		s.dropClaim(old)
		old = s.newEntry(e.session.ClientID())
		old.claim = true
		s.roster.claimed[e.session.ClientID()] = old
		s.bind(old, a.peer)
	}
	s.handle(old, a)
	return true
}

// dropClaim ends a claim that another message of the client id has overtaken.
func (s *shard) dropClaim(e *entry) {
	if e != nil {
		s.forget(e)
	}
}

// forgetClaim is the part of forget that is about claims. It reports whether e is one.
func (s *shard) forgetClaim(e *entry) bool {
	if e.claim && s.roster.claimed[e.session.ClientID()] == e {
		delete(s.roster.claimed, e.session.ClientID())
	}
	return e.claim
}

// grant gives the session to a claim if its dialogue is complete. a is the last step of it.
func (s *shard) grant(claim *entry, a *arrival) {
	if claim.gone || claim.session.State() != session.StateConnecting {
		return
	}
	p, id := claim.peer, claim.session.ClientID()
	s.forget(claim)
	e := s.roster.find(id)
	if e == nil { // it has ended meanwhile
		var why session.Reason
		if e, why = s.admit(p, id); e == nil {
			s.refuse(a, dialogue.Congestion, why)
			return
		}
	}
	s.bind(e, p)
	if e.link != nil {
		e.link.Nudge(s.now)
	}
	e.heardAt = s.now
	env := s.envFor(e)
	env.FootprintLimit = math.MaxInt // the claim has been let in with its will
	e.session.Adopt(env, claim.session, &s.out)
	s.endStep(e)
}
