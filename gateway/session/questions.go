package session

// What the parts of a session ask each other. Nothing here changes anything.

import (
	"sngate/gateway/session/dialogue"
	"sngate/topicreg"
)

// mayGrow reports whether the footprint of the device may grow by so many octets. What there is
// already stays, whatever the limit is now.
func (s *Session) mayGrow(st *step, octets int) bool {
	return s.Footprint()+octets <= st.FootprintLimit
}

// unstorable reports whether there is a store that does not accept now what would have to be
// there before the device is promised it: a topic id, or a subscription.
func (s *Session) unstorable(st *step) bool { return s.journal.refuses(st) }

// connected reports whether the device has a connection, asleep included.
func (s *Session) connected() bool {
	return s.state == StateActive || s.state == StateAsleep || s.state == StateAwake
}

// listening reports whether the device may be sent what it has not asked for.
func (s *Session) listening() bool {
	return (s.state == StateActive || s.state == StateAwake) && !s.presence.parked && !s.journal.awaits(thenConnAck)
}

// Footprint returns how many octets of memory the device's will, topic names, filters and client
// id take: all that is counted of a session beside the messages of Held and Spooled.
func (s *Session) Footprint() int {
	n := len(s.clientID) + s.ids.topics.Octets() + s.ids.topics.Len()*topicOverhead + int(s.subs.filterOctets) + len(s.subs.list)*subscriptionOverhead
	for i := range s.subs.asked {
		n += len(s.subs.asked[i].filter) + subscriptionOverhead
	}
	if s.handshake.pending != nil && s.handshake.pending.will != s.wills.current {
		n += s.handshake.pending.will.size()
	}
	if s.wills.carried != s.wills.current {
		n += s.wills.carried.size()
	}
	return n + s.wills.current.size()
}

// Held returns how many messages are held for the device, and their size in octets as
// counted against MaxBytes.
func (s *Session) Held() (messages, octets int) {
	messages, octets = s.down.queue.len(), s.down.queue.bytes
	if s.down.delivery.phase != idle {
		messages++
		octets += s.down.delivery.msg.size()
	}
	return messages, octets
}

// Spooled returns how many messages of the device wait for the broker in the store, and
// their size in octets.
func (s *Session) Spooled() (messages, octets int) {
	return s.up.spool.len(), s.up.spool.octets
}

// addressed reports whether a message can be sent without REGISTER. A predefined or short
// id that the device has refused does not count.
func (an *announcer) addressed(m *outgoing) bool {
	if m.refusal != unrefused {
		id, ok := an.s.ids.topics.ID(m.topic)
		return ok && an.s.ids.topics.Announced(id)
	}
	_, _, ok := an.address(m.topic)
	return ok
}

// address chooses how the device is told the topic: by an id it has registered or been
// given, by a predefined id, or by its two octets.
func (an *announcer) address(topic string) (dialogue.TopicType, uint16, bool) {
	if id, ok := an.s.ids.topics.ID(topic); ok && (an.s.ids.topics.Announced(id) || an.reg != nil && an.reg.tried && an.reg.topicID == id) {
		return dialogue.NormalTopic, id, true
	}
	if id, ok := an.s.cfg.Predefined.ID(an.s.clientID, topic); ok {
		return dialogue.PredefinedTopic, id, true
	}
	if len(topic) == 2 {
		if short := [2]byte{topic[0], topic[1]}; topicreg.ValidShort(short) == nil {
			return dialogue.ShortTopic, dialogue.ShortID(short), true
		}
	}
	return 0, 0, false
}

// futile reports whether a registration is under way that a wake does not wait for.
func (an *announcer) futile() bool { return an.reg != nil && an.reg.futile }

// registering reports whether a registration waits for an id to be in the store.
func (an *announcer) registering(id uint16) bool {
	return an.reg != nil && an.reg.phase == allotting && an.reg.topicID == id
}

// awaiting reports whether an answer of the broker is awaited.
func (dl *downlink) awaiting() bool {
	if dl.s.up.relays() {
		return true
	}
	return dl.s.up.spool.len() > 0 || len(dl.s.subs.asked) > 0 || dl.s.subs.resubscription.open > 0 || dl.s.wake.barrier.token != 0
}

