package upstream

import (
	"slices"
	"time"

	"sngate/upstream/mqtt"
)

// outgoing is a message not yet acknowledged by the broker. Those of QoS 0 are here only
// while the Link is cautious, and are answered by PINGRESP.
type outgoing struct {
	token    Token
	id       uint16
	qos      uint8
	written  bool         // to the connection that is open
	received bool         // QoS 2: PUBREC has come
	released bool         // with received: PUBREL is due or sent
	given    bool         // given up by the owner, see Cancel
	alone    bool         // nothing else is written before it is answered
	silent   bool         // it is known that it is not answered: others do not wait for it
	rejected bool         // QoS 0 only: it has been counted as given up
	again    bool         // it has been written to a connection: DUP is set
	raw      mqtt.Publish // kept until the end
}

// owned reports whether the owner of the Link has chosen the packet identifier.
func (m *outgoing) owned() bool { return m.id >= MinOwnerID }

// awaitsBroker reports whether the broker has to answer m next.
func (m *outgoing) awaitsBroker() bool { return m.written && (!m.received || m.released) }

// hopeless reports whether m is not to be written to another connection. An exchange of
// QoS 2 is finished though its owner has given it up: the broker may be in the middle of it.
func (m *outgoing) hopeless() bool { return m.given && m.qos == 1 }

// outbox holds the outgoing messages in the order they were published.
//
// A QoS 2 message is kept whole until PUBCOMP. When the broker comes back without the
// session, it is published again even if its PUBREC had come: the broker may have
// forgotten it before passing it on. The device has not been told anything, so
// nothing acknowledged is lost; a duplicate is possible only where the broker passed
// the message on and forgot its session before PUBCOMP.
type outbox struct {
	list   []outgoing
	sent   int  // how many are written to the connection that is open
	mixed  bool // they are not the first of the list
	qos2   int  // messages of QoS 2 in the list
	bytes  int
	lastID uint16
}

func (o *outbox) len() int { return len(o.list) }

// restart prepares for a new connection. Without a session at the broker, every
// exchange begins anew. The messages that are hopeless are dropped and returned.
func (o *outbox) restart(present bool) (dropped []outgoing) {
	o.sent, o.mixed = 0, false
	for i := 0; i < len(o.list); i++ {
		m := &o.list[i]
		m.written, m.alone, m.silent = false, false, false
		m.received = m.received && present
		m.released = m.released && present
		if m.hopeless() {
			dropped = append(dropped, *m)
			o.remove(i)
			i--
		}
	}
	return dropped
}

// forgo drops the messages nobody waits for, which are wills, and returns how many
// there were.
func (o *outbox) forgo() (dropped int) {
	for i := 0; i < len(o.list); i++ {
		if o.list[i].token == 0 && o.list[i].qos > 0 {
			o.remove(i)
			i--
			dropped++
		}
	}
	return dropped
}

// find returns the index of the message with the packet identifier id among those
// sent, or -1.
func (o *outbox) find(id uint16) int {
	return slices.IndexFunc(o.list, func(m outgoing) bool { return m.id == id && m.written && m.qos > 0 })
}

func (o *outbox) uses(id uint16) bool {
	return slices.ContainsFunc(o.list, func(m outgoing) bool { return m.id == id && m.qos > 0 })
}

func (o *outbox) remove(i int) {
	o.bytes -= len(o.list[i].raw)
	if o.list[i].written {
		o.sent--
	}
	o.qos2 -= int(o.list[i].qos >> 1)
	o.list = slices.Delete(o.list, i, i+1)
	if len(o.list) == 0 && cap(o.list) > 4 {
		o.list = nil
	}
}

// clear forgets everything and returns the tokens that wanted a result.
func (o *outbox) clear() []Token {
	var tokens []Token
	for _, m := range o.list {
		if m.token != 0 {
			tokens = append(tokens, m.token)
		}
	}
	*o = outbox{lastID: o.lastID}
	return tokens
}

