package session

import "sngate/gateway/session/dialogue"

// addressDeadline is when an unanswered question, whether the device is where it says it
// is, is due to be repeated.
func (ad *address) deadline() Time { return min(ad.reach.deadline(), ad.rival.deadline()) }

func (ad *address) advance(st *step) {
	if st.Now >= ad.reach.deadline() {
		ad.proveAgain(st)
	}
	if st.Now >= ad.rival.deadline() {
		ad.askRivalled(st)
	}
}

// unproven returns the account of an address of which nothing is known.
func (ad *address) unproven() *reach {
	if !ad.s.cfg.ProveAddress {
		return nil
	}
	r := &reach{at: Never}
	if ad.reach != nil {
		r.proofAt = ad.reach.proofAt
	}
	return r
}

// forgetAddress opens the account anew, in the middle of a step.
func (ad *address) forget(st *step) {
	ad.reach = ad.unproven()
	ad.reach.beginStep(st.Out)
}

// affords reports whether a datagram of so many octets may be sent now.
func (ad *address) affords(st *step, octets int) bool {
	if ad.reach == nil {
		return true
	}
	ad.reach.charge(st.Out)
	return ad.reach.octets >= octets && ad.reach.datagrams > 0
}

// reachable reports whether a message, or the REGISTER of its topic, may be sent to where
// the device is said to be, and has the address prove itself where that is needed.
func (ad *address) reachable(st *step, m *outgoing) bool {
	if ad.reach == nil {
		return true
	}
	size, proves := st.size(m.publish()), m.qos > 0
	if size > ad.s.down.maxPacket(st) {
		return true // it is not going to be sent
	}
	if !ad.s.announcer.addressed(m) {
		size, proves = st.size(dialogue.Message{Kind: dialogue.Register, Name: []byte(m.topic)}), true
	}
	needed := size
	if ad.reach.answered {
		needed += pingReserve
	}
	ok := ad.affords(st, needed) || proves && ad.admitProof(st.Now, size)
	low := ad.reach.octets < pingWorth/2 || ad.reach.datagrams < pingMessages/2
	if !ok || low && !proves && ad.reach.answered {
		ad.prove(st)
		ok = ad.affords(st, needed)
	}
	ad.reach.low, ad.reach.short = ok && low && !proves, !ok
	return ok
}

// admitProof makes room in the account, once, for a REGISTER or a PUBLISH of QoS 1 or 2 of so
// many octets: its answer proves the address. A session whose device has never proven one gets
// it every proofPause.
func (ad *address) admitProof(now Time, octets int) bool {
	r := ad.reach
	if r.proofSent || r.silent || octets > proofLimit || now < r.proofAt {
		return false
	}
	r.proofSent, r.proofAt = true, now+proofPause
	r.octets, r.datagrams = max(r.octets, 0)+octets, max(r.datagrams, 0)+1
	return true
}

// proveSoon has the address prove itself behind the first message that asks for no answer:
// there are clients that want nothing between a SUBACK and the message it announces.
func (ad *address) proveSoon(st *step) {
	if ad.reach != nil && ad.reach.low {
		ad.reach.low = false
		ad.prove(st)
	}
}

// proving reports whether the answer to a PINGREQ is awaited.
func (ad *address) proving() bool { return ad.reach.deadline() != Never }

// waitsForProof reports whether enough is held to stop reading from the broker while an
// active device is asked whether it is there: what comes behind is not dropped for the time
// of an answer, also of QoS 0. An answer of the broker may be behind it, and is read.
func (ad *address) waitsForProof(st *step, messages, octets int) bool {
	return ad.proving() && ad.s.state == StateActive && !ad.s.down.awaiting() && (messages > ad.s.cfg.MaxMessages/2 || octets > min(ad.s.cfg.MaxBytes, st.Allowance)/2)
}

// withholds reports whether the device has not answered in time. Then reading is resumed,
// or answers of the broker could not get through, and QoS 0 is dropped as for a sleeper.
func (ad *address) withholds() bool { return ad.reach != nil && ad.reach.withheld }

// prove sends PINGREQ to an address that is not proven. One is free, others have to be
// afforded.
func (ad *address) prove(st *step) {
	r := ad.reach
	if ad.proving() || r.silent || r.probed && !ad.affords(st, st.pingSize()) {
		return
	}
	r.tries, r.at = 0, st.Now+ad.s.cfg.RetryInterval
	if !r.probed {
		r.octets, r.datagrams = r.octets+st.pingSize(), r.datagrams+1
	}
	if r.probed = true; r.deaf { // repeats would use up what the messages need
		r.tries = ad.s.cfg.RetryCount
	}
	ad.sendPingReq(st)
	if r.answered { // it seems to be there, and is spared more of them
		ad.tell(st)
	}
}

func (ad *address) sendPingReq(st *step) {
	if ad.reach != nil {
		ad.reach.asked = true
	}
	send(st, dialogue.Message{Kind: dialogue.PingReq})
}

// tell sends the id of the first message's topic again, which the device knows, for the
// MsgId in the answer. Not every device answers REGISTER, so nothing depends on it, and
// it is sent once.
func (ad *address) tell(st *step) bool {
	if ad.reach.toldID != 0 || ad.s.down.queue.len() == 0 || ad.s.down.delivery.phase != idle || ad.s.announcer.reg != nil { // one request at a time
		return false
	}
	topic := ad.s.down.queue.at(0).topic
	id, ok := ad.s.ids.topics.ID(topic)
	if !ok || !ad.s.ids.topics.Announced(id) {
		return false
	}
	m := dialogue.Message{Kind: dialogue.Register, TopicID: id, Name: []byte(topic)}
	if n := st.size(m); n > ad.s.down.maxPacket(st) || !ad.affords(st, n) && !ad.admitProof(st.Now, n) {
		return false
	}
	m.MsgID = ad.s.down.newMsgID()
	ad.reach.toldID = m.MsgID
	send(st, m)
	return true
}

