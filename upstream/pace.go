package upstream

import "time"

// pace spreads connects over time: so many per second, with what a tenth of a second
// brings at once. It belongs to the Dialer's lock. The zero value does not wait.
type pace struct {
	interval time.Duration // between two connects; 0: none
	next     time.Time     // when the next one would be due at a steady rate
	timer    *time.Timer   // runs while connects wait for their time only
}

const paceBurst = 100 * time.Millisecond

func newPace(perSecond int) pace {
	if perSecond <= 0 {
		return pace{}
	}
	return pace{interval: time.Second / time.Duration(perSecond)}
}

// take lets one connect start, or returns how long it has to wait.
func (p *pace) take() (wait time.Duration) {
	if p.interval == 0 {
		return 0
	}
	now := time.Now()
	if earliest := now.Add(-paceBurst); p.next.Before(earliest) {
		p.next = earliest
	}
	if wait = p.next.Sub(now); wait <= 0 {
		p.next = p.next.Add(p.interval)
	}
	return max(wait, 0)
}

// pump starts waiting connects while there are slots, at the pace. d.mu is held.
func (d *Dialer) pump() {
	for !d.closed {
		q := &d.urgent
		if q.Len() == 0 {
			q = &d.waiting
		}
		if q.Len() == 0 || d.active >= d.slots(q == &d.urgent) {
			return
		}
		if wait := d.pace.take(); wait > 0 {
			d.resumeIn(wait)
			return
		}
		c := q.Remove(q.Front()).(*conn)
		c.queued = nil
		d.stats.Waiting.Add(-1)
		d.run(c)
	}
}

// resumeIn calls pump again after wait. d.mu is held.
func (d *Dialer) resumeIn(wait time.Duration) {
	if d.pace.timer != nil {
		d.pace.timer.Reset(wait)
		return
	}
	d.pace.timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.pump()
	})
}
