package dial

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Dialer opens connections to one broker, or to whichever of several is in use, and bounds
// what that costs: at most Options.MaxDials connects are in progress at once and
// Options.DialRate are begun in a second, the others wait in bounded queues in which they
// are no more than an entry: those a device waits for, and after them the others. It is
// safe for concurrent use.
type Dialer struct {
	opt   Options
	stats *Stats

	mu      sync.Mutex
	active  int       // slots taken
	urgent  list.List // of *Conn: a device waits for it
	waiting list.List // of *Conn
	pace    pace
	conns   map[*Conn]struct{} // with a goroutine
	closed  bool
	fail    failover
	life    context.Context // ends with Close
	end     context.CancelFunc
	wg      sync.WaitGroup
}

// New returns a Dialer that counts in stats. o is complete: no field has a default.
func New(o Options, stats *Stats) *Dialer {
	d := &Dialer{opt: o, stats: stats, pace: newPace(o.DialRate), conns: make(map[*Conn]struct{}), fail: newFailover(&o)}
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

// Hurry moves c, if it is queued, to those a device waits for, where there is room.
func (c *Conn) Hurry() {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.queued == nil || c.urgent || d.closed || d.urgent.Len() >= d.opt.MaxWaiting {
		return
	}
	d.waiting.Remove(c.queued)
	c.urgent = true
	c.queued = d.urgent.PushBack(c)
	d.pump() // there may be slots kept for it
}

// run takes a slot for c. d.mu is held.
func (d *Dialer) run(c *Conn) {
	d.active++
	c.broker, c.began = d.fail.broker(), time.Now()
	d.conns[c] = struct{}{}
	d.stats.Dialling.Add(1)
	d.stats.DialsStarted.Add(1)
	d.wg.Go(c.run)
}

// Unqueue takes c out of the queue and reports whether it was there: then c has pushed
// nothing and never will.
func (c *Conn) Unqueue() bool {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.queued == nil || d.closed {
		return false
	}
	d.queue(c).Remove(c.queued)
	c.queued = nil
	d.stats.Waiting.Add(-1)
	return true
}

// connectDone gives back the slot of a connect that has been answered or has failed, to
// the connect that has waited longest, among those a device waits for if there are any.
func (d *Dialer) connectDone(ok bool) {
	d.stats.Dialling.Add(-1)
	if ok {
		d.stats.DialsSucceeded.Add(1)
	} else {
		d.stats.DialsFailed.Add(1)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active--
	d.pump()
}

// ended forgets c, whose goroutine is about to end. Nothing may block after it.
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

// serve starts the reader of c; a closure less on its stack than spawn would put there.
func (d *Dialer) serve(c *Conn, rd *reader) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	c.serving = true
	d.wg.Add(1)
	go c.serve(rd)
	return true
}
