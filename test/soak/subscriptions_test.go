package soak

import (
	"time"

	"sngate/upstream/upstreamtest"
)

// publish publishes the next message of a stream at the broker and checks that the
// broker has queued it for every device that is subscribed.
func (l *ledger) publish(s *stream, qos uint8, padding int) {
	l.mu.Lock()
	m := upstreamtest.Message{Topic: s.topic, QoS: qos}
	if qos == 0 {
		l.counts.noise++
		m.Payload = encode(tagNoise, s.id, 0, 0, padding)
	} else {
		s.next++
		m.Payload = encode(tagMessage, s.id, s.next, qos, padding)
	}
	seq := s.next
	due := make([]*device, 0, len(s.listeners))
	for _, d := range s.listeners {
		if d.subscribed {
			due = append(due, d)
		}
	}
	l.mu.Unlock()

	l.w.broker.Publish(m)
	if qos == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range due {
		switch now := l.w.now(); {
		case d.flow(s).queued == seq:
			d.missing = 0
		case !d.subscribed: // no more
		case !d.clean:
			l.w.fail(d, "message %d of %s is not queued for a subscribed device with a persistent session", seq, s.topic)
		case d.missing == 0:
			d.missing = now
		case now-d.missing > d.noticesWithin():
			l.w.fail(d, "message %d of %s is not queued; the device is subscribed, has missed messages since %s and has not noticed", seq, s.topic, clock(d.missing))
		}
	}
}

// noticesWithin is how long a device may take to notice that the gateway has lost its
// session: until it next speaks, with all repetitions; and how long the gateway may
// take to connect again after an outage.
func (d *device) noticesWithin() time.Duration {
	silent := d.keepAlive
	if silent == 0 {
		silent = idleProbe
	}
	return max(silent, d.sleepFor)*3/2 + 5*time.Minute
}

// hasSubscribed says that the device has had a SUBACK for all of its topics.
func (l *ledger) hasSubscribed(d *device) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.subscribed, d.missing = true, 0
}

// away says that the device is not connected, which ends the subscriptions of a clean
// session.
func (l *ledger) away(d *device) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.there = false
	if d.clean {
		d.subscribed, d.missing = false, 0
	}
}

// flow returns the device's book of a stream. The ledger is locked.
func (d *device) flow(s *stream) *flow {
	f := d.flows[s.id]
	if f == nil {
		f = new(flow)
		d.flows[s.id] = f
	}
	return f
}

// outstanding is how many messages have yet to arrive at the device.
func (l *ledger) outstanding(d *device) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range d.flows {
		n += len(f.want)
	}
	return n
}

// closeBooks is for the end of a muster: what is in doubt now shall not arrive any more.
func (l *ledger) closeBooks() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		s.open = nil
	}
	for _, d := range l.w.devices {
		d.losses = nil // wills that need not come
		for _, f := range d.flows {
			f.want, f.repeat = nil, nil
		}
	}
}

// sleeps says that the device is about to promise to speak every t.
func (l *ledger) sleeps(d *device, t time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.sleepFor = t
}

// switchClean gives the device the other CleanSession. Its next CONNECT begins a session.
func (l *ledger) switchClean(d *device) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.clean = !d.clean
	d.subscribed, d.missing = false, 0
}

func (l *ledger) count(f func(*counts)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.counts)
}
