package gateway

import (
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// These bound the log lines of each level: those that devices cause which have been
// accepted before, those that anybody can cause, and faults of sockets. They are apart,
// so that a flood of the one hides nothing of the others.
const (
	eventsPerSecond    = 100
	strangersPerSecond = 50
	faultsPerSecond    = 10
)

// sampled bounds each level by itself, so that no flood of everyday lines hides a warning.
func sampled(log zerolog.Logger, perSecond uint32) zerolog.Logger {
	burst := func() *burstSampler {
		return &burstSampler{log: log, burst: zerolog.BurstSampler{Burst: perSecond, Period: time.Second}}
	}
	return log.Sample(zerolog.LevelSampler{DebugSampler: burst(), InfoSampler: burst(), WarnSampler: burst(), ErrorSampler: burst()})
}

// burstSampler says how many lines it has left out before it lets the next one pass.
type burstSampler struct {
	log     zerolog.Logger // not sampled
	burst   zerolog.BurstSampler
	leftOut atomic.Uint64
}

// Sample implements zerolog.Sampler.
func (s *burstSampler) Sample(level zerolog.Level) bool {
	if !s.burst.Sample(level) {
		s.leftOut.Add(1)
		return false
	}
	if n := s.leftOut.Swap(0); n > 0 {
		s.log.WithLevel(level).Uint64("lines", n).Msg("log lines left out")
	}
	return true
}

// deviceLog is the log for what e does: a session that has never been accepted may be
// anybody's.
func (g *Gateway) deviceLog(e *entry) *zerolog.Logger {
	if e.accepted {
		return &g.eventLog
	}
	return &g.strayLog
}
