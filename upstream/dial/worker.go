package dial

import (
	"errors"
	"time"
)

// pump starts waiting connects while there are slots, at the pace, and ends the workers that
// are not needed any more. d.mu is held.
func (d *Dialer) pump() {
	for !d.closed && !d.pace.armed {
		q := &d.urgent
		if q.Len() == 0 {
			q = &d.waiting
		}
		if q.Len() == 0 {
			d.dismiss()
			return
		}
		if d.active >= d.slots(q == &d.urgent) {
			return
		}
		if wait := d.pace.take(); wait > 0 {
			d.pumpIn(max(wait, paceSlice))
			return
		}
		c := q.Remove(q.Front()).(*Conn)
		c.queued = nil
		d.stats.Waiting.Add(-1)
		d.run(c)
	}
}

// pumpIn calls pump again after wait. d.mu is held.
func (d *Dialer) pumpIn(wait time.Duration) {
	d.pace.armed = true
	if d.pace.timer != nil {
		d.pace.timer.Reset(wait)
		return
	}
	d.pace.timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.pace.armed = false
		d.pump()
	})
}

// run takes a slot for c. d.mu is held.
func (d *Dialer) run(c *Conn) {
	d.active++
	c.broker, c.began = d.fail.broker(), time.Now()
	c.turn.before = later(d.answered, c.turn.freed)
	d.conns[c] = struct{}{}
	d.stats.Dialling.Add(1)
	if c.turn.freed.IsZero() {
		d.stats.DialsStarted.Add(1)
	}
	if last := len(d.resting) - 1; last >= 0 {
		d.resting[last] <- c // it has room for one
		d.resting = d.resting[:last]
		return
	}
	d.wg.Go(func() { d.work(c) })
}

// work is the goroutine of a worker: it carries out c and then others, as long as connects
// wait. A dial needs a stack several times as large as a goroutine begins with, and to let
// that grow for each of thousands of connects takes a tenth of their time.
func (d *Dialer) work(c *Conn) {
	more := make(chan *Conn, 1)
	for ; c != nil; c = <-more {
		d.connect(c)
		d.rest(more)
	}
}

// rest has a worker wait for a connect in more, or closes that if none waits.
func (d *Dialer) rest(more chan *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resting = append(d.resting, more)
	d.dismiss()
}

// connectDone gives back the slot of a connect that has been answered, if only by a refusal, or
// has failed, to the connect that has waited longest, among those a device waits for if there
// are any.
func (d *Dialer) connectDone(ok, answered bool) {
	d.stats.Dialling.Add(-1)
	if ok {
		d.stats.DialsSucceeded.Add(1)
	} else {
		d.stats.DialsFailed.Add(1)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active--
	if answered {
		d.answered = time.Now()
	}
	d.pump()
}

// connect carries out c, whose goroutine is a worker until CONNACK. The reader is a new one, because
// a dial needs a stack several times as large, and a stack does not shrink by much.
func (d *Dialer) connect(c *Conn) {
	rd := new(reader)
	if c.req.Announce {
		c.push(&Input{Kind: Dialling})
	}
	err := c.open(rd)
	if soon := tooSoon(0); errors.As(err, &soon) && d.putOff(c, time.Duration(soon)) {
		return
	}
	ok := err == nil && rd.in.Packet.Code == 0
	if !ok {
		c.close()
	}
	d.connectDone(ok, err == nil)
	rd.in.Kind, rd.in.Err = Accepted, err
	if ok && c.beginLooped(rd) {
		c.opened(1)
		if c.push(&rd.in) {
			d.movable(c)
		} else {
			c.release()
		}
		return
	}
	if ok && c.push(&rd.in) {
		c.opened(1)
		if d.serve(c, rd) {
			return
		}
		c.opened(-1)
	}
	c.close()
	rd.in.Kind = Refused
	c.push(&rd.in)
	d.ended(c)
}

// putOff gives back the slot of a connect that comes too soon, and lets it ask for one again later.
// It reports false if the Dialer is closed.
func (d *Dialer) putOff(c *Conn, wait time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.active--
	d.stats.Dialling.Add(-1)
	d.stats.Waiting.Add(1)
	c.broker = nil // it has not been tried
	c.turn.timer = time.AfterFunc(wait, func() { d.dueAgain(c) })
	d.late[c] = struct{}{}
	delete(d.conns, c)
	d.pump()
	return true
}

// dueAgain puts a connect that was put off before all others that wait.
func (d *Dialer) dueAgain(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.turn.timer == nil || d.closed {
		return
	}
	c.turn.timer, c.turn.freed = nil, time.Now()
	delete(d.late, c)
	c.queued = d.queue(c).PushFront(c)
	d.pump()
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

// movable lets c, which its owner reads, be asked to move to another broker.
func (d *Dialer) movable(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.serving = true
}
