package session

// regulate pauses reading from the broker when what is held reaches its bounds, and resumes
// when half of that is gone: for QoS 1 and 2, which are never dropped, and for QoS 0 as
// long as the device takes one message after the other. While the device waits for an
// answer of the broker, which comes behind the messages, the bounds are twice as wide.
func (dl *downlink) regulate(st *step) {
	if dl.s.broker.link.over() || dl.s.broker.draining() {
		return
	}
	taking := dl.keepsUp()
	if !taking {
		dl.trim(st)
	}
	scale := 1
	if dl.awaiting() {
		scale = 2
	}
	n, b := dl.s.Held()
	messages, octets := scale*dl.s.cfg.MaxMessages, min(scale*dl.s.cfg.MaxBytes, st.Allowance)
	full := n > 0 && (n > messages || b > octets || (dl.queue.qos0 == 0 || taking) && (n == messages || b == octets)) || dl.s.addr.waitsForProof(st, n, b)
	switch {
	case !dl.paused && full:
		dl.paused = true
		st.do(Action{Kind: ActionPause})
	case dl.paused && !full && (scale > 1 || !taking && dl.queue.qos0 > 0 || n <= dl.s.cfg.MaxMessages/2 && b <= octets/2):
		dl.paused = false
		dl.s.wake.owe(1) // the broker goes on with what it has
		st.do(Action{Kind: ActionResume})
	}
}

// keepsUp reports whether the device answers what is sent to it: then QoS 0 waits with the
// broker when there is too much of it. One that leaves a message unanswered must not keep
// its own connection from being read for long, above all while it waits for something in
// there. Then, and while it sleeps, the oldest QoS 0 goes.
func (dl *downlink) keepsUp() bool {
	if !dl.s.listening() || dl.proceedAt != Never || dl.s.addr.withholds() {
		return false
	}
	tries := max(dl.retry.unanswered(), dl.s.presence.probe.unanswered())
	if dl.s.announcer.reg != nil {
		tries = max(tries, int(dl.s.announcer.reg.tries))
	}
	return tries == 0 || tries < dl.s.cfg.RetryCount && !dl.awaiting()
}

// trim drops the QoS 0 messages that are held beyond the bounds.
func (dl *downlink) trim(st *step) {
	for dl.queue.qos0 > 0 {
		n, b := dl.s.Held()
		if n <= dl.s.cfg.MaxMessages && b <= dl.s.cfg.MaxBytes || !dl.queue.dropOldestQoS0() {
			return
		}
		st.drop(ReasonBufferFull)
	}
}

// admit keeps the bounds: QoS 0 goes first, oldest first. QoS 1 and 2 are never dropped,
// nor is QoS 0 of a device that takes it: reading from the broker stops instead, and what
// is on its way already is taken in.
func (dl *downlink) admit(st *step, m *outgoing) bool {
	for {
		n, b := dl.s.Held()
		octets := min(dl.s.cfg.MaxBytes, st.Allowance)
		switch {
		case n < dl.s.cfg.MaxMessages && b+m.size() <= octets, n == 0 && dl.s.listening():
			return true // it fits, or is not held at all
		case dl.keepsUp() && b+m.size() <= st.Allowance:
			return true
		}
		why := ReasonBufferFull
		if n < dl.s.cfg.MaxMessages && b+m.size() <= dl.s.cfg.MaxBytes {
			why = ReasonMemoryLimit
		}
		hopeless := m.qos == 0 && m.size() > octets
		if !hopeless && dl.queue.dropOldestQoS0() {
			st.drop(why)
			continue
		}
		if m.qos == 0 {
			st.dropOf(why, m.topic, len(m.payload))
			return false
		}
		return true
	}
}

// There are clients that take no message before the SUBACK of its subscription, and none that
// know no REGISTER can do with anything but the topic id in there.

// openGate stops waiting for the broker's answer to SUBSCRIBE when no more may be held: it
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
