package upstream

import (
	"time"
)

// traffic is what goes over the connection of a Link, and what outlives it: the MQTT session
// state of this side (MQTT 3.1.1 section 4.1). It knows nothing of how connections come and
// go.
type traffic struct {
	d       *Dialer
	events  *eventLog
	w       *output
	now     time.Duration // of the call in progress, where it has one
	renewed bool          // the broker has begun a session with this Link
	win     window
	in      inbound
	keep    keepAlive
}

func newTraffic(d *Dialer, events *eventLog, w *output) traffic {
	// A broker that remembers packet identifiers of an earlier life of the gateway
	// would take a new QoS 2 message with one of them for a repetition.
	first := uint16(d.opt.Rand() * MinOwnerID)
	return traffic{d: d, events: events, w: w, win: window{d: d, events: events, out: outbox{lastID: first}}}
}

// opened begins a connection. It returns the messages that are dropped, as nobody wants them
// to be written to another connection.
func (t *traffic) opened(present bool, keepAlive uint16) (dropped []outgoing) {
	t.win.care.opened(t.now)
	t.in.opened()
	every, limit := t.d.opt.pingTimes(keepAlive)
	t.keep.opened(t.now, every, limit)
	if !present {
		t.in.clear()
		t.renewed = true
	}
	return t.win.out.restart(present)
}

// closed answers what went down with the connection: the requests, then the barriers.
func (t *traffic) closed() {
	t.win.dropQoS0()
	for _, r := range t.win.requests {
		t.events.report(r.failed())
	}
	t.win.requests = nil
	for _, p := range t.keep.pings {
		if p.token != 0 {
			t.events.report(Event{Kind: EventPong, Token: p.token, Err: ErrLost})
		}
	}
	t.keep.pings = nil
}

// discard forgets the session: everything in flight, both ways.
func (t *traffic) discard() {
	for _, token := range t.win.out.clear() {
		t.events.report(Event{Kind: EventPublishFailed, Token: token, Err: ErrCancelled})
	}
	t.in.clear()
}

// forgo drops the messages nobody waits for, which are wills.
func (t *traffic) forgo() { t.d.stats.DroppedWills.Add(uint64(t.win.out.forgo())) }

// flush writes what is queued, and what may follow.
func (t *traffic) flush() {
	if t.w.open {
		t.pump()
		t.win.watch(t.now)
	}
	for t.w.flush() {
		t.keep.sentAt = t.now
		t.pump()
	}
}

// deadline is when the open connection next wants advance.
func (t *traffic) deadline() time.Duration {
	at, _ := t.keep.due()
	return min(at, t.win.answerDue(), t.win.provenDue())
}

// advance does what is due. An error ends the connection.
func (t *traffic) advance() error {
	if t.keepAliveAdvance(t.now) {
		return ErrTimeout
	}
	if t.win.answerAdvance(t.now, t.keep.paused) {
		return ErrUnanswered
	}
	if t.now >= t.win.provenDue() {
		t.win.care.proven = true
		t.pump()
	}
	return nil
}
