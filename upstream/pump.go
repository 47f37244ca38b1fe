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
	t.pumpRequests(false)
	for i := t.win.next(t.now); i >= 0; i = t.win.next(t.now) {
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
	b := t.w.buffer(mqtt.TypePublish)
	b.B = append(b.B, m.raw...)
	if m.qos == 0 {
		t.sendProbe(true)
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
