package session

import (
	"encoding/binary"
	"time"

	"sngate/snpacket/sn12"
)

// Whether the device is at the address that its datagrams claim to come from. Anybody
// can forge that of somebody else, subscribe, and have a stream of messages sent there.
// So until the address is proven, an account bounds what it is sent: three times what
// has come from there, in octets and in datagrams (the rule of QUIC, RFC 9000 section
// 8.1), one PINGREQ, and one datagram of at most offerLimit whose answer proves it. Answers
// always fit in. Messages wait when they do not: those of QoS 1 and 2 are held or stay with
// the broker, as for a device that is slow.
//
// What proves an address is an answer with a MsgId that was drawn for it, which who does
// not receive there cannot know: REGACK, PUBACK, PUBREC, PUBCOMP. PINGRESP has nothing in
// it that could not be forged. It counts only as the answer to a PINGREQ, once, and adds
// pingWorth to the account: whoever forges has to go on forging, at a bounded gain, and a
// device that only listens at QoS 0 goes on with its stream.

const (
	reachFactor = 3
	// pingWorth is what a PINGRESP adds to the account, in octets, and pingMessages in
	// datagrams.
	pingWorth    = 16 << 10
	pingMessages = 256
	// pingReserve of each is left for more PINGREQs, of two octets: while the network is away
	// for minutes, a device that has answered before must not become one that cannot.
	pingReserve = 64
	// maxGuesses bounds the answers with a wrong MsgId from an address that is not proven.
	// A device has a few left over from another address; who guesses needs 65,535.
	maxGuesses = 16
	// offerLimit bounds, in octets, the REGISTER or PUBLISH that an address is sent although
	// the account has no room for it: there are devices that answer those, and no PINGREQ.
	offerLimit = 256
	// offerPause is between two of them while no address has been proven. Or whoever forges one
	// address of a victim after the other would be given one for each PINGREQ of three octets.
	offerPause = 10 * time.Minute
)

// reach is the account of the device's address. What concerns any step may be called
// where there is none.
type reach struct {
	octets, datagrams int       // that may be sent there
	probed            bool      // the PINGREQ that is free has been sent
	offered           bool      // so has the REGISTER or PUBLISH
	offerAt           Time      // when the next address may be sent one, unless this one is proven
	asked             bool      // a PINGREQ has not been answered
	answered          bool      // one has been
	toldID            uint16    // MsgId of the REGISTER that has been sent to prove the address; 0: none
	silent            bool      // nothing has come since the repeats of the PINGREQ ended, or since the network has reported the address unreachable
	withheld          bool      // see withholds
	short             bool      // a message did not fit into the account
	low               bool      // one did, and leaves little
	deaf              bool      // a PINGREQ and its repeats have not been answered
	msgIDs            [2]uint16 // the last ones drawn for this address; 0: none
	wrong             int       // answers with another MsgId
	at                Time      // when the unanswered PINGREQ is repeated
	tries             int

	// Up to where the step's output has been charged.
	arena, ends int
}

// unproven returns the account of an address of which nothing is known.
func (s *Session) unproven() *reach {
	if !s.cfg.ProveAddress {
		return nil
	}
	r := &reach{at: Never}
	if s.reach != nil {
		r.offerAt = s.reach.offerAt
	}
	return r
}

// Proven reports whether the device has shown that it is where it says it is.
func (s *Session) Proven() bool { return s.cfg.ProveAddress && s.reach == nil }

// forgetAddress opens the account anew, in the middle of a step.
func (s *Session) forgetAddress(st *step) {
	s.reach = s.unproven()
	s.reach.beginStep(st.Out)
}

// beginStep notes where the output of a step begins.
func (r *reach) beginStep(out *Out) {
	if r != nil {
		r.arena, r.ends = len(out.arena), len(out.ends)
	}
}

// charge takes what the step has sent so far from the account.
func (r *reach) charge(out *Out) {
	if r == nil {
		return
	}
	r.octets -= len(out.arena) - r.arena
	r.datagrams -= len(out.ends) - r.ends
	r.beginStep(out)
}

// credit adds a datagram that has come from the address.
func (r *reach) credit(octets int) {
	if r != nil {
		r.octets += reachFactor * octets
		r.datagrams += reachFactor
		r.silent = false
	}
}

// drawn notes a MsgId that has been drawn.
func (r *reach) drawn(msgID uint16) {
	if r != nil {
		r.msgIDs = [2]uint16{msgID, r.msgIDs[0]}
	}
}

// deadline is when the unanswered PINGREQ is repeated.
func (r *reach) deadline() Time {
	if r == nil {
		return Never
	}
	return r.at
}

