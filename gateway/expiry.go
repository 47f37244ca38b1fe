package gateway

import (
	"time"

	"sngate/gateway/session"
)

// Sessions that are kept for devices that have gone (CleanSession=0) end after
// session.expiry. The list spares.ended is in the order in which they will, so there is
// nothing to search.

// expiryPace is the pause between two expiries in one shard: each is work for the store,
// which devices may be waiting for.
const expiryPace = 100 * time.Millisecond

// expire gives up the session that has been kept longest, if its time has come.
func (s *shard) expire() {
	if s.now < s.spares.nextExpiry(s.gw.opts.Expiry) {
		return
	}
	s.spares.expireAt = s.now + expiryPace
	if s.gw.stopping.Load() {
		return
	}
	e := s.spares.oldestEnded()
	s.spares.noteEnded(e, false, s.now)
	if !e.session.Expire(s.envFor(e), &s.out) { // the spool is not empty: for another period
		s.spares.noteEnded(e, true, s.now)
		return
	}
	s.counters.Drop(session.ReasonSessionExpired)
	s.report.remember(s.now, e, session.ReasonSessionExpired)
	s.report.expired(e)
	s.settle(e)
}
