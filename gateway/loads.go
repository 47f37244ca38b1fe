package gateway

import (
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/persist"
	"sngate/gateway/session"
)

const (
	// loadsAtOnce is how many clients a shard asks the store for at a time: enough to keep the
	// store busy, and few enough that a device that speaks does not wait for long.
	loadsAtOnce = 64
	// loadBacklog is how many datagrams of a device wait for its session to be loaded.
	loadBacklog = 8
)

// add puts an entry at the end.
func (l *loads) add(e *entry) {
	e.loading.on = true
	l.queue = append(l.queue, e)
	l.count.left.Add(1)
}

// next returns the entry for which the store is asked next; nil: none, for now.
func (l *loads) next() (e *entry) {
	if l.asked >= loadsAtOnce {
		return nil
	}
	if len(l.urgent) > 0 {
		e, l.urgent = l.urgent[0], l.urgent[1:]
	}
	for e == nil && len(l.queue) > 0 {
		if first := l.queue[0]; first.loading.on && !first.loading.asked && !first.loading.urgent {
			e = first
		}
		l.queue = l.queue[1:]
	}
	if e != nil {
		e.loading.asked = true
		l.asked++
	}
	return e
}

// hurry has an entry loaded before the others.
func (l *loads) hurry(e *entry) {
	if e.loading.urgent {
		return
	}
	e.loading.urgent = true
	if !e.loading.asked {
		l.urgent = append(l.urgent, e)
	}
}

// fail notes that the store could not read an entry. It reports whether that is the first
// one since retry.
func (l *loads) fail(e *entry) bool {
	l.failed = append(l.failed, e)
	return len(l.failed) == 1
}

// retry puts those that have failed behind all others of their kind.
func (l *loads) retry() {
	for _, e := range l.failed {
		e.loading.asked = false
		l.asked--
		if e.loading.urgent {
			l.urgent = append(l.urgent, e)
		} else {
			l.queue = append(l.queue, e)
		}
	}
	l.failed = nil
}

// loaded notes that an entry is no longer being loaded, and returns what has waited for it.
func (l *loads) loaded(e *entry) []waiter {
	e.loading = loading{}
	l.asked--
	waiters := l.waiting[e]
	delete(l.waiting, e)
	return waiters
}

// await has a datagram wait until the session of e is loaded: until then nobody knows enough to
// answer it. It drops one too many. Those that wait have at most half of the memory for datagrams.
func (l *loads) await(now time.Duration, e *entry, a *arrival) {
	l.hurry(e)
	if len(l.waiting[e]) >= loadBacklog || a.datagram.Crowded() {
		l.drop(now, e, a)
		return
	}
	if l.waiting == nil {
		l.waiting = make(map[*entry][]waiter)
	}
	l.waiting[e] = append(l.waiting[e], waiter{*a, l.directory.find(a.peer)})
	if a.connect != nil {
		a.connect.awaits = e.session.ClientID()
	}
	a.datagram, a.connect = nil, nil // they are done with when it has been handled
}

// drop counts a datagram that cannot wait for the session of e.
func (l *loads) drop(now time.Duration, e *entry, a *arrival) {
	l.report.counters.Drop(session.ReasonSessionLoading)
	l.report.cause.datagram = a.frame.Message
	l.report.refusal(now, e, session.ReasonSessionLoading, session.About{})
	l.report.cause.datagram = nil
}

// outdated reports whether the address of a datagram that has waited for the session of e is
// another device's now, whose session would take it for its own.
func (l *loads) outdated(e *entry, w *waiter) bool {
	now := l.directory.find(w.peer)
	return now != nil && now != e && now != w.boundTo
}

// abandon drops all that waits, because the gateway stops: nothing is loaded any more.
func (l *loads) abandon() {
	for _, waiters := range l.waiting {
		for i := range waiters {
			l.report.counters.Drop(session.ReasonStopping)
			waiters[i].datagram.Recycle()
		}
	}
	l.waiting = nil
}

// newLoadCount returns one for a start that has not found out yet how many there are.
func newLoadCount(log zerolog.Logger) *loadCount {
	c := &loadCount{log: log}
	c.left.Add(1)
	return c
}

// done notes that one less is left: so many sessions of it have been restored, 0 or 1, and faults
// were found on the way. The operator is told when none is left.
func (c *loadCount) done(sessions int, faults persist.Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loaded += sessions
	c.faults.Add(faults)
	if c.left.Add(-1) > 0 {
		return
	}
	if c.faults.Records > 0 {
		c.log.Error().Int("records", c.faults.Records).Err(c.faults.First).Msg("ignoring corrupt records")
	}
	if c.loaded > 0 {
		c.log.Info().Int("sessions", c.loaded).Msg("sessions restored")
	}
}