// affords reports whether a datagram of so many octets may be sent now.
func (s *Session) affords(st *step, octets int) bool {
	if s.reach == nil {
		return true
	}
	s.reach.charge(st.Out)
	return s.reach.octets >= octets && s.reach.datagrams > 0
}

// beginPump forgets that a message did not fit into the account.
func (r *reach) beginPump() {
	if r != nil {
		r.short = false
	}
}

func (r *reach) isShort() bool { return r != nil && r.short }

// reachable reports whether a message, or the REGISTER of its topic, may be sent to where
// the device is said to be, and has the address prove itself where that is needed.
func (s *Session) reachable(st *step, m *outgoing) bool {
	if s.reach == nil {
		return true
	}
	p := m.publish()
	size, proves := p.Len(), m.qos > 0
	if size > s.maxPacket(st) {
		return true // it is not going to be sent
	}
	if !s.addressed(m) {
		size, proves = sn12.Register{TopicName: []byte(m.topic)}.Len(), true
	}
	needed := size
	if s.reach.answered {
		needed += pingReserve
	}
	ok := s.affords(st, needed) || proves && s.offers(st.Now, size)
	low := s.reach.octets < pingWorth/2 || s.reach.datagrams < pingMessages/2
	if !ok || low && !proves && s.reach.answered {
		s.prove(st)
		ok = s.affords(st, needed)
	}
	s.reach.low, s.reach.short = ok && low && !proves, !ok
	return ok
}

// offers makes room in the account, once, for a REGISTER or a PUBLISH of QoS 1 or 2 of so
// many octets. A session whose device has never proven an address gets it now and then.
func (s *Session) offers(now Time, octets int) bool {
	r := s.reach
	if r.offered || r.silent || octets > offerLimit || now < r.offerAt {
		return false
	}
	r.offered, r.offerAt = true, now+offerPause
	r.octets, r.datagrams = max(r.octets, 0)+octets, max(r.datagrams, 0)+1
	return true
}

// proveSoon has the address prove itself behind the first message that asks for no answer:
// there are clients that want nothing between a SUBACK and the message it announces.
func (s *Session) proveSoon(st *step) {
	if s.reach != nil && s.reach.low {
		s.reach.low = false
		s.prove(st)
	}
}

// proving reports whether the answer to a PINGREQ is awaited.
func (s *Session) proving() bool { return s.reach.deadline() != Never }

// waitsForProof reports whether enough is held to stop reading from the broker while an
// active device is asked whether it is there: what comes behind is not dropped for the time
// of an answer, also of QoS 0. An answer of the broker may be behind it, and is read.
func (s *Session) waitsForProof(st *step, messages, octets int) bool {
	return s.proving() && s.state == StateActive && !s.awaiting() && (messages > s.cfg.MaxMessages/2 || octets > min(s.cfg.MaxBytes, st.Allowance)/2)
}

// withhold notes whether the first message of the queue is not sent to the address, and
// its device is not asked any more.
func (r *reach) withhold(st *step, withheld bool) {
	if r == nil {
		return
	}
	if withheld && !r.withheld {
		st.drop(ReasonAddressUnproven)
	}
	r.withheld = withheld
}

// withholds reports whether the device has not answered in time. Then reading goes on,
// or answers of the broker could not get through, and QoS 0 is dropped as for a sleeper.
func (s *Session) withholds() bool { return s.reach != nil && s.reach.withheld }

// prove sends PINGREQ to an address that is not proven. One is free, others have to be
// afforded.
func (s *Session) prove(st *step) {
	r := s.reach
	if s.proving() || r.silent || r.probed && !s.affords(st, pingLen) {
		return
	}
	r.tries, r.at = 0, st.Now+s.cfg.RetryInterval
	if !r.probed {
		r.octets, r.datagrams = r.octets+pingLen, r.datagrams+1
	}
	if r.probed = true; r.deaf { // repeats would use up what the messages need
		r.tries = s.cfg.RetryCount
	}
	s.sendPingReq(st)
	if r.answered { // it seems to be there, and is spared more of them
		s.tell(st)
	}
}

// pingLen is the length of a PINGREQ without client id.
const pingLen = 2

func (s *Session) sendPingReq(st *step) {
	if s.reach != nil {
		s.reach.asked = true
	}
	send(st, sn12.PingReq{})
}

