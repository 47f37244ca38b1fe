package upstream

import (
	"slices"
	"time"

	"sngate/upstream/mqtt"
)

// This file is what traffic does when a connection begins and ends, when a packet comes, when
// the owner flushes, and when time passes.

// opened begins a connection. It returns the messages that are dropped, as nobody wants them
// to be written to another connection.
func (t *traffic) opened(present bool, keepAlive uint16) (dropped []outgoing) {
	t.win.care.opened(t.now)
	t.in.opened()
	t.win.requests.restart()
	barriers := t.keepAlive.pings
	every, limit := t.d.opt.pingTimes(keepAlive)
	t.keepAlive.opened(t.now, every, limit, time.Duration(t.d.opt.Rand()*float64(every/2)))
	if !present {
		t.in.clear()
		t.renewed = renewed
	}
	dropped = t.win.out.restart(present)
	t.w.release()
	for _, p := range barriers {
		t.sendPing(p)
	}
	return dropped
}

// remap has what waits for the broker go by another map.
func (t *traffic) remap(m *topicMap) {
	old := t.win.topics
	if *m == *old {
		return
	}
	t.win.topics = &t.d.unmapped
	if *m != t.d.unmapped {
		own := *m
		t.win.topics = &own
	}
	t.d.stats.DroppedDown.Add(uint64(t.w.forget()))
	for i := range t.win.out.list {
		o := &t.win.out.list[i]
		topic, payload := o.raw.Split()
		topic = old.published(topic)
		t.win.out.bytes -= len(o.raw)
		o.raw = mqtt.AppendPublish(nil, m.Publish, topic, payload, o.qos, o.raw.Retain(), o.id)
		t.win.out.bytes += len(o.raw)
	}
	for i := range t.win.requests {
		t.encode(&t.win.requests[i])
	}
}

// hold is the end of a connection that another one follows at once: what is not answered waits
// for that. QoS 0 messages that were written have gone.
func (t *traffic) hold() {
	t.w.holding = true
	t.win.out.forgetQoS0()
	t.keepAlive.pings = slices.DeleteFunc(t.keepAlive.pings, func(p ping) bool { return p.token == 0 })
}

// closed answers what went down with the connection: the requests, then the barriers.
func (t *traffic) closed() {
	t.win.dropQoS0()
	t.d.stats.DroppedDown.Add(uint64(t.w.release()))
	for _, r := range t.win.requests {
		t.events.report(r.failed())
	}
	t.win.requests = nil
	for _, p := range t.keepAlive.pings {
		if p.token != 0 {
			t.events.report(Event{Kind: EventPong, Token: p.token, Err: ErrLost})
		}
	}
	t.keepAlive.pings = nil
}

// packet takes one packet from the broker.
func (t *traffic) packet(p *mqtt.Packet) {
	if p.Fault != mqtt.FaultNone {
		t.badPacket(p)
		return
	}
	switch p.Kind {
	case mqtt.TypePublish:
		t.message(p)
	case mqtt.TypePuback, mqtt.TypePubrec, mqtt.TypePubcomp:
		t.acked(p.Kind, p.ID)
	case mqtt.TypePubrel:
		t.released(p.ID)
	case mqtt.TypeSuback:
		t.answered(p.ID, EventSubscribed, p.Code)
	case mqtt.TypeUnsuback:
		t.answered(p.ID, EventUnsubscribed, 0)
	case mqtt.TypePingresp:
		t.pong()
	}
}

// ping sends PINGREQ as a barrier: see Link.Ping.
func (t *traffic) ping(token Token) {
	switch {
	case !t.w.open && !t.w.holding:
		t.events.report(Event{Kind: EventPong, Token: token, Err: ErrLost})
	case len(t.keepAlive.pings) >= maxRequests:
		t.events.report(Event{Kind: EventPong, Token: token, Err: ErrCongested})
	case !t.w.open:
		t.keepAlive.pings = append(t.keepAlive.pings, ping{token: token, n: 1})
	default:
		t.sendPing(ping{token: token, n: 1})
	}
}

// pong takes one PINGRESP.
func (t *traffic) pong() {
	p, ok := t.keepAlive.answered()
	if !ok {
		t.d.stats.StaleAcks.Add(1)
		return
	}
	if p.token != 0 {
		t.events.report(Event{Kind: EventPong, Token: p.token})
	}
	t.win.care.loose = 0
	if p.probe {
		t.proved(p.message)
	}
}

// proved takes the answer to a probe: message, if it was sent behind a QoS 0 message.
func (t *traffic) proved(message bool) {
	t.win.care.proven = true
	if message {
		t.win.passedQoS0()
	}
	t.pump()
}

// flush writes what is queued, and what may follow.
func (t *traffic) flush() {
	if t.w.open {
		t.pump()
		t.win.watch(t.now)
	}
	for t.w.flush() {
		t.keepAlive.sentAt = t.now
		t.pump()
	}
}

// deadline is when the open connection next wants advance.
func (t *traffic) deadline() time.Duration {
	at, _ := t.keepAlive.due()
	return min(at, t.win.answerDue(), t.win.provenDue(), t.win.pace.at)
}

// advance does what is due. An error ends the connection.
func (t *traffic) advance() error {
	if t.keepAliveAdvance(t.now) {
		return ErrTimeout
	}
	if t.win.answerAdvance(t.now, t.keepAlive.paused) {
		return ErrUnanswered
	}
	if t.now >= t.win.provenDue() {
		t.win.care.proven = true
		t.pump()
	}
	if t.now >= t.win.pace.at {
		t.pump()
	}
	return nil
}

// keepAliveAdvance sends PINGREQ when it is due, and reports whether the broker has been
// silent for too long.
func (t *traffic) keepAliveAdvance(now time.Duration) (silent bool) {
	k := &t.keepAlive
	if k.resumed {
		k.resumed = false
		k.pingAt = now
	}
	at, silent := k.due()
	switch {
	case now < at:
		return false
	case silent:
		t.d.stats.PingTimeouts.Add(1)
	default:
		t.sendPing(ping{n: 1})
	}
	return silent
}
