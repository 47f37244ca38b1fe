package dial

import (
	"context"
)

// New returns a Dialer that counts in stats. o is complete: no field has a default.
func New(o Options, stats *Stats) *Dialer {
	d := &Dialer{opt: o, stats: stats, pace: newPace(o.DialRate), conns: make(map[*Conn]struct{}), late: make(map[*Conn]struct{}), interval: newInterval(o.ConnectInterval), fail: newFailover(&o)}
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// Close drops every connection without DISCONNECT and returns when the goroutines of
// the Dialer have ended. Owners are told nothing of it.
func (d *Dialer) Close() {
	d.mu.Lock()
	d.closed = true
	d.urgent.Init()
	d.waiting.Init()
	d.dismiss()
	for c := range d.late {
		d.unqueueLate(c)
	}
	d.stats.Waiting.Store(0)
	if d.pace.timer != nil {
		d.pace.timer.Stop()
	}
	open := make([]*Conn, 0, len(d.conns))
	for c := range d.conns {
		open = append(open, c)
	}
	d.mu.Unlock()
	d.end()
	for _, c := range open {
		c.Abandon()
	}
	d.wg.Wait()
}

// Connect begins to connect, or queues it: urgent if a device waits for it. The error is
// ErrBusy, or ErrCancelled after Close.
func (d *Dialer) Connect(r *Request, urgent bool) (*Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := newConn(d, r)
	c.urgent = urgent
	switch q := d.queue(c); {
	case d.closed:
		return nil, ErrCancelled
	case q.Len() >= d.opt.MaxWaiting:
		d.stats.DialsBusy.Add(1)
		return nil, ErrBusy
	default:
		c.queued = q.PushBack(c)
		d.stats.Waiting.Add(1)
		d.pump()
	}
	return c, nil
}

// Hurry moves c, if it is queued, to those a device waits for, where there is room.
func (c *Conn) Hurry() {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.turn.timer != nil {
		c.urgent = true // when its time comes
		return
	}
	if c.queued == nil || c.urgent || d.closed || d.urgent.Len() >= d.opt.MaxWaiting {
		return
	}
	d.waiting.Remove(c.queued)
	c.urgent = true
	c.queued = d.urgent.PushBack(c)
	d.pump() // there may be slots kept for it
}

// Unqueue takes c out of the queue and reports whether it was there: then c has pushed
// nothing and never will.
func (c *Conn) Unqueue() bool {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unqueueLate(c) {
		return true
	}
	if c.queued == nil || d.closed {
		return false
	}
	d.queue(c).Remove(c.queued)
	c.queued = nil
	d.stats.Waiting.Add(-1)
	d.dismiss()
	return true
}

// unqueueLate takes back a connect that is put off. d.mu is held.
func (d *Dialer) unqueueLate(c *Conn) bool {
	if c.turn.timer == nil {
		return false
	}
	c.turn.timer.Stop()
	c.turn.timer = nil
	delete(d.late, c)
	d.stats.Waiting.Add(-1)
	return true
}
