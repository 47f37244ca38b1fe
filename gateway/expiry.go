package gateway

import (
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/oplog"
	"sngate/gateway/session"
)

// Sessions that are kept for devices that have gone (CleanSession=0) end after
// session.expiry. The list shard.ended is in the order in which they will, so there is
// nothing to search.

// expiryPace is the pause between two expiries in one shard: each is work for the store,
// which devices may be waiting for.
const expiryPace = 100 * time.Millisecond

// nextExpiry is when expire next wants to be called; never if it waits for nothing.
func (s *shard) nextExpiry() time.Duration {
	front := s.ended.Front()
	if front == nil || s.gw.opts.Expiry <= 0 {
		return never
	}
	return max(front.Value.(*entry).endedAt+s.gw.opts.Expiry, s.expireAt)
}

// expire gives up the session that has been kept longest, if its time has come.
func (s *shard) expire() {
	if s.now < s.nextExpiry() {
		return
	}
	s.expireAt = s.now + expiryPace
	if s.gw.stopping.Load() {
		return
	}
	e := s.ended.Front().Value.(*entry)
	s.noteEnded(e, false)
	if !e.session.Expire(s.envFor(e), &s.out) { // the spool is not empty: for another period
		s.noteEnded(e, true)
		return
	}
	s.counters.Drop(session.ReasonSessionExpired)
	s.remember(e, session.ReasonSessionExpired)
	s.gw.logExpired(e)
	s.settle(e)
}

// logExpired logs that a kept session is given up.
func (g *Gateway) logExpired(e *entry) {
	id := e.session.ClientID()
	g.lines.At(oplog.Sessions, zerolog.DebugLevel, id).Str("client_id", id).Stringer("reason", session.ReasonSessionExpired).
		Msg("session that was kept is given up")
}