// Publish implements Link.
func (l *dedicated) Publish(now time.Duration, m Publish) {
	l.reclaim()
	l.spoke(now)
	m.QoS = min(m.QoS, 2)
	if m.QoS < 2 || m.Token == 0 {
		m.ID = 0
	}
	size := mqtt.PublishLen(m.Topic, m.Payload, m.QoS) + 5
	if err := l.checkPublish(&m, size); err != nil {
		l.publishFailed(&m, err)
		return
	}
	if m.QoS == 0 {
		l.publishQoS0(&m, size)
		return
	}
	full := l.out.len() >= l.d.opt.MaxInFlight || l.out.len() > 0 && l.out.bytes+size > l.d.opt.WriteBuffer || l.congested(size)
	if full && m.Token != 0 { // a will finds room: there is one for each Close
		l.d.stats.RefusedCongested.Add(1)
		l.publishFailed(&m, ErrCongested)
		return
	}
	out := outgoing{token: m.Token, id: m.ID, qos: m.QoS}
	if m.ID == 0 {
		out.id = l.newID()
	} else if m.Again || m.Released {
		out.again = true
		// A session that has begun since does not know of it.
		out.received = m.Released && !l.renewed
		out.released = out.received
	}
	out.raw = mqtt.AppendPublish(make([]byte, 0, size), m.Topic, m.Payload, m.QoS, m.Retain, out.id)
	l.out.list = append(l.out.list, out)
	l.out.bytes += len(out.raw)
	l.out.qos2 += int(m.QoS >> 1)
	l.pump()
}

// checkPublish returns why m cannot be sent; size is what it takes at most.
func (l *dedicated) checkPublish(m *Publish, size int) error {
	switch {
	case len(m.Topic) > mqtt.MaxString || size > mqtt.MaxRemaining:
		return ErrTooLarge
	case !mqtt.ValidTopic(m.Topic), m.ID != 0 && (m.ID < MinOwnerID || l.out.uses(m.ID)):
		return ErrInvalid
	}
	return nil
}

func (l *dedicated) publishFailed(m *Publish, err error) {
	if m.QoS == 0 {
		l.d.stats.DroppedInvalid.Add(1)
	} else if m.Token != 0 {
		l.report(Event{Kind: EventPublishFailed, Token: m.Token, Err: err})
	}
}

func (l *dedicated) publishQoS0(m *Publish, size int) {
	switch {
	case l.state != stateUp:
		l.d.stats.DroppedDown.Add(1)
	case l.congested(size), l.care.window > 0 && l.out.len() >= l.d.opt.MaxInFlight:
		l.d.stats.DroppedCongested.Add(1)
	case !l.care.none() && l.care.isDenied(l.d.topicKey(mqtt.TypePublish, 0, m.Retain, m.Topic), l.now):
		l.d.stats.RejectedMessages.Add(1)
	case l.care.window > 0:
		raw := mqtt.AppendPublish(make([]byte, 0, size), m.Topic, m.Payload, 0, m.Retain, 0)
		l.out.list = append(l.out.list, outgoing{raw: raw})
		l.out.bytes += len(raw)
		l.pump()
	default:
		b := l.buffer()
		b.B = mqtt.AppendPublish(b.B, m.Topic, m.Payload, 0, m.Retain, 0)
		l.d.stats.PacketsOut[mqtt.TypePublish].Add(1)
		l.care.loose++
	}
}

// pump writes what has not been written to the open connection, in order, as far as
// the window and the buffer have room. The rest follows when they have.
func (l *dedicated) pump() {
	if l.state != stateUp {
		return
	}
	l.pumpRequests(false)
	for i := l.next(); i >= 0; i = l.next() {
		if n := len(l.out.list[i].raw); l.congested(n) {
			l.conn.WantWritable()
			if l.congested(n) {
				return // the flusher saw starved, or the owner's Flush comes back here
			}
		}
		l.write(i)
	}
	l.pumpRequests(true)
}

// write writes a message, or goes on with its exchange.
func (l *dedicated) write(i int) {
	m := &l.out.list[i]
	m.written = true
	l.out.mixed = l.out.mixed || i != l.out.sent
	l.out.sent++
	if m.received {
		if m.released {
			l.putAck(mqtt.TypePubrel, m.id)
		}
		return
	}
	if m.again {
		m.raw.SetDup()
	}
	m.again = m.qos > 0
	b := l.buffer()
	b.B = append(b.B, m.raw...)
	l.d.stats.PacketsOut[mqtt.TypePublish].Add(1)
	if m.qos == 0 {
		l.sendProbe(true)
	}
}

