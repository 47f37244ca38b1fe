package upstream

import (
	"slices"

	"sngate/upstream/mqtt"
)

// badPacket drops a packet because of what is in it. A PUBLISH is acknowledged, so that the
// broker does not send it for ever.
func (t *traffic) badPacket(p *mqtt.Packet) {
	e := Event{Kind: EventBadPacket, Err: p.Fault, Topic: p.Topic, QoS: p.QoS}
	t.events.report(e)
	if p.Kind != mqtt.TypePublish || p.ID == 0 || p.QoS == 0 || !t.w.open {
		return
	}
	t.in.owe(p.ID, p.QoS)
	if p.QoS == 2 {
		t.begin(p.ID, received{qos: 2, acked: true, bad: true})
	}
	t.acknowledge(p.ID, p.QoS)
}

// message takes a PUBLISH. One that the owner holds already, or has acknowledged, in this
// process or an earlier one, is not reported again: that makes QoS 2 exactly once, and spares
// a QoS 1 message that waits for its device a second copy after a reconnect.
func (t *traffic) message(p *mqtt.Packet) {
	if !t.w.open && (!t.w.holding || p.QoS > 0 && t.keepAlive.paused) {
		return // not acknowledged: the broker sends it again in the next connection
	}
	e := Event{
		Kind: EventMessage, Topic: p.Topic, Payload: p.Payload,
		QoS: p.QoS, Retain: p.Retain, Dup: p.Dup, Oversize: p.Oversize,
	}
	if p.QoS > 0 {
		m := received{sum: contentSum(p.Topic, p.Payload), qos: p.QoS}
		t.in.owe(p.ID, p.QoS)
		if old, known := t.in.list[p.ID]; known && old.repeats(p.QoS, p.Dup, m.sum) {
			if t.w.open { // otherwise it is acknowledged when it comes in the next connection
				t.repeated(p.ID, old)
			}
			return
		}
		e.Handle = t.begin(p.ID, m)
		if p.QoS == 2 {
			e.Identity = m.identity(p.ID)
		}
	}
	var inside bool
	if e.Topic, inside = t.win.topics.delivered(p.Topic); !inside {
		t.outside(p)
		return
	}
	t.events.report(e)
}

// outside drops a message that the device cannot have subscribed to. It is acknowledged, so that
// the broker does not send it for ever.
func (t *traffic) outside(p *mqtt.Packet) {
	t.d.stats.Outside.Add(1)
	t.events.report(Event{Kind: EventBadPacket, Err: errOutside, Topic: p.Topic, QoS: p.QoS})
	if p.QoS > 0 {
		m := t.in.list[p.ID]
		m.acked, m.bad = true, true
		t.in.list[p.ID] = m
		t.acknowledge(p.ID, p.QoS)
	}
}

// repeated takes a message once more.
func (t *traffic) repeated(id uint16, m received) {
	t.d.stats.Duplicates.Add(1)
	m.conn, m.told = t.in.conn, false
	t.in.list[id] = m
	if m.acked {
		t.acknowledge(id, m.qos)
		t.events.report(Event{Kind: EventRepeated, QoS: m.qos})
	}
}

// begin adds a message, and tells the owner of one of QoS 2 that it takes the place of. A bad
// packet, which has no sum, was never the owner's.
func (t *traffic) begin(id uint16, m received) Handle {
	if old := t.in.list[id]; old.qos == 2 && !old.bad {
		t.events.report(Event{Kind: EventForgotten, Identity: old.identity(id)})
	}
	return t.in.add(id, m)
}

// ack acknowledges a received message, and reports whether h is one: see Link.Ack.
func (t *traffic) ack(h Handle) bool {
	id := uint16(h)
	m, known := t.in.list[id]
	if !known || m.acked || m.seq != uint16(h>>16) {
		return false
	}
	m.acked = true
	t.in.list[id] = m
	if t.w.open && m.conn == t.in.conn {
		t.acknowledge(id, m.qos)
	}
	return true
}

// acknowledge sends PUBACK or PUBREC, when those of all messages before have been sent.
// PUBACK ends the exchange.
func (t *traffic) acknowledge(id uint16, qos uint8) {
	list := &t.in.owed[qos-1]
	for i := range *list {
		(*list)[i].ready = (*list)[i].ready || (*list)[i].id == id
	}
	n := 0
	for ; n < len(*list) && (*list)[n].ready; n++ {
		if next := (*list)[n].id; qos == 2 {
			t.w.putAck(mqtt.TypePubrec, next)
		} else {
			t.w.putAck(mqtt.TypePuback, next)
			t.in.remove(next)
		}
	}
	if *list = slices.Delete(*list, 0, n); len(*list) == 0 && cap(*list) > owedRoom {
		*list = nil
	}
}

// released takes PUBREL. It is answered even when the message is not known: it may be
// one from before a restart, and the broker asks until it hears PUBCOMP. One that
// comes before the PUBREC it answers is wrong and changes nothing. The owner is
// told of all others, and answers by Complete.
func (t *traffic) released(id uint16) {
	if !t.w.open {
		return // it comes again in the next connection
	}
	m, known := t.in.list[id]
	if known && m.qos == 2 && !m.acked {
		t.d.stats.StaleAcks.Add(1)
		return
	}
	e := Event{Kind: EventReleased, Identity: identityOf(id, 0)}
	if known && m.qos == 2 {
		e.Identity = m.identity(id)
		t.in.remove(id)
	} else {
		t.d.stats.StaleAcks.Add(1)
	}
	t.events.report(e)
}
