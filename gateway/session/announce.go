package session

import (
	"sngate/gateway/session/dialogue"
)

// maxBehind bounds the topics that next remembers because their messages have to wait for
// an earlier one.
const maxBehind = 8

// next finds the message of the queue that is to be sent now, and begins the registration
// of a topic that needs one. Messages of one topic stay in order. So do those of QoS 2: the
// session can continue only one exchange after the connection is lost.
func (an *announcer) next(st *step) (int, bool) {
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
	for i := range an.s.down.queue.len() {
		m := an.s.down.queue.at(i)
		if an.s.down.comesAfterSubAck(st, m) {
			return 0, false
		}
		switch {
		case isBehind(m.topic):
			waits2 = waits2 || m.qos == 2
			continue
		case an.s.down.undeliverable(st, m) != ReasonNone, an.addressed(m) && !(waits2 && m.qos == 2):
			return i, true
		case !an.addressed(m) && an.reg == nil && !an.announce(st, m), an.reg != nil && !an.reg.overdue, n == maxBehind:
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

// announce begins the registration of a message's topic. It reports false when deliveries
// pause: the store takes no topic id, or the address is to prove itself first.
func (an *announcer) announce(st *step, m *outgoing) bool {
	id, known := an.s.ids.topics.ID(m.topic)
	if !an.s.addr.reachable(st, m) {
		return false
	}
	if !known {
		if an.s.unstorable(st) {
			an.s.down.waitForStore(st.Now)
			return false
		}
		var lent bool
		if id, lent = an.s.ids.lendID(st, m.topic); !lent {
			an.reg = &registration{topic: m.topic, phase: waiting, retryAt: st.Now + lateWindow, overdue: true}
			return true
		}
		an.s.ids.put(st, id, false)
	}
	an.reg = &registration{topic: m.topic, topicID: id, phase: allotting, retryAt: Never, overdue: an.mute, mute: an.mute}
	if t := an.s.down.tallies.find(m); t != nil {
		an.reg.before = t.registers
	}
	if !known {
		an.s.after(st, refuseWhenDown, continuation{kind: thenAllotted, id: id, allots: true})
	} else if an.s.journal.allotment(id) == nil {
		an.writeRegister(st)
	}
	return true
}

func (an *announcer) writeRegister(st *step) {
	r := an.reg
	r.phase, r.msgID, r.retryAt, r.heard = registering, an.s.down.newMsgID(), st.Now+an.s.cfg.RetryInterval, false
	an.sendRegister(st)
}

func (an *announcer) sendRegister(st *step) {
	r := an.reg
	m := dialogue.Message{Kind: dialogue.Register, TopicID: r.topicID, MsgID: r.msgID, Name: []byte(r.topic)}
	if !an.s.addr.affords(st, st.size(m)) {
		an.s.addr.prove(st)
		return
	}
	an.s.ids.topics.Touch(r.topicID, st.Now)
	r.now = more(r.now, 1)
	send(st, m)
}

// onRegisterRetry repeats REGISTER. Other messages do not wait any longer, nor do those of
// a topic whose id the device has known in an earlier connection: it says 0x02 if it does
// not know it any more.
func (an *announcer) onRegisterRetry(st *step) (lost Reason) {
	r := an.reg
	if r.phase == waiting {
		an.reg = nil
		an.s.down.pump(st)
		if an.reg != nil && an.reg.phase == waiting {
			// In the second time, what was sent with the ids is not all that is in the way.
			an.reg.again, an.reg.futile = true, r.again
			an.s.down.pump(st)
		}
		return ReasonNone
	}
	an.mute = true
	r.overdue, r.tried = true, an.s.ids.topics.Trusted(r.topicID)
	if r.mute && r.tries > 0 && an.s.state == StateAwake {
		// There are devices that know no REGISTER. They are not kept awake to give up one
		// message after the other, and what can be sent without it is sent.
		r.futile, r.retryAt = true, st.Now+an.s.cfg.RetryInterval
		an.s.down.pump(st)
		return ReasonNone
	}
	if int(r.tries) >= an.s.cfg.RetryCount {
		return an.registerUnanswered(st)
	}
	r.tries++
	r.retryAt = st.Now + an.s.cfg.RetryInterval
	if r.tries == 1 {
		r.heard = false // it may have been on its way before the REGISTER
	}
	st.retry(dialogue.Register)
	an.sendRegister(st)
	an.s.down.askForLife(st, r.tries, r.heard)
	an.s.down.pump(st)
	return ReasonNone
}

// registerUnanswered proceeds without REGACK where the device lives. The message that needs
// it is given up, one of QoS 1 or 2 after all repetitions once more. It returns why the device
// is lost, if it is.
func (an *announcer) registerUnanswered(st *step) (lost Reason) {
	r := an.reg
	switch {
	case !r.heard:
		return ReasonRetriesExhausted
	case r.tried:
		an.s.ids.topics.SetAnnounced(r.topicID, true)
	default:
		i := an.registered()
		if i >= 0 && an.s.down.queue.at(i).qos > 0 && r.count() < an.s.cfg.patience() {
			r.attempts, r.tries = attempts{before: r.count()}, 0
			r.retryAt = st.Now + an.s.cfg.RetryInterval
			st.retry(dialogue.Register)
			an.sendRegister(st)
			return ReasonNone
		}
		an.dropRegistered(st, ReasonRegisterUnanswered)
	}
	an.reg = nil
	an.s.down.pump(st)
	return ReasonNone
}

// dropRegistered gives up the message that the registration is for.
func (an *announcer) dropRegistered(st *step, why Reason) {
	if i := an.registered(); i >= 0 {
		m := an.s.down.queue.take(i)
		an.s.down.abandonMessage(st, &m, why)
	}
}

// registered finds the message that the registration is for; -1: it has gone.
func (an *announcer) registered() int {
	for i := range an.s.down.queue.len() {
		if m := an.s.down.queue.at(i); m.topic == an.reg.topic && !an.addressed(m) {
			return i
		}
	}
	return -1
}

// suspend ends the registration. It begins anew when deliveries proceed.
func (an *announcer) suspend() {
	r := an.reg
	if r == nil {
		return
	}
	for i := range an.s.down.queue.len() {
		if m := an.s.down.queue.at(i); m.topic == r.topic && r.phase == registering {
			an.s.down.tallies.of(m).registers = r.end()
			break
		}
	}
	an.reg = nil
}

func (an *announcer) onRegAck(st *step, m *dialogue.Message) {
	r := an.reg
	if r == nil || r.phase != registering || r.msgID != m.MsgID ||
		m.Code == dialogue.Accepted && m.TopicID != r.topicID && an.s.ids.topics.Doubtful(r.topicID) {
		st.drop(ReasonUnexpectedMessage)
		return
	}
	an.mute = false
	switch {
	case m.Code == dialogue.Accepted:
		an.s.ids.topics.SetAnnounced(r.topicID, true)
		an.s.ids.topics.Touch(r.topicID, st.Now)
		for i := range an.s.down.queue.len() {
			if m := an.s.down.queue.at(i); m.topic == r.topic && m.refusal == refusedID {
				m.refusal = toldAgain
			}
		}
		an.s.ids.storeTold(st, r.topicID)
	case m.Code == dialogue.Congestion && r.count() < an.s.cfg.patience():
		an.s.down.congested(st)
		return
	default:
		// It does not want the topic: the same as unsubscribing from it (section 6.10).
		an.dropRegistered(st, ReasonClientRejected)
	}
	an.reg = nil
	an.s.down.pump(st)
}

// know notes that the device knows an id, from REGACK or SUBACK or because it has used it.
// That answers a REGISTER of it as well.
func (an *announcer) know(id uint16) {
	an.s.ids.topics.SetAnnounced(id, true)
	if an.reg != nil && an.reg.phase != waiting && an.reg.topicID == id {
		an.reg = nil
	}
}

// topicStored sends the REGISTER that has waited for the store to have its id, unless an
// answer to the device has told it the id.
func (an *announcer) topicStored(st *step, id uint16) {
	if an.registering(id) && an.s.listening() {
		an.writeRegister(st)
	}
}

// refuseID notes that the device does not know an id. It is told by REGISTER.
func (an *announcer) refuseID(id uint16) {
	an.s.ids.topics.Refuse(id)
	if an.reg != nil && an.reg.tried && an.reg.topicID == id {
		an.reg = nil
	}
}

func (an *announcer) forget() { an.reg, an.mute = nil, false }

// noteReturn notes that the device may have been away, or begun anew.
func (an *announcer) noteReturn() {
	if an.reg != nil {
		an.reg.end()
	}
}

// noteLife notes that the device has said something, and not just come back.
func (an *announcer) noteLife() {
	if an.reg != nil {
		an.reg.heard = true
	}
}
