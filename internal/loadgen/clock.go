package loadgen

import (
	"context"
	"time"
)

// idleTick is how often the clock looks when nothing is due.
const idleTick = 20 * time.Millisecond

// clock sends what is due and repeats what is not answered until ctx is done.
func (e *engine) clock(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(e.tick())
	}
}

// tick does what is due and returns how long nothing will be.
func (e *engine) tick() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if e.leaving {
		return idleTick
	}
	e.expire(now)
	next := now + int64(idleTick)
	if !e.running {
		return idleTick
	}
	n := int64(len(e.devices))
	for ; e.up.more() && e.up.due() <= now; e.up.n++ {
		e.dueUp(int(e.up.n%n), now)
	}
	for ; e.down.more() && e.down.due() <= now; e.down.n++ {
		e.sendDown(int(e.down.n%n), now, e.down.due())
	}
	for _, w := range []*way{&e.up, &e.down} {
		if w.more() {
			next = min(next, w.due())
		}
	}
	return time.Duration(max(next-e.now(), 0))
}

// expire takes care of what has waited for RetryInterval.
func (e *engine) expire(now int64) {
	for {
		i, due, ok := e.waiting.first()
		if !ok || due > now {
			break
		}
		e.waiting.remove(i)
		d := &e.devices[i]
		switch {
		case d.awaits == echo:
			e.counts.timeouts++
			d.awaits = 0
			e.sendNext(i, now)
		case d.tries == e.o.RetryCount:
			e.giveUp(i, now)
		default:
			d.tries++
			e.counts.repeats++
			d.markRepeated()
			e.transmit(i, now)
		}
	}
	for {
		i, due, ok := e.credit.first()
		if !ok || due > now {
			return
		}
		e.credit.remove(i)
		e.counts.timeouts++
		if e.running {
			e.sendDown(i, now, now)
		}
	}
}

// dueUp has device i publish, or notes that it owes a message while one is under way: a
// device has one QoS 1 or 2 message under way at a time (MQTT-SN 1.2 section 6.5).
func (e *engine) dueUp(i int, now int64) {
	d := &e.devices[i]
	switch {
	case d.failed:
	case d.awaits == 0:
		e.sendUp(i, now, e.up.due())
	default:
		if d.owed == 0 {
			d.owedAt = float64(e.up.due())
		}
		d.owed++
	}
}
