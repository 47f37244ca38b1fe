package upstream

import (
	"errors"

	"sngate/upstream/mqtt"
)

// This file is the way of messages to the broker.

// publish sends a message: see Link.Publish.
func (t *traffic) publish(m Publish) {
	m.QoS = min(m.QoS, 2)
	if m.QoS < 2 || m.Token == 0 {
		m.Exchange = 0
	}
	size := len(t.win.topics.Publish) + mqtt.PublishLen(m.Topic, m.Payload, m.QoS) + 5
	if err := t.checkPublish(&m, size); err != nil {
		t.publishFailed(&m, err)
		return
	}
	if m.QoS == 0 {
		t.publishQoS0(&m, size)
		return
	}
	full := t.full(size) || t.w.congested(size)
	if full && m.Token != 0 { // a will finds room: there is one for each Close
		t.d.stats.RefusedCongested.Add(1)
		t.publishFailed(&m, ErrCongested)
		return
	}
	out := outgoing{token: m.Token, id: exchangeID(m.Exchange), qos: m.QoS}
	if m.Exchange == 0 {
		out.id = t.newID()
	} else if m.Again || m.Released {
		out.again = true
		if m.Released && t.renewed == noRenewal { // a session that has begun since does not know of it
			out.phase = releasing
		}
	}
	out.raw = mqtt.AppendPublish(make([]byte, 0, size), t.win.topics.Publish, m.Topic, m.Payload, m.QoS, m.Retain, out.id)
	t.win.out.add(out)
	t.pump()
}

// full reports whether there is no room for a message of size among those that wait for the
// broker.
func (t *traffic) full(size int) bool {
	n := t.win.out.len()
	return n >= t.d.opt.MaxInFlight || n > 0 && t.win.out.bytes+size > t.d.opt.WriteBuffer
}

// checkPublish returns why m cannot be sent; size is what it takes at most.
func (t *traffic) checkPublish(m *Publish, size int) error {
	switch {
	case len(t.win.topics.Publish)+len(m.Topic) > mqtt.MaxString || size > mqtt.MaxRemaining:
		return ErrTooLarge
	case !mqtt.ValidTopic(m.Topic), m.Exchange > MaxExchanges, m.Exchange != 0 && t.win.out.uses(exchangeID(m.Exchange)):
		return ErrInvalid
	}
	return nil
}

func (t *traffic) publishFailed(m *Publish, err error) {
	if m.QoS == 0 {
		t.d.stats.DroppedInvalid.Add(1)
	}
	if m.Token != 0 {
		t.events.report(Event{Kind: EventPublishFailed, Token: m.Token, Err: err})
	}
}

// publishQoS0 writes a message of QoS 0, has it wait for its time, or drops it. Its end is reported
// when it is written: no answer of the broker is awaited.
func (t *traffic) publishQoS0(m *Publish, size int) {
	if t.linesUp() && (t.w.open || t.w.holding) && !t.full(size) && !t.denies(m) {
		out := outgoing{token: m.Token, raw: mqtt.AppendPublish(make([]byte, 0, size), t.win.topics.Publish, m.Topic, m.Payload, 0, m.Retain, 0)}
		t.win.out.add(out)
		t.pump()
		return
	}
	end := Event{Kind: EventPublished, Token: m.Token}
	if err := t.writeQoS0(m, size); err != nil {
		end = Event{Kind: EventPublishFailed, Token: m.Token, Err: err}
		if errors.Is(err, ErrRejected) {
			end.Topic, end.Retain = m.Topic, m.Retain
		}
	}
	if m.Token != 0 {
		t.events.report(end)
	}
}

// writeQoS0 writes a message of QoS 0, or says why not. One with a Token is its owner's then.
func (t *traffic) writeQoS0(m *Publish, size int) error {
	careful, linesUp := t.win.care.window > 0, t.linesUp()
	congested := t.w.congested(size) || careful && t.win.out.len() >= t.d.opt.MaxInFlight
	switch {
	case !t.w.open && !t.w.holding && m.Token != 0:
		return ErrCongested
	case !t.w.open && !t.w.holding:
		t.d.stats.DroppedDown.Add(1)
		return ErrCongested
	case m.Token != 0 && (congested || linesUp && !t.denies(m)):
		t.d.stats.RefusedCongested.Add(1)
		return ErrCongested
	case congested:
		t.d.stats.DroppedCongested.Add(1)
		return ErrCongested
	case t.denies(m):
		t.d.stats.RejectedMessages.Add(1)
		return ErrRejected
	case linesUp:
		t.d.stats.DroppedPublishRate.Add(1)
		return ErrCongested
	case careful:
		raw := mqtt.AppendPublish(make([]byte, 0, size), t.win.topics.Publish, m.Topic, m.Payload, 0, m.Retain, 0)
		t.win.out.add(outgoing{raw: raw})
		t.pump()
	case t.w.holding:
		t.w.hold(mqtt.AppendPublish(make([]byte, 0, size), t.win.topics.Publish, m.Topic, m.Payload, 0, m.Retain, 0))
	default:
		t.win.pace.sent(t.d.rate, t.now)
		b := t.w.buffer(mqtt.TypePublish)
		b.B = mqtt.AppendPublish(b.B, t.win.topics.Publish, m.Topic, m.Payload, 0, m.Retain, 0)
		t.win.care.loose++
	}
	return nil
}

