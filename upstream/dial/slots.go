package dial

import (
	"container/list"
	"time"
)

// slots returns how many connects may be in progress when another one begins. A quarter
// is kept for those a device waits for, so that reconnects that hang, which are tried for
// ever, do not hold them all.
func (d *Dialer) slots(urgent bool) int {
	if urgent {
		return d.opt.MaxDials
	}
	return d.opt.MaxDials - d.opt.MaxDials/4
}

// queue returns where c waits. d.mu is held.
func (d *Dialer) queue(c *Conn) *list.List {
	if c.urgent {
		return &d.urgent
	}
	return &d.waiting
}

// dismiss ends the workers without a connect, unless connects wait. d.mu is held.
func (d *Dialer) dismiss() {
	if d.urgent.Len()+d.waiting.Len() > 0 {
		return
	}
	for _, w := range d.resting {
		close(w)
	}
	d.resting = nil
}

// ended forgets c, which says nothing any more.
func (d *Dialer) ended(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// spawn runs f in a goroutine that Close waits for.
func (d *Dialer) spawn(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.wg.Go(f)
	return true
}

// TimeLeft returns what is left of limit, counted from when the broker has last answered any
// connect before c had a slot, and whether c waits for one. A connect that has waited only
// because of the pace has nearly all of it. While it is put off it has all of it.
func (c *Conn) TimeLeft(limit time.Duration) (left time.Duration, waiting bool) {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case c.turn.timer != nil:
		return limit, true
	case c.queued != nil:
		return limit - time.Since(later(d.answered, c.turn.freed)), true
	}
	return limit - time.Since(c.turn.before), false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