// Release implements Link.
func (l *dedicated) Release(now time.Duration, t Token) {
	l.reclaim()
	i := slices.IndexFunc(l.out.list, func(m outgoing) bool { return m.token == t })
	if t == 0 || i < 0 || !l.out.list[i].received || l.out.list[i].released {
		return
	}
	m := &l.out.list[i]
	m.released = true
	if m.written { // otherwise pump will come to it
		l.putAck(mqtt.TypePubrel, m.id)
	}
	l.pump() // what waited for it to be passed on
}

// Cancel implements Link.
func (l *dedicated) Cancel(t Token) {
	l.reclaim()
	i := slices.IndexFunc(l.out.list, func(m outgoing) bool { return m.token == t })
	switch {
	case t == 0 || i < 0:
	case !l.out.list[i].again:
		l.out.remove(i)
		l.report(Event{Kind: EventPublishFailed, Token: t, Err: ErrCancelled})
	default:
		l.out.list[i].given = true
	}
}

// Retract implements Link.
func (l *dedicated) Retract(t Token) (Publish, bool) {
	l.reclaim()
	i := slices.IndexFunc(l.out.list, func(m outgoing) bool { return m.token == t })
	if t == 0 || i < 0 {
		return Publish{}, false
	}
	m := l.out.list[i]
	l.out.remove(i)
	p := Publish{Token: t, QoS: m.qos, Retain: m.raw.Retain(), Again: m.again}
	p.Topic, p.Payload = m.raw.Split()
	return p, true
}

// Keep implements Link.
func (l *dedicated) Keep(t Token) {
	l.reclaim()
	if i := slices.IndexFunc(l.out.list, func(m outgoing) bool { return m.token == t }); t != 0 && i >= 0 {
		l.out.list[i].given = false
	}
}

// acked takes PUBACK, PUBREC and PUBCOMP. One that fits no message, or not the
// message's state, is counted and changes nothing.
func (l *dedicated) acked(now time.Duration, kind uint8, id uint16) {
	i := l.out.find(id)
	if i < 0 {
		l.d.stats.StaleAcks.Add(1)
		if kind == mqtt.TypePubrec {
			l.putAck(mqtt.TypePubrel, id) // the broker waits for it
		}
		return
	}
	m := &l.out.list[i]
	switch {
	case kind == mqtt.TypePubrec && m.qos == 2:
		l.pubrec(m)
	case kind == mqtt.TypePuback && m.qos == 2 && !m.received:
		// Some brokers treat QoS 2 as QoS 1. It has the message, and knows of no more.
		l.d.notice(l.conn.Broker(), HabitNoQoS2)
		l.published(now, i)
	case kind == mqtt.TypePubrec: // of QoS 1: it has the message, and waits for PUBREL
		l.putAck(mqtt.TypePubrel, id)
		l.published(now, i)
	case kind == mqtt.TypePuback && m.qos == 1, kind == mqtt.TypePubcomp && m.released:
		l.published(now, i)
	default:
		l.d.stats.StaleAcks.Add(1)
	}
}

// published ends the exchange of a message that the broker has.
func (l *dedicated) published(now time.Duration, i int) {
	m := &l.out.list[i]
	t := m.token
	l.passedOne(m)
	l.out.remove(i)
	if t != 0 {
		l.report(Event{Kind: EventPublished, Token: t})
	}
	l.pump()
	l.drained(now)
}

// pubrec takes PUBREC, also one that is repeated. PUBREL follows at once, unless the
// owner has to be told before.
func (l *dedicated) pubrec(m *outgoing) {
	first := !m.received
	m.received = true
	l.care.progress, l.care.loose = true, 0
	m.released = m.released || !m.owned()
	switch {
	case m.released:
		l.putAck(mqtt.TypePubrel, m.id)
		l.pump() // what waited for it to be passed on
	case first:
		l.report(Event{Kind: EventReceived, Token: m.token})
	}
}

// drained ends a CloseDrain that has nothing left to wait for.
func (l *dedicated) drained(now time.Duration) {
	if l.draining && l.out.len() == 0 {
		l.draining = false
		l.leave(now)
	}
}

// newID returns a packet identifier of the Link's own range that is not in use (MQTT
// 3.1.1 section 2.3.1). Options.MaxInFlight leaves enough of them.
func (l *dedicated) newID() uint16 {
	for {
		l.out.lastID = l.out.lastID%(MinOwnerID-1) + 1
		if id := l.out.lastID; !l.out.uses(id) && l.findRequest(id) < 0 {
			return id
		}
	}
}
