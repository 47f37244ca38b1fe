package session

import (
	"time"

	"sngate/snpacket/sn12"
)

// Rate is a token bucket: so many per second, and a burst that passes at once. The zero
// value is no limit.
type Rate struct {
	PerSecond int // 0: no limit
	Burst     int // at least 1 where there is a limit; what is larger never passes
}

// bucket is the fill of a token bucket of some Rate, kept as the time at which it is
// full again. The zero value is a full one.
type bucket struct{ fullAt Time }

// take takes n tokens, or none if there are not so many.
func (b *bucket) take(r Rate, now Time, n int) bool {
	if r.PerSecond <= 0 {
		return true
	}
	fullAt := max(b.fullAt, now) + r.time(n)
	if fullAt-now > r.time(r.Burst) {
		return false
	}
	b.fullAt = fullAt
	return true
}

// time is how long n tokens take to come back.
func (r Rate) time(n int) Time { return Time(n) * time.Second / Time(r.PerSecond) }

// overRate tells why a PUBLISH is beyond what the device may send. A repeat of an
// exchange in progress is not asked about: it is no new message.
func (s *Session) overRate(now Time, m *sn12.Publish) Reason {
	switch {
	case !s.messages.take(s.cfg.MessageRate, now, 1):
		return ReasonMessageRate
	case !s.octets.take(s.cfg.ByteRate, now, len(m.Data)):
		return ReasonByteRate
	}
	return ReasonNone
}
