package session

// regulate stops reading from the broker when what is held reaches its bounds, and goes on
// when half of that is gone: for QoS 1 and 2, which are never dropped, and for QoS 0 as
// long as the device takes one message after the other. While the device waits for an
// answer of the broker, which comes behind the messages, the bounds are twice as wide.
func (s *Session) regulate(st *step) {
	if s.link.over() || s.draining() {
		return
	}
	taking := s.taking()
	if !taking {
		s.trim(st)
	}
	scale := 1
	if s.awaiting() {
		scale = 2
	}
	n, b := s.Held()
	messages, octets := scale*s.cfg.MaxMessages, min(scale*s.cfg.MaxBytes, st.Allowance)
	full := n > 0 && (n > messages || b > octets || (s.queue.qos0 == 0 || taking) && (n == messages || b == octets)) || s.waitsForProof(st, n, b)
	switch {
	case !s.paused && full:
		s.paused = true
		st.do(Action{Kind: ActionPause})
	case s.paused && !full && (scale > 1 || !taking && s.queue.qos0 > 0 || n <= s.cfg.MaxMessages/2 && b <= octets/2):
		s.paused = false
		s.barrier.rounds = max(s.barrier.rounds, 1) // the broker goes on with what it has
		st.do(Action{Kind: ActionResume})
	}
}

// taking reports whether the device takes what is sent to it: then QoS 0 waits with the
// broker when there is too much of it. One that leaves a message unanswered must not keep
// its own connection from being read for long, above all while it waits for something in
// there. Then, and while it sleeps, the oldest QoS 0 goes.
func (s *Session) taking() bool {
	if !s.listening() || s.resumeAt != Never || s.withholds() {
		return false
	}
	tries := max(s.retry.unanswered(), s.probe.unanswered())
	if s.reg != nil {
		tries = max(tries, int(s.reg.tries))
	}
	return tries == 0 || tries < s.cfg.RetryCount && !s.awaiting()
}

// trim drops the QoS 0 messages that are held beyond the bounds.
func (s *Session) trim(st *step) {
	for s.queue.qos0 > 0 {
		n, b := s.Held()
		if n <= s.cfg.MaxMessages && b <= s.cfg.MaxBytes || !s.queue.dropOldestQoS0() {
			return
		}
		st.drop(ReasonBufferFull)
	}
}

// awaiting reports whether an answer of the broker is awaited.
func (s *Session) awaiting() bool {
	if s.up.relays() {
		return true
	}
	return s.up.spool.len() > 0 || len(s.subs.asked) > 0 || s.subs.restore.open > 0 || s.barrier.token != 0
}

// admit keeps the bounds: QoS 0 goes first, oldest first. QoS 1 and 2 are never dropped,
// nor is QoS 0 of a device that takes it: reading from the broker stops instead, and what
// is on its way already is taken in.
func (s *Session) admit(st *step, m *outgoing) bool {
	for {
		n, b := s.Held()
		octets := min(s.cfg.MaxBytes, st.Allowance)
		switch {
		case n < s.cfg.MaxMessages && b+m.size() <= octets, n == 0 && s.listening():
			return true // it fits, or is not held at all
		case s.taking() && b+m.size() <= st.Allowance:
			return true
		}
		why := ReasonBufferFull
		if n < s.cfg.MaxMessages && b+m.size() <= s.cfg.MaxBytes {
			why = ReasonMemoryLimit
		}
		hopeless := m.qos == 0 && m.size() > octets
		if !hopeless && s.queue.dropOldestQoS0() {
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
