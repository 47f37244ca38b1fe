package session

// There are clients that take no message before the SUBACK of its subscription, and none that
// know no REGISTER can do with anything but the topic id in there.

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

// openGate goes on without the broker's answer to SUBSCRIBE when no more may be held: it
// may be behind what the broker sends, and that is not read any more. A message that only
// the subscription explains is answer enough.
func (dl *downlink) openGate(st *step) {
	for len(dl.s.subs.asked) > 0 && dl.queue.len() > 0 && dl.crowded(st) {
		m := dl.queue.at(0)
		r := dl.s.subs.gate(m.topic)
		if r == nil || !dl.s.subs.explains(m) {
			return // it belongs to an older subscription as well
		}
		dl.s.subs.presume(st, r)
	}
}

// crowded reports whether as much is held as may be while the device waits for the broker.
func (dl *downlink) crowded(st *step) bool {
	n, b := dl.s.Held()
	return n >= 2*dl.s.cfg.MaxMessages || b >= min(2*dl.s.cfg.MaxBytes, st.Allowance)
}
