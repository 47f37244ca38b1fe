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
	s.spares.noteEnded(e, !live(a.State), s.now)
	s.spares.noteHalfOpen(e)
	s.report.state(e, from, a, s.out.Drops)
	s.noteAccepted(e, a.State)
}
