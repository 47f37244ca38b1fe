package gateway

import "sngate/gateway/session"

// entered notes a change of state for the metrics and the log.
func (s *shard) entered(e *entry, a *session.Action) {
	if e.claim { // the session it claims is the one that is counted
		return
	}
	if e.counted {
		s.byState[e.state].Add(-1)
	}
	s.byState[a.State].Add(1)
	from := e.state
	e.state, e.counted = a.State, true
	if live(from) && !live(a.State) {
		s.counters.End(a.Reason)
	}
	s.noteEnded(e, !live(a.State))
	s.noteHalfOpen(e)
	s.logState(e, from, a)
	s.noteAccepted(e, a.State)
}

// noteEnded keeps the list of sessions that admit may give up.
func (s *shard) noteEnded(e *entry, ended bool) {
	switch {
	case ended && e.ended == nil:
		e.ended, e.endedAt = s.ended.PushBack(e), s.now
	case !ended && e.ended != nil:
		s.ended.Remove(e.ended)
		e.ended = nil
	}
}