// tell sends the id of the first message's topic again, which the device knows, for the
// MsgId in the answer. Not every device answers REGISTER, so nothing depends on it, and
// it is sent once.
func (s *Session) tell(st *step) bool {
	if s.reach.toldID != 0 || s.queue.len() == 0 || s.delivery.phase != idle || s.reg != nil { // one request at a time
		return false
	}
	topic := s.queue.at(0).topic
	id, ok := s.ids.topics.ID(topic)
	if !ok || !s.ids.topics.Announced(id) {
		return false
	}
	m := sn12.Register{TopicID: id, TopicName: []byte(topic)}
	if m.Len() > s.maxPacket(st) || !s.affords(st, m.Len()) && !s.offers(st.Now, m.Len()) {
		return false
	}
	m.MsgID = s.newMsgID()
	s.reach.toldID = m.MsgID
	send(st, m)
	return true
}

// proveAgain repeats an unanswered PINGREQ, as far as the account goes, or REGISTER in
// its place. A device that answers neither is not lost for it: it may be one that cannot.
// What it is sent stays bounded by what it sends.
func (s *Session) proveAgain(st *step) {
	r := s.reach
	r.at = Never
	if !s.listening() {
		return
	}
	if r.tries >= s.cfg.RetryCount {
		r.silent, r.deaf = !r.answered, true
		s.pump(st)
		return
	}
	r.tries++
	r.at = st.Now + s.cfg.RetryInterval
	if s.tell(st) {
		st.retry(sn12.TypeRegister)
		return
	}
	if s.affords(st, pingLen) {
		st.retry(sn12.TypePingReq)
		s.sendPingReq(st)
	}
}

// pinged takes a PINGRESP.
func (s *Session) pinged(st *step) {
	r := s.reach
	if r == nil || !r.asked {
		return
	}
	r.asked, r.deaf, r.answered, r.at = false, false, true, Never
	r.octets = max(r.octets, 0) + pingWorth
	r.datagrams = max(r.datagrams, 0) + pingMessages
	s.pump(st)
}

// weigh looks at the MsgId of an answer from an address that is not proven. It reports
// whether the answer is that to tell, of which nobody else knows.
func (s *Session) weigh(st *step, t sn12.Type, body []byte) bool {
	if s.reach == nil {
		return false
	}
	msgID := answeredMsgID(t, body)
	r := s.reach
	switch {
	case msgID == 0: // no answer to what has one
	case msgID != r.msgIDs[0] && msgID != r.msgIDs[1] && msgID != r.toldID:
		r.wrong++
	case r.wrong < maxGuesses:
		s.reach = nil
		s.journal.changed() // or it would be asked again after a restart
	}
	if t == sn12.TypeRegAck && msgID != 0 && msgID == r.toldID {
		s.pump(st)
		return true
	}
	return false
}

// answeredMsgID returns the MsgId of an answer to what the gateway sends; 0: it is none, or
// malformed. REGACK and PUBACK have a topic id before it.
func answeredMsgID(t sn12.Type, body []byte) uint16 {
	switch {
	case (t == sn12.TypeRegAck || t == sn12.TypePubAck) && len(body) == 5:
		return binary.BigEndian.Uint16(body[2:])
	case (t == sn12.TypePubRec || t == sn12.TypePubComp) && len(body) == 2:
		return binary.BigEndian.Uint16(body)
	}
	return 0
}

// sendWithheld goes on, when the device has spoken from an address that was not proven
// before, with what its account did not have room for.
func (s *Session) sendWithheld(st *step, bounded bool) {
	if !bounded || !s.listening() || s.proving() {
		return
	}
	if s.queue.len() > 0 || s.delivery.phase == releasing && !s.retry.runs() {
		s.resumeDelivery(st)
	}
}

// Unreachable says that the network has reported the device's address unreachable. That
// can be forged, and is believed of an address only that is not proven: then nothing is
// sent there that was not asked for, until somebody speaks from there again.
func (s *Session) Unreachable(env Env, out *Out) {
	st := &step{env, out}
	if s.reach == nil {
		return
	}
	r := s.reach
	r.beginStep(st.Out)
	r.octets, r.datagrams = min(r.octets, 0), min(r.datagrams, 0)
	r.probed, r.offered, r.silent, r.asked, r.at = true, true, true, false, Never
	r.withheld = true // that is said already
	st.drop(ReasonUnreachable)
	if s.connected() {
		s.suspendDelivery()
		s.pump(st)
	}
	s.finish(st)
}

// RestartMsgIDs sets what MsgIds towards the device count from. A shell passes a random
// number whenever the device may be somebody else than before: one that has had the
// session at another address knows which MsgIds come next.
func (s *Session) RestartMsgIDs(after uint16) { s.nextMsgID = after }

// size is the length of what repeatDelivery sends.
func (d *delivery) size() int {
	if d.phase == publishing {
		return d.msg.publish().Len()
	}
	return sn12.PubRel{}.Len()
}
