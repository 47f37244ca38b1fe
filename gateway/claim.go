package gateway

import (
	"math"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
)

// A CONNECT with Will=1 for a live session from another address than its device's. It
// can be forged, and to begin its will dialogue ends whatever the device is in the middle
// of. So the dialogue is held by a session of its own, a claim, and the live one goes on
// where it is until that is complete. A shard has one claim for a client id: the newest.
// Claims are in no count of sessions: a shard has no more of them than it has sessions.

// claims reports whether the CONNECT of an arrival is to claim the session of e, and has
// it do so.
func (s *shard) claims(e *entry, a *arrival, c *sn12.Connect) bool {
	old := s.roster.claimed[e.session.ClientID()]
	if !c.Will || s.holds(e, a.peer) || !live(e.session.State()) || e.session.HalfOpen() {
		s.dropClaim(old)
		return false
	}
	if old == nil && len(s.roster.claimed) >= len(s.roster.byID) { // claims outlive the sessions that they are for
		s.refuse(a, sn12.RejectedCongestion, session.ReasonMaxSessions)
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
			s.refuse(a, sn12.RejectedCongestion, why)
			return
		}
	}
	s.bind(e, p)
	if e.link != nil {
		e.link.Nudge(s.now)
	}
	e.heardAt = s.now
	env := s.envFor(e)
	env.KeepLimit = math.MaxInt // the claim has been let in with its will
	e.session.Adopt(env, claim.session, &s.out)
	s.settle(e)
}
