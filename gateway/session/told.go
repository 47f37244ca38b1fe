package session

import "sngate/topicreg"

// What the device knows when: topic ids, and that it is subscribed. There are clients
// that take no message before the SUBACK of its subscription, and none that know no
// REGISTER can do with anything but the topic id in there.

// told notes that the device knows a topic id: it has been sent it, or has used it. That
// is as good as a REGACK for a REGISTER of that id.
func (ti *topicIDs) told(st *step, id uint16) {
	answers := ti.s.reg != nil && ti.s.reg.phase == registering && ti.s.reg.topicID == id
	if ti.s.know(id); answers {
		ti.keep(st, id)
	}
}

// announces reports whether the device waits for the SUBACK of a subscription that a
// message on topic belongs to.
func (r *request) announces(topic string) bool {
	return !r.remove && !r.quiet && topicreg.Matches(r.filter, topic)
}

// gated reports whether the oldest message held is to be sent after a SUBACK.
func (s *Session) gated(st *step) bool {
	return s.queue.len() > 0 && s.comesAfterSubAck(st, s.queue.at(0))
}

// comesAfterSubAck reports whether a message is to be sent after a SUBACK. Brokers may send
// the messages of a subscription before they answer SUBSCRIBE (MQTT 3.1.1 section 3.8.4),
// and the answer waits for the store.
func (s *Session) comesAfterSubAck(st *step, m *outgoing) bool {
	return s.subs.gate(m.topic) != nil && (!s.crowded(st) || s.subs.explains(m)) || s.journal.announces(m.topic)
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

// openGate goes on without the broker's answer to SUBSCRIBE when no more may be held: it
// may be behind what the broker sends, and that is not read any more. A message that only
// the subscription explains is answer enough.
func (s *Session) openGate(st *step) {
	for len(s.subs.asked) > 0 && s.queue.len() > 0 && s.crowded(st) {
		m := s.queue.at(0)
		r := s.subs.gate(m.topic)
		if r == nil || !s.subs.explains(m) {
			return // it belongs to an older subscription as well
		}
		s.subs.presume(st, r)
	}
}

// crowded reports whether as much is held as may be while the device waits for the broker.
func (s *Session) crowded(st *step) bool {
	n, b := s.Held()
	return n >= 2*s.cfg.MaxMessages || b >= min(2*s.cfg.MaxBytes, st.Allowance)
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

// presume answers a SUBSCRIBE as granted. The broker's answer is awaited all the same.
func (sb *subscriptions) presume(st *step, r *request) {
	early := *r
	r.quiet, r.presumed = true, true
	sb.granted(st, &early, early.qos)
}
