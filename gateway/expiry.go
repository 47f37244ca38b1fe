package gateway

import (
	"time"

	"sngate/gateway/session"
)

// Sessions that are kept for devices that have gone (CleanSession=0) end after
// session.expiry. The list shard.ended is in the order in which they will, so there is
// nothing to search.

const (
	// expiryPace is the pause between two expiries in one shard: each takes a connection
	// to the broker, which devices may be waiting for.
	expiryPace = 100 * time.Millisecond
	// expiryRetry is the pause before the next look while the broker is away. Its own
	// session of the device could not be ended then.
	expiryRetry = time.Minute
)

// nextExpiry is when expire next wants to be called; never if it waits for nothing.
func (s *shard) nextExpiry() time.Duration {
	front := s.ended.Front()
	if front == nil || s.gw.opts.Expiry <= 0 {
		return never
	}
	return max(front.Value.(*entry).endedAt+s.gw.opts.Expiry, s.expireAt)
}

// expire gives up the session that has been kept longest, if its time has come. It is
// forgotten when the broker has been told to forget its own.
func (s *shard) expire() {
	if s.now < s.nextExpiry() {
		return
	}
	if !s.gw.brokerReady.Load() || s.gw.stopping.Load() {
		s.expireAt = s.now + expiryRetry
		return
	}
	s.expireAt = s.now + expiryPace
	e := s.ended.Front().Value.(*entry)
	s.noteEnded(e, false)
	if !e.session.Expire(&s.out) { // the spool is not empty: for another period
		s.noteEnded(e, true)
		return
	}
	s.counters.drop(int(session.ReasonSessionExpired))
	s.gw.logExpired(e)
	s.settle(e)
}

// logExpired logs that a kept session is given up.
func (g *Gateway) logExpired(e *entry) {
	g.eventLog.Debug().Str("client_id", e.session.ClientID()).Stringer("reason", session.ReasonSessionExpired).
		Msg("session that was kept is given up")
}
