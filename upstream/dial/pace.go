package dial

import (
	"time"

	"sngate/internal/rate"
)

// pace spreads connects over time: so many per second, with what a tenth of a second
// brings at once. It belongs to the Dialer's lock. The zero value does not wait.
type pace struct {
	limit  rate.Limit
	bucket rate.Bucket
	began  time.Time   // from where its times are counted
	timer  *time.Timer // runs while connects wait for their time only
}

const paceBurst = 100 * time.Millisecond

func newPace(perSecond int) pace {
	if perSecond <= 0 {
		return pace{}
	}
	interval := time.Second / time.Duration(perSecond)
	return pace{limit: rate.Every(interval, paceBurst+interval), began: time.Now()}
}

// take lets one connect start, or returns how long it has to wait.
func (p *pace) take() (wait time.Duration) {
	return p.bucket.TakeOrWait(p.limit, time.Since(p.began), 1)
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
			d.pumpIn(wait)
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
