package upstream

import (
	"container/list"
	"context"
	"hash/maphash"
	"net"
	"sync"
	"time"

	"sngate/upstream/mqtt"
)

// Dialer makes Links to one broker, or to whichever of several is in use, and bounds what
// their connecting costs: at most Options.MaxDials connects are in progress at once and
// Options.DialRate are begun in a second, the others wait in bounded queues in which they
// are no more than an entry: those a device waits for, and after them the others. It is
// safe for concurrent use.
type Dialer struct {
	opt     Options
	stats   Stats
	losses  losses
	ill     illness
	closers closers
	seed    maphash.Seed

	mu      sync.Mutex
	active  int       // slots taken
	urgent  list.List // of *conn: a device waits for it
	waiting list.List // of *conn
	pace    pace
	conns   map[*conn]struct{} // with a goroutine
	closed  bool
	fail    failover
	life    context.Context // ends with Close
	end     context.CancelFunc
	wg      sync.WaitGroup
}

// NewDialer returns a Dialer, or an error when o is not usable.
func NewDialer(o Options) (*Dialer, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	d := &Dialer{opt: o, seed: maphash.MakeSeed(), pace: newPace(o.DialRate), conns: make(map[*conn]struct{}), fail: newFailover(&o)}
	d.life, d.end = context.WithCancel(context.Background())
	return d, nil
}

// NewLink returns an idle Link. What its connections report is left in inbox, with
// owner in it for routing. The Link holds nothing that has to be freed while it is
// closed.
func (d *Dialer) NewLink(inbox Inbox, owner any) Link {
	return newDedicated(d, inbox, owner)
}

// Stats returns the counters.
func (d *Dialer) Stats() *Stats { return &d.stats }

// Close drops every connection without DISCONNECT and returns when the goroutines of
// the Dialer have ended. Links report nothing of it; owners close them before.
func (d *Dialer) Close() {
	d.mu.Lock()
	d.closed = true
	d.urgent.Init()
	d.waiting.Init()
	d.stats.Waiting.Store(0)
	if d.pace.timer != nil {
		d.pace.timer.Stop()
	}
	open := make([]*conn, 0, len(d.conns))
	for c := range d.conns {
		open = append(open, c)
	}
	d.mu.Unlock()
	d.end()
	for _, c := range open {
		c.abandon()
	}
	d.wg.Wait()
}

// start begins to connect c, or queues it.
func (d *Dialer) start(c *conn, urgent bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.hasty = urgent
	switch q := d.queue(c); {
	case d.closed:
		return ErrCancelled
	case q.Len() >= d.opt.MaxWaiting:
		d.stats.DialsBusy.Add(1)
		return ErrBusy
	default:
		c.queued = q.PushBack(c)
		d.stats.Waiting.Add(1)
		d.pump()
	}
	return nil
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
func (d *Dialer) queue(c *conn) *list.List {
	if c.hasty {
		return &d.urgent
	}
	return &d.waiting
}

// hurry moves c, if it is queued, to those a device waits for, where there is room.
func (d *Dialer) hurry(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.queued == nil || c.hasty || d.closed || d.urgent.Len() >= d.opt.MaxWaiting {
		return
	}
	d.waiting.Remove(c.queued)
	c.hasty = true
	c.queued = d.urgent.PushBack(c)
	d.pump() // there may be slots kept for it
}

// run takes a slot for c. d.mu is held.
func (d *Dialer) run(c *conn) {
	d.active++
	c.broker, c.began = d.fail.broker(), time.Now()
	d.conns[c] = struct{}{}
	d.stats.Dialling.Add(1)
	d.stats.DialsStarted.Add(1)
	d.wg.Go(c.run)
}

// unqueue takes c out of the queue and reports whether it was there.
func (d *Dialer) unqueue(c *conn) bool {
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

// settled gives back the slot of a connect that has been answered or has failed, to
// the connect that has waited longest, among those a device waits for if there are any.
func (d *Dialer) settled(ok bool) {
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
func (d *Dialer) ended(c *conn) {
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
func (d *Dialer) serve(c *conn, rd *reader) bool {
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

// sum returns a hash of the content of a PUBLISH.
func (d *Dialer) sum(p *mqtt.Packet) uint64 {
	return maphash.String(d.seed, p.Topic) ^ maphash.Bytes(d.seed, p.Payload)
}

func (d *Dialer) dial(ctx context.Context, b *broker) (net.Conn, error) {
	return d.opt.Dial(ctx, "tcp", b.address)
}
