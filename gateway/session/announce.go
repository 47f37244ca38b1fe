package session

import "sngate/snpacket/sn12"

// registration is the REGISTER that tells the device the id of a topic before its first
// message (MQTT-SN 1.2 section 6.10): one at a time. The messages of that topic wait in
// the queue for it; others wait only until it has gone unanswered once.
type registration struct {
	topic   string
	retryAt Time
	phase   announcing
	msgID   uint16
	topicID uint16
	tries   uint8 // how often it has been sent again
	attempts
	overdue bool // other messages pass
	tried   bool // the id is used without REGACK: the device has known it before
	mute    bool // it has begun when the REGISTER before it was left unanswered
	again   bool // it has waited for an id before
	futile  bool // a wake is not kept waiting for it
}

// announcing is what a registration waits for.
type announcing uint8

const (
	allotting   announcing = iota // the store, to have the topic id
	registering                   // REGACK
	waiting                       // an id that can be given to another name
)

// addressed reports whether a message can be sent without REGISTER. A predefined or short
// id that the device has refused does not count.
func (s *Session) addressed(m *outgoing) bool {
	if m.refusal != unrefused {
		id, ok := s.ids.topics.ID(m.topic)
		return ok && s.ids.topics.Announced(id)
	}
	_, _, ok := s.address(m.topic)
	return ok
}

// maxBehind bounds the topics that next remembers because their messages have to wait for
// an earlier one.
const maxBehind = 8

// next finds the message of the queue that is to be sent now, and begins the registration
// of a topic that needs one. Messages of one topic stay in order. So do those of QoS 2: the
// exchange that may have to go on after the connection is lost is only one.
func (s *Session) next(st *step) (int, bool) {
	var behind [maxBehind]string
	n, waits2 := 0, false
	isBehind := func(topic string) bool {
		for _, t := range behind[:n] {
			if t == topic {
				return true
			}
		}
		return false
	}
	for i := range s.queue.len() {
		m := s.queue.at(i)
		if s.comesAfterSubAck(st, m) {
			return 0, false
		}
		switch {
		case isBehind(m.topic):
			waits2 = waits2 || m.qos == 2
			continue
		case s.undeliverable(st, m) != ReasonNone, s.addressed(m) && !(waits2 && m.qos == 2):
			return i, true
		case !s.addressed(m) && s.reg == nil && !s.announce(st, m), s.reg != nil && !s.reg.overdue, n == maxBehind:
			return 0, false
		}
		if m.refusal != unrefused || m.qos == 2 {
			behind[n] = m.topic
			n++
		}
		waits2 = waits2 || m.qos == 2
	}
	return 0, false
}

// undeliverable tells why a message cannot be delivered to the device at all: it is too
// long, as may be its REGISTER, which "the gateway silently gives up", or it has been tried
// in vain.
func (s *Session) undeliverable(st *step, m *outgoing) Reason {
	addressed := s.addressed(m)
	switch t := s.tallyOf(m); {
	case m.publish().Len() > s.maxPacket(st), !addressed && sn12.Register{TopicName: []byte(m.topic)}.Len() > s.maxPacket(st):
		return ReasonTooLarge
	case t == nil:
	case t.sends >= s.cfg.patience():
		return ReasonUnanswered
	case t.registers >= s.cfg.patience() && !addressed:
		if id, ok := s.ids.topics.ID(m.topic); !ok || !s.ids.topics.Trusted(id) {
			return ReasonRegisterUnanswered
		}
	}
	return ReasonNone
}

// announce begins the registration of a message's topic. It reports false when deliveries
// pause: the store takes no topic id, or the address is to prove itself first.
func (s *Session) announce(st *step, m *outgoing) bool {
	id, known := s.ids.topics.ID(m.topic)
	if !s.reachable(st, m) {
		return false
	}
	if !known {
		if s.journal.refuses(st) {
			s.waitForStore(st.Now)
			return false
		}
		var lent bool
		if id, lent = s.ids.lendID(st, m.topic); !lent {
			s.reg = &registration{topic: m.topic, phase: waiting, retryAt: st.Now + lateWindow, overdue: true}
			return true
		}
		s.ids.put(st, id, false)
	}
	s.reg = &registration{topic: m.topic, topicID: id, phase: allotting, retryAt: Never, overdue: s.mute, mute: s.mute}
	if t := s.tallyOf(m); t != nil {
		s.reg.before = t.registers
	}
	if !known {
		s.after(st, refuseWhenDown, continuation{kind: thenAllotted, id: id, allots: true})
	} else if s.journal.allotment(id) == nil {
		s.writeRegister(st)
	}
	return true
}

func (s *Session) writeRegister(st *step) {
	r := s.reg
	r.phase, r.msgID, r.retryAt, r.heard = registering, s.newMsgID(), st.Now+s.cfg.RetryInterval, false
	s.sendRegister(st)
}