// proveAgain repeats an unanswered PINGREQ, as far as the account goes, or REGISTER in
// its place. A device that answers neither is not lost for it: it may be one that cannot.
// What it is sent stays bounded by what it sends.
func (ad *address) proveAgain(st *step) {
	r := ad.reach
	r.at = Never
	if !ad.s.listening() {
		return
	}
	if r.tries >= ad.s.cfg.RetryCount {
		r.silent, r.deaf = !r.answered, true
		ad.s.down.pump(st)
		return
	}
	r.tries++
	r.at = st.Now + ad.s.cfg.RetryInterval
	if ad.tell(st) {
		st.retry(dialogue.Register)
		return
	}
	if ad.affords(st, st.pingSize()) {
		st.retry(dialogue.PingReq)
		ad.sendPingReq(st)
	}
}

// pinged takes a PINGRESP.
func (ad *address) pinged(st *step) {
	r := ad.reach
	if r == nil || !r.asked {
		return
	}
	r.asked, r.deaf, r.answered, r.at = false, false, true, Never
	r.octets = max(r.octets, 0) + pingWorth
	r.datagrams = max(r.datagrams, 0) + pingMessages
	ad.s.down.pump(st)
}

// weigh looks at the MsgId of an answer from an address that is not proven. It reports
// whether the answer is that to tell, of which nobody else knows.
func (ad *address) weigh(st *step, m *dialogue.Message) bool {
	if ad.reach == nil {
		return false
	}
	msgID := answeredMsgID(m)
	r := ad.reach
	switch {
	case msgID == 0: // no answer to what has one
	case msgID != r.msgIDs[0] && msgID != r.msgIDs[1] && msgID != r.toldID:
		r.wrong++
	case r.wrong < maxGuesses:
		ad.reach = nil
		ad.s.journal.changed() // or it would be asked again after a restart
	}
	if m.Kind == dialogue.RegAck && msgID != 0 && msgID == r.toldID {
		ad.s.down.pump(st)
		return true
	}
	return false
}

// answeredMsgID returns the MsgId of an answer to what the gateway sends; 0: it is none, or
// malformed.
func answeredMsgID(m *dialogue.Message) uint16 {
	switch m.Kind {
	case dialogue.RegAck, dialogue.PubAck, dialogue.PubRec, dialogue.PubComp:
		return m.MsgID
	}
	return 0
}

// sendWithheld sends what the account had no room for, when the device has spoken from an
// address that was not proven before.
func (ad *address) sendWithheld(st *step, bounded bool) {
	if !bounded || !ad.s.listening() || ad.proving() {
		return
	}
	if ad.s.down.queue.len() > 0 || ad.s.down.delivery.phase == releasing && !ad.s.down.retry.runs() {
		ad.s.down.proceed(st)
	}
}

func (ad *address) begin() { ad.reach = ad.unproven() }

// end is forget for the end of a session: nobody contests it any more.
func (ad *address) end(st *step) {
	ad.forget(st)
	ad.rival = nil
}

// move opens the account anew between two steps, because the device is somewhere else.
func (ad *address) move() {
	at := ad.reach.deadline()
	if ad.reach, ad.rival = ad.unproven(), nil; ad.reach != nil {
		ad.reach.at = at // a wake that waits for it has to end
	}
}

// loadProven takes back from the store that the device is there.
func (ad *address) loadProven() { ad.reach = nil }

// unreachable is Session.Unreachable. It reports false if that is not believed.
func (ad *address) unreachable(st *step) bool {
	r := ad.reach
	if r == nil {
		return false
	}
	r.beginStep(st.Out)
	r.octets, r.datagrams = min(r.octets, 0), min(r.datagrams, 0)
	r.probed, r.proofSent, r.silent, r.asked, r.at = true, true, true, false, Never
	r.withheld = true // that is said already
	st.drop(ReasonUnreachable)
	if ad.s.connected() {
		ad.s.down.suspend()
		ad.s.down.pump(st)
	}
	return true
}

// askRivalled repeats the question, or takes silence for an answer.
func (ad *address) askRivalled(st *step) {
	r := ad.rival
	r.at = Never
	switch {
	case ad.s.state != StateActive:
	case r.tries >= ad.s.cfg.RetryCount:
		r.lost = true
	default:
		r.tries++
		r.at = st.Now + ad.s.cfg.RetryInterval
		ad.sendPingReq(st)
	}
}

// contested is Session.Contested.
func (ad *address) contested(st *step) bool {
	if ad.s.state != StateActive {
		return ad.s.state == StateAsleep && ad.reach != nil
	}
	if r := ad.rival; r != nil && st.Now >= r.at && r.tries >= ad.s.cfg.RetryCount {
		ad.askRivalled(st) // it is due, and may come behind this
	}
	if r := ad.rival; r != nil && (r.lost || st.Now < r.began+Time(ad.s.cfg.RetryCount+1)*ad.s.cfg.RetryInterval) {
		return r.lost
	}
	ad.reach.beginStep(st.Out)
	ad.rival = &rival{began: st.Now, at: st.Now + ad.s.cfg.RetryInterval}
	ad.sendPingReq(st)
	ad.reach.charge(st.Out)
	return false
}
