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
		h := t.in.add(p.ID, 2, 0)
		m := t.in.held[h.PacketID()]
		m.acked = true
		t.in.held[p.ID] = m
	}
	t.acknowledge(p.ID, p.QoS)
}

// message takes a PUBLISH. One that the owner holds already, or has acknowledged, is
// not reported again: that makes QoS 2 exactly once, and spares a QoS 1 message that
// waits for its device a second copy after a reconnect. A QoS 1 message without DUP
// is a new one, whatever its identifier was used for. So is one with other content: a
// broker that was killed may come back with an old state, in which identifiers are
// free that are in use here.
func (t *traffic) message(p *mqtt.Packet) {
	if !t.w.open {
		return // not acknowledged: the broker sends it again in the next connection
	}
	var h Handle
	if p.QoS > 0 {
		sum := t.d.keys.sum(p)
		t.in.owe(p.ID, p.QoS)
		old, known := t.in.held[p.ID]
		if known && old.qos == p.QoS && old.sum == sum && (p.QoS == 2 || p.Dup) {
			t.d.stats.Duplicates.Add(1)
			old.conn = t.in.conn
			t.in.held[p.ID] = old
			if old.acked {
				t.acknowledge(p.ID, p.QoS)
				t.events.report(Event{Kind: EventRepeated, QoS: p.QoS})
			}
			return
		}
		h = t.in.add(p.ID, p.QoS, sum)
	}
	t.events.report(Event{
		Kind: EventMessage, Handle: h, Topic: p.Topic, Payload: p.Payload,
		QoS: p.QoS, Retain: p.Retain, Dup: p.Dup, Oversize: p.Oversize,
	})
}

// ack acknowledges a received message, and reports whether h is one: see Link.Ack.
func (t *traffic) ack(h Handle) bool {
	id := uint16(h)
	m, known := t.in.held[id]
	if !known || m.acked || m.seq != uint16(h>>16) {
		return false
	}
	m.acked = true
	t.in.held[id] = m
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
	if *list = slices.Delete(*list, 0, n); len(*list) == 0 && cap(*list) > keptOwed {
		*list = nil
	}
}

// released takes PUBREL. It is answered even when the message is not known: it may be
// one from before a restart, and the broker asks until it hears PUBCOMP. One that
// comes before the PUBREC it answers is wrong and leaves the message held. The owner is
// told of all others, because it may keep identifiers for longer than the Link, and
// answers by Complete.
func (t *traffic) released(id uint16) {
	m, known := t.in.held[id]
	if known && m.qos == 2 && !m.acked {
		t.d.stats.StaleAcks.Add(1)
		return
	}
	if known && m.qos == 2 {
		t.in.remove(id)
	} else {
		t.d.stats.StaleAcks.Add(1)
	}
	if t.w.open { // otherwise it comes again in the next connection
		t.events.report(Event{Kind: EventReleased, PacketID: id})
	}
}
