package soak

import (
	"slices"
	"time"

	"sngate/upstream/upstreamtest"
)

// Each CONNECT with a will, and each update of it, has a will message with a number of
// its own. What has to be published:
//
//   - When the gateway ends a session as lost, which it logs, the will is published
//     exactly once, by the broker or by the gateway, and without any loss none is. The
//     exception is a broker that is down or has just come back: no connection ends
//     there, and a broker that is killed publishes no wills. A will that was updated is
//     the gateway's to publish; it may come as late as with the device's next connection.
//   - The will is not older than the one the gateway has last accepted.
//   - A device that falls silent for longer than it promised to speak is lost.

// loss is a session that ended as lost and whose will has not been seen yet.
type loss struct {
	at   time.Duration
	sure bool // a will must follow
}

const (
	// settled is how long after a restart of the broker every link is up again: the
	// longest pause, jitter and the connect itself.
	settled = 3 * time.Minute
	// willWithin is how long a will may take that must come.
	willWithin = 5 * time.Second
)

// lost is told by the gateway's log.
func (l *ledger) lost(clientID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.w.byID[clientID]
	if d == nil {
		return
	}
	l.counts.losses++
	d.lost++
	if d.there {
		l.counts.surprising++
	}
	if d.will {
		d.losses = append(d.losses, loss{at: l.w.now(), sure: l.w.steady()})
	}
}

// willPublished is told by the broker. The ledger is locked.
func (l *ledger) willPublished(d *device, m upstreamtest.Message) {
	_, _, number, _ := l.decode(m.Payload)
	d.history.note(l.w.now(), "the will %d is published", number)
	l.counts.wills++
	switch {
	case m.Topic != d.willTopic():
		l.w.fail(d, "will %d is published to %q", number, m.Topic)
	case len(d.losses) == 0:
		l.w.fail(d, "will %d is published and the device was not lost, or its will was published before", number)
		return
	case !slices.Contains(d.wills, number):
		l.w.fail(d, "will %d is published; in force are %d", number, d.wills)
	}
	// It belongs to the loss that needs one, or else to the oldest.
	i := max(0, slices.IndexFunc(d.losses, func(o loss) bool { return o.sure }))
	d.losses = slices.Delete(d.losses, i, i+1)
}

// brokerWill is told by the broker what it publishes for a client whose connection has
// ended.
func (l *ledger) brokerWill(clientID string, m upstreamtest.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.w.byID[clientID]; d != nil {
		l.willPublished(d, m)
	}
}

// checkWills looks for wills that have not come.
func (l *ledger) checkWills() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.w.now()
	for _, d := range l.w.devices {
		i := slices.IndexFunc(d.losses, func(o loss) bool { return o.sure && now-o.at > willWithin })
		if i >= 0 {
			l.w.fail(d, "the device was lost at %s and its will is not published", clock(d.losses[i].at))
		}
	}
}

// newWill returns the number of a new will.
func (l *ledger) newWill(d *device) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.lastWill++
	return d.lastWill
}

// bootWill chooses the will of a client, which is the same after every start.
func (l *ledger) bootWill(d *device) {
	if d.bootWill == 0 {
		d.bootWill = l.newWill(d)
	}
}

// offerWill says that the device is about to tell the gateway a will.
func (l *ledger) offerWill(d *device, number uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.will && !slices.Contains(d.wills, number) {
		d.wills = append(d.wills, number)
	}
}

// willIs says that the gateway has accepted a will: no other is in force.
func (l *ledger) willIs(d *device, number uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.will {
		d.wills = append(d.wills[:0], number)
	}
}

// connected says that the gateway has accepted a CONNECT.
func (l *ledger) connected(d *device) {
	l.willIs(d, d.bootWill)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.connects++
	d.there = true
}

// checkLosses checks that devices are given up as rarely as all repetitions of a request
// or its answer get lost: one in ten thousand exchanges, of which a message takes up to
// three, and a few more where the device had used some of the time allowed.
func (l *ledger) checkLosses() {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.counts
	if most := 10 + (c.acked+c.delivered+c.connects+c.wakes)/2000; c.surprising > most {
		l.w.fail(nil, "%d devices were given up that had not gone away; %d would be too many", c.surprising, most)
	}
}

func (l *ledger) timesLost(d *device) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return d.lost
}

// killed says that the broker is killed: wills that were due may not come.
func (l *ledger) killed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kills++
	l.counts.outages++
	for _, d := range l.w.devices {
		for i := range d.losses {
			d.losses[i].sure = false
		}
	}
}
