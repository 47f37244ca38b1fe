package upstream

import (
	"slices"

	"sngate/upstream/mqtt"
)

// This file writes what may be written.

// pump writes what has not been written to the open connection, in order, as far as
// the window and the buffer have room. The rest follows when they have.
func (t *traffic) pump() {
	if !t.w.open {
		return
	}
	if t.w.holding { // the next connection comes back here
		t.win.pace.at = Never
		return
	}
	t.pumpRequests(false)
	for !t.win.pace.holds(t.d.rate, t.now, t.win.waits()) {
		i := t.win.next(t.now)
		if i < 0 {
			break
		}
		if n := len(t.win.out.list[i].raw); t.w.congested(n) {
			t.w.conn.WantWritable()
			if t.w.congested(n) {
				return // the flusher saw starved, or the owner's Flush comes back here
			}
		}
		t.write(i)
	}
	t.pumpRequests(true)
	if c := &t.win.care; c.ask {
		c.ask = false
		t.sendProbe(false)
	}
}

// write writes a message, or goes on with its exchange.
func (t *traffic) write(i int) {
	m := &t.win.out.list[i]
	if m.qos == 0 && t.win.care.window == 0 { // it has waited for its time only
		t.writeLoose(m)
		t.win.out.remove(i)
		return
	}
	m.written = true
	t.win.out.mixed = t.win.out.mixed || i != t.win.out.sent
	t.win.out.sent++
	switch m.phase {
	case awaitingRelease:
		return
	case releasing:
		t.w.putAck(mqtt.TypePubrel, m.id)
		return
	}
	if m.again {
		m.raw.SetDup()
	}
	m.again = m.qos > 0
	t.win.pace.sent(t.d.rate, t.now)
	b := t.w.buffer(mqtt.TypePublish)
	b.B = append(b.B, m.raw...)
	if m.qos == 0 {
		t.passedOn(m)
		t.sendProbe(true)
	}
}

// writeLoose writes a QoS 0 message whose arrival nobody asks for.
func (t *traffic) writeLoose(m *outgoing) {
	t.win.pace.sent(t.d.rate, t.now)
	b := t.w.buffer(mqtt.TypePublish)
	b.B = append(b.B, m.raw...)
	t.win.care.loose++
	t.passedOn(m)
}

// passedOn reports the end of a QoS 0 message that has waited, where the owner wants to know.
func (t *traffic) passedOn(m *outgoing) {
	if m.token != 0 {
		t.events.report(Event{Kind: EventPublished, Token: m.token})
		m.token = 0
	}
}

// pumpRequests writes the requests that may be written now: those that connections have
// ended of only alone, and last. None overtakes an earlier one for its filter.
func (t *traffic) pumpRequests(doubted bool) {
	var blocked []string
	for i := range t.win.requests {
		r := &t.win.requests[i]
		if r.sent {
			continue
		}
		if t.win.care.doubts(r) != doubted || slices.Contains(blocked, r.filter) {
			blocked = append(blocked, r.filter)
			continue
		}
		busy, alone := t.win.busy()
		switch {
		case alone, busy > 0 && (doubted || t.win.care.careful()), doubted && t.win.requests.sent():
			return
		case doubted && !t.win.connectionWorks(t.now):
			return
		}
		if doubted {
			t.win.care.passed = 0
		}
		b := t.w.buffer(r.raw[0] >> 4)
		b.B = append(b.B, r.raw...)
		r.sent, r.alone = true, doubted
	}
}
