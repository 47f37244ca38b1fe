package upstream

import (
	"time"

	"sngate/upstream/mqtt"
)

// traffic is what goes over the connection of a Link, and what outlives it: the MQTT session
// state of this side (MQTT 3.1.1 section 4.1). It knows nothing of how connections come and
// go.
type traffic struct {
	d         *shared
	events    *eventLog
	w         *output
	now       time.Duration // of the call in progress, where it has one
	renewed   renewal
	win       window
	in        inbound
	keepAlive keepAlive
}

func newTraffic(d *shared, events *eventLog, w *output) traffic {
	// A broker that remembers packet identifiers of an earlier life of the gateway
	// would take a new QoS 2 message with one of them for a repetition.
	first := uint16(d.opt.Rand() * (lastOwnID + 1))
	return traffic{d: d, events: events, w: w, win: window{d: d, events: events, out: outbox{lastID: first}, pace: pace{at: Never}, topics: &d.unmapped}}
}

// discard forgets the session: everything in flight, both ways.
func (t *traffic) discard() {
	t.win.dropQoS0()
	for _, token := range t.win.out.clear() {
		t.events.report(Event{Kind: EventPublishFailed, Token: token, Err: ErrCancelled})
	}
	t.in.clear()
}

// forgo drops the messages nobody waits for, which are wills.
func (t *traffic) forgo() { t.d.stats.DroppedWills.Add(uint64(t.win.out.forgo())) }

// sendProbe sends PINGREQ to learn that what was written before it has arrived: message, if
// that was a QoS 0 message.
func (t *traffic) sendProbe(message bool) { t.sendPing(ping{n: 1, probe: true, message: message}) }

func (t *traffic) sendPing(p ping) {
	t.keepAlive.sent(t.now, p)
	t.w.put(mqtt.TypePingreq)
}

// newID returns a packet identifier of the Link's own range that is not in use (MQTT
// 3.1.1 section 2.3.1). Options.MaxInFlight leaves enough of them.
func (t *traffic) newID() uint16 {
	for {
		t.win.out.lastID = t.win.out.lastID%lastOwnID + 1
		if id := t.win.out.lastID; !t.win.out.uses(id) && t.win.requests.find(id) < 0 {
			return id
		}
	}
}

// renewal is whether the broker has begun a session of which the owner does not know yet: what
// it reports meanwhile as released is of the one before.
type renewal uint8

const (
	noRenewal   renewal = iota
	renewed             // the event that tells it has not been taken
	renewalTold         // it has been taken, and may not have been handled
)

// eventsTaken notes that the owner takes the events. It has handled those of the last time then.
func (r *renewal) eventsTaken() {
	switch *r {
	case renewed:
		*r = renewalTold
	case renewalTold:
		*r = noRenewal
	}
}
