package gateway

import (
	"math"

	"sngate/gateway/session"
)

// What devices make the gateway keep beside messages (wills, topic names, subscriptions,
// client ids, node ids: session.Kept) counts in the budget of memory, and has one of its
// own for the store, of which it may fill a part. The rule is that of budget: nobody may
// keep more than is left free. It differs in two things, because what is kept cannot be
// shed. A quarter of either is left to those who are known, so that no crowd of strangers
// takes it all; and every session, however full it is, may keep a small share that is
// always there.

// storedPart is the part of the store's file that what is kept may fill, and the same
// for the messages held in it. Pages are half full at worst, so that is half of the file.
const storedPart = 8

// keepShare is the part of a budget that all sessions together may keep whatever is free.
const keepShare = 4

// share tells how much one session may keep of a budget.
func (b *budget) share(known bool, sessions int) int {
	if b.limit <= 0 {
		return math.MaxInt
	}
	free := int64(b.free())
	if !known {
		free -= b.limit / 4
	}
	return int(min(max(free, b.limit/keepShare/int64(max(sessions, 1))), math.MaxInt))
}

// known reports whether e has been here for long enough, or has shown that it is where it
// says it is, so that it is not one of a crowd that has just come.
func (e *entry) known(s *shard) bool {
	return e.accepted && (s.now-e.acceptedAt >= keptFor || e.session.Proven())
}

// keepLimit tells how many octets the session of e may make the gateway keep.
func (s *shard) keepLimit(e *entry) int {
	g, known := s.gw, e.known(s)
	sessions := g.opts.MaxSessions
	return min(g.budget.share(known, sessions), g.keptStore.share(known, sessions))
}

// noteKept brings what is counted of what e keeps up to date.
func (s *shard) noteKept(e *entry) {
	s.countKept(e, e.session.Kept()+len(e.peer.Node))
}

func (s *shard) countKept(e *entry, octets int) {
	if delta := octets - e.keptOctets; delta != 0 {
		s.gw.budget.add(delta)
		s.gw.keptStore.add(delta)
		e.keptOctets = octets
	}
}

// noteAccepted notes when e was first accepted.
func (s *shard) noteAccepted(e *entry, state session.State) {
	if !e.accepted && state == session.StateActive {
		e.accepted, e.acceptedAt = true, s.now
	}
}