// linesUp reports whether a QoS 0 message has to wait for Options.PublishRate: its time has not
// come, or others wait before it, or it would be written together with others later.
func (t *traffic) linesUp() bool {
	return t.d.opt.PublishRate > 0 && (t.w.holding || t.win.waits() || t.win.pace.left(t.d.rate, t.now) > 0)
}

// denies reports whether messages of QoS 0 to the topic of m have been given up.
func (t *traffic) denies(m *Publish) bool {
	return !t.win.care.none() && t.win.care.isDenied(t.d.keys.topic(mqtt.TypePublish, 0, m.Retain, t.win.topics.Publish, m.Topic), t.now)
}

// release lets PUBREL follow: see Link.Release.
func (t *traffic) release(token Token) {
	i := t.win.out.byToken(token)
	if i < 0 || !t.win.out.list[i].release() {
		return
	}
	if m := &t.win.out.list[i]; m.written { // otherwise pump will come to it
		t.w.putAck(mqtt.TypePubrel, m.id)
	}
	t.pump() // what waited for it to be passed on
}

// await says whether anybody awaits a message: see Link.Await.
func (t *traffic) await(token Token, awaited bool) {
	i := t.win.out.byToken(token)
	switch {
	case i < 0:
	case !awaited && !t.win.out.list[i].again:
		t.win.out.remove(i)
		t.events.report(Event{Kind: EventPublishFailed, Token: token, Err: ErrCancelled})
	default:
		t.win.out.list[i].given = !awaited
	}
}

// retract gives a message back: see Link.Retract.
func (t *traffic) retract(token Token) (Publish, bool) {
	i := t.win.out.byToken(token)
	if i < 0 {
		return Publish{}, false
	}
	m := t.win.out.list[i]
	t.win.out.remove(i)
	p := Publish{Token: token, QoS: m.qos, Retain: m.raw.Retain(), Exchange: m.exchange(), Again: m.again, Released: m.phase == releasing}
	p.Topic, p.Payload = m.raw.Split()
	p.Topic = t.win.topics.published(p.Topic)
	return p, true
}

// acked takes PUBACK, PUBREC and PUBCOMP. One that fits no message, or not the
// message's state, is counted and changes nothing.
func (t *traffic) acked(kind uint8, id uint16) {
	i := t.win.out.find(id)
	if i < 0 {
		t.d.stats.StaleAcks.Add(1)
		if kind == mqtt.TypePubrec {
			t.w.putAck(mqtt.TypePubrel, id) // the broker waits for it
		}
		return
	}
	m := &t.win.out.list[i]
	switch {
	case kind == mqtt.TypePubrec && m.qos == 2:
		t.pubrec(m)
		return
	case !m.ends(kind):
		t.d.stats.StaleAcks.Add(1)
		return
	case kind == mqtt.TypePuback && m.qos == 2:
		t.d.notice(t.w.conn.Broker(), HabitNoQoS2)
	case kind == mqtt.TypePubrec:
		t.w.putAck(mqtt.TypePubrel, id)
	}
	t.published(i)
}

// published ends the exchange of a message that the broker has.
func (t *traffic) published(i int) {
	m := &t.win.out.list[i]
	token := m.token
	t.win.passedOne(m)
	t.win.out.remove(i)
	if token != 0 {
		t.events.report(Event{Kind: EventPublished, Token: token})
	}
	t.pump()
}

// pubrec takes PUBREC of QoS 2.
func (t *traffic) pubrec(m *outgoing) {
	t.win.care.progress, t.win.care.loose = true, 0
	switch nowHeld := m.pubrec(); {
	case nowHeld:
		t.events.report(Event{Kind: EventReceived, Token: m.token})
	case m.phase == releasing:
		t.w.putAck(mqtt.TypePubrel, m.id)
		t.pump() // what waited for it to be passed on
	}
}