func (s *Session) sendRegister(st *step) {
	r := s.reg
	m := sn12.Register{TopicID: r.topicID, MsgID: r.msgID, TopicName: []byte(r.topic)}
	if !s.affords(st, m.Len()) {
		s.prove(st)
		return
	}
	s.ids.topics.Touch(r.topicID, st.Now)
	r.now = more(r.now, 1)
	send(st, m)
}

// onRegisterRetry repeats REGISTER. Other messages do not wait any longer, nor do those of
// a topic whose id the device has known in an earlier connection: it says 0x02 if it does
// not know it any more.
func (s *Session) onRegisterRetry(st *step) {
	r := s.reg
	if r.phase == waiting {
		s.reg = nil
		s.pump(st)
		if s.reg != nil && s.reg.phase == waiting {
			// In the second time, what was sent with the ids is not all that is in the way.
			s.reg.again, s.reg.futile = true, r.again
			s.pump(st)
		}
		return
	}
	s.mute = true
	r.overdue, r.tried = true, s.ids.topics.Trusted(r.topicID)
	if r.mute && r.tries > 0 && s.state == StateAwake {
		// There are devices that know no REGISTER. They are not kept awake to give up one
		// message after the other, and what can be sent without it is sent.
		r.futile, r.retryAt = true, st.Now+s.cfg.RetryInterval
		s.pump(st)
		return
	}
	if int(r.tries) >= s.cfg.RetryCount {
		s.registerUnanswered(st)
		return
	}
	r.tries++
	r.retryAt = st.Now + s.cfg.RetryInterval
	if r.tries == 1 {
		r.heard = false // it may have been on its way before the REGISTER
	}
	st.retry(sn12.TypeRegister)
	s.sendRegister(st)
	s.askForLife(st, r.tries, r.heard)
	s.pump(st)
}

// registerUnanswered goes on without REGACK where the device lives. The message that needs
// it is given up, one of QoS 1 or 2 after all repetitions once more.
func (s *Session) registerUnanswered(st *step) {
	r := s.reg
	switch {
	case !r.heard:
		s.lose(st, ReasonRetriesExhausted)
		return
	case r.tried:
		s.ids.topics.SetAnnounced(r.topicID, true)
	default:
		i := s.registered()
		if i >= 0 && s.queue.at(i).qos > 0 && r.count() < s.cfg.patience() {
			r.attempts, r.tries = attempts{before: r.count()}, 0
			r.retryAt = st.Now + s.cfg.RetryInterval
			st.retry(sn12.TypeRegister)
			s.sendRegister(st)
			return
		}
		s.dropRegistered(st, ReasonRegisterUnanswered)
	}
	s.reg = nil
	s.pump(st)
}

// dropRegistered gives up the message that the registration is for.
func (s *Session) dropRegistered(st *step, why Reason) {
	if i := s.registered(); i >= 0 {
		m := s.queue.take(i)
		s.abandonMessage(st, &m, why)
	}
}

// registered finds the message that the registration is for; -1: it has gone.
func (s *Session) registered() int {
	for i := range s.queue.len() {
		if m := s.queue.at(i); m.topic == s.reg.topic && !s.addressed(m) {
			return i
		}
	}
	return -1
}

// suspendRegistration ends the registration, to begin it anew when deliveries go on.
func (s *Session) suspendRegistration() {
	r := s.reg
	if r == nil {
		return
	}
	for i := range s.queue.len() {
		if m := s.queue.at(i); m.topic == r.topic && r.phase == registering {
			s.tally(m).registers = r.end()
			break
		}
	}
	s.reg = nil
}

func (s *Session) onRegAck(st *step, body []byte) {
	var m sn12.RegAck
	if m.Parse(body) != nil {
		st.drop(ReasonMalformed)
		return
	}
	r := s.reg
	if r == nil || r.phase != registering || r.msgID != m.MsgID ||
		m.ReturnCode == sn12.Accepted && m.TopicID != r.topicID && s.ids.topics.Doubtful(r.topicID) {
		st.drop(ReasonUnexpectedMessage)
		return
	}
	s.mute = false
	switch {
	case m.ReturnCode == sn12.Accepted:
		s.ids.topics.SetAnnounced(r.topicID, true)
		s.ids.topics.Touch(r.topicID, st.Now)
		for i := range s.queue.len() {
			if m := s.queue.at(i); m.topic == r.topic && m.refusal == refusedID {
				m.refusal = toldAgain
			}
		}
		s.ids.keep(st, r.topicID)
	case m.ReturnCode == sn12.RejectedCongestion && r.count() < s.cfg.patience():
		s.congested(st)
		return
	default:
		// It does not want the topic: the same as unsubscribing from it (section 6.10).
		s.dropRegistered(st, ReasonClientRejected)
	}
	s.reg = nil
	s.pump(st)
}

// know notes that the device knows an id, from REGACK or SUBACK or because it has used it.
// That answers a REGISTER of it as well.
func (s *Session) know(id uint16) {
	s.ids.topics.SetAnnounced(id, true)
	if s.reg != nil && s.reg.phase != waiting && s.reg.topicID == id {
		s.reg = nil
	}
}