// maxPacket is the longest message that may be sent to the device.
func (dl *downlink) maxPacket(st *step) int { return int(dl.maxSize) - st.Overhead }

func (br *brokerLink) draining() bool { return br.closeAs != 0 }

// live reports whether the device was connected before the CONNECT that is being
// carried out.
func (br *brokerLink) live() bool {
	return (br.link == linkUp || br.link == linkDown) && !br.draining()
}

func (sb *subscriptions) find(filter string) int {
	for i := range sb.list {
		if sb.list[i].filter == filter {
			return i
		}
	}
	return -1
}

// refuses tells why the broker is not asked for a filter.
func (sb *subscriptions) refuses(filter string) Reason {
	return sb.s.cfg.Limits.refusesFilter(sb.s.clientID, filter)
}

// spools reports whether the spool takes messages.
func (ul *uplink) spools(st *step) bool { return ul.s.cfg.Spool && ul.s.journal.accepts(st) }

// relays reports whether a PUBLISH of the device is with the link.
func (ul *uplink) relays() bool {
	for i := range ul.window {
		if ul.window[i].stage == upRelaying {
			return true
		}
	}
	return false
}

// accepting reports whether CONNACK waits for the store: the device is not sent anything
// before it.
func (hs *handshake) accepting() bool { return hs.s.journal.awaits(thenConnAck) }

// known returns name as the table of topic ids has it, if it is there, so that it need not be
// kept twice.
func (ti *topicIDs) known(name string) string {
	if id, ok := ti.topics.ID(name); ok {
		name, _ = ti.topics.Name(id)
	}
	return name
}

// completing reports whether a PUBCOMP waits for the store.
func (cu *custody) completing() bool {
	return cu.s.journal.awaits(thenPubComp)
}

// gated reports whether the oldest message held is to be sent after a SUBACK.
func (dl *downlink) gated(st *step) bool {
	return dl.queue.len() > 0 && dl.comesAfterSubAck(st, dl.queue.at(0))
}

// comesAfterSubAck reports whether a message is to be sent after a SUBACK. Brokers may send
// the messages of a subscription before they answer SUBSCRIBE (MQTT 3.1.1 section 3.8.4),
// and the answer waits for the store.
func (dl *downlink) comesAfterSubAck(st *step, m *outgoing) bool {
	return dl.s.subs.gate(m.topic) != nil && (!dl.crowded(st) || dl.s.subs.explains(m)) || dl.s.journal.announces(m.topic)
}

// crowded reports whether as much is held as may be while the device waits for the broker.
func (dl *downlink) crowded(st *step) bool {
	n, b := dl.s.Held()
	return n >= 2*dl.s.cfg.MaxMessages || b >= min(2*dl.s.cfg.MaxBytes, st.Allowance)
}

// gate returns the oldest request of which the device has to hear before it is sent a
// message on topic; nil if there is none.
func (sb *subscriptions) gate(topic string) *request {
	for i := range sb.asked {
		if r := &sb.asked[i]; r.sent && r.announces(topic) {
			return r
		}
	}
	return nil
}

// explains reports whether the broker can have sent m only because it has accepted a
// SUBSCRIBE that is not answered yet: m is a retained message, which an older subscription
// does not bring (MQTT 3.1.1 section 3.3.1.3), or there is none.
func (sb *subscriptions) explains(m *outgoing) bool {
	if m.retain {
		return true
	}
	for i := range sb.list {
		if topicreg.Matches(sb.list[i].filter, m.topic) {
			return false
		}
	}
	return true
}

// waits reports whether a will that is due has to wait here for a connection, because the link
// keeps nothing of QoS 0.
func (ws *wills) waits() bool { return ws.due && ws.s.cfg.Limits.QoS(1) == 0 }

func (w *Will) size() int {
	if w == nil {
		return 0
	}
	return len(w.Topic) + len(w.Message) + messageOverhead
}

func (w *Will) equal(v *Will) bool {
	if w == nil || v == nil {
		return w == v
	}
	return w.Topic == v.Topic && string(w.Message) == string(v.Message) && w.QoS == v.QoS && w.Retain == v.Retain
}
