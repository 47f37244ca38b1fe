package gateway

import (
	"container/list"
	"time"

	"sngate/internal/deadline"
)

// noteEnded puts e among the sessions that have ended, at now, or takes it out.
func (p *spares) noteEnded(e *entry, ended bool, now time.Duration) {
	switch {
	case ended && e.ended == nil:
		e.ended, e.endedAt = p.ended.PushBack(e), now
	case !ended && e.ended != nil:
		p.ended.Remove(e.ended)
		e.ended = nil
	}
}

// postpone puts e behind all others that have ended: it cannot be given up now, and must not
// be in their way.
func (p *spares) postpone(e *entry) {
	if e.ended != nil {
		p.ended.MoveToBack(e.ended)
	}
}

// noteHalfOpen puts e among the will dialogues that may be given up, or takes it out.
func (p *spares) noteHalfOpen(e *entry) {
	switch open := e.session.HalfOpen(); {
	case open && e.halfOpen == nil:
		e.halfOpen = p.halfOpen.PushBack(e)
	case !open && e.halfOpen != nil:
		p.halfOpen.Remove(e.halfOpen)
		e.halfOpen = nil
	}
}

// oldestHalfOpen returns the will dialogue that began first; nil: there is none.
func (p *spares) oldestHalfOpen() *entry { return front(&p.halfOpen) }

// oldestEnded returns the session that has ended first; nil: there is none.
func (p *spares) oldestEnded() *entry { return front(&p.ended) }

func front(l *list.List) *entry {
	if f := l.Front(); f != nil {
		return f.Value.(*entry)
	}
	return nil
}

// nextExpiry is when the oldest may be given up for its age, where sessions are kept for so
// long; never if none waits for that.
func (p *spares) nextExpiry(expiry time.Duration) time.Duration {
	oldest := p.oldestEnded()
	if oldest == nil || expiry <= 0 {
		return deadline.Never
	}
	return max(oldest.endedAt+expiry, p.expireAt)
}
