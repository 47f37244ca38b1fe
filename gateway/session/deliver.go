package session

import (
	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// delivery is the message on its way to the device: one at a time (MQTT-SN 1.2 section
// 6.6, mirrored for the gateway).
type delivery struct {
	phase    phase
	idType   sn12.TopicIDType
	attempts // of PUBLISH, then of PUBREL
	msgID    uint16
	topicID  uint16
	msg      outgoing
}

// phase is what the device's answer is awaited for.
type phase uint8

const (
	idle       phase = iota
	publishing       // PUBLISH of QoS 1 or 2
	releasing        // PUBREL

	// What the store's answer is awaited for.
	assigning // the MsgId; then PUBLISH of QoS 2
	recording // that PUBREC has come; then PUBREL
)

// exchange remembers under which MsgId a QoS 2 message of the broker was sent to the
// device, until it is acknowledged, so that the broker's redelivery of it does not look new to the device.
type exchange struct {
	packetID uint16 // 0: none
	msgID    uint16
}

// onMessage takes a message of the broker for the device.
func (s *Session) onMessage(st *step, ev *Event) {
	m := outgoing{topic: ev.Topic, payload: ev.Payload, handle: ev.Handle, packetID: ev.PacketID, qos: ev.QoS, retain: ev.Retain}
	if s.link.over() || s.draining() {
		s.leave(st, &m, ReasonSessionEnded)
		return
	}
	if s.isTaken(st, ev) {
		s.discard(st, &m, ReasonDuplicate)
		return
	}
	if ev.Oversize {
		s.discard(st, &m, ReasonTooLarge)
		return
	}
	if m.publish().Len() > s.maxPacket(st) {
		s.abandonMessage(st, &m, ReasonTooLarge)
		return
	}
	if s.wasSent(ev) {
		m.msgID = s.lastQoS2.msgID
	}
	if s.admit(st, &m) {
		s.queue.push(m)
	}
	s.holdDurably(st)
	s.pump(st)
}

// maxPacket is the longest message that may be sent to the device.
func (s *Session) maxPacket(st *step) int { return int(s.maxSize) - st.Overhead }

// discard gives a message up for good: the broker must not send it again.
func (s *Session) discard(st *step, m *outgoing, why Reason) {
	st.dropOf(why, m.topic, len(m.payload))
	s.acknowledge(st, m)
}

func (s *Session) acknowledge(st *step, m *outgoing) {
	if m.handle != 0 {
		st.do(Action{Kind: ActionAck, Handle: m.handle})
		s.barrier.rounds = max(s.barrier.rounds, m.qos)
	}
	if m.number != 0 {
		s.journal.remove(st, RecordHeld, key32(m.number))
	}
}

// leave forgets a message unacknowledged. Of QoS 1 and 2 the broker still has it, and
// it is no loss unless the broker's session ends as well.
func (s *Session) leave(st *step, m *outgoing, why Reason) {
	if m.qos == 0 || !s.kept || m.saved {
		st.dropOf(why, m.topic, len(m.payload))
	}
	if m.number != 0 {
		s.journal.remove(st, RecordHeld, key32(m.number))
		if m.qos == 2 && !m.saved {
			s.release(st, m.packetID) // not acknowledged: it is going to be sent again
		}
	}
}

// dropHeld forgets all messages held for the device, but for those that a session which
// is kept has in the store: nobody else has them.
func (s *Session) dropHeld(st *step, why Reason) {
	var ours queue
	for s.queue.len() > 0 {
		if m := s.queue.pop(); m.saved && s.kept {
			ours.push(m)
		} else {
			s.leave(st, &m, why)
		}
	}
	s.queue = ours
	if s.paused {
		s.paused = false
		st.do(Action{Kind: ActionResume})
	}
	if !s.kept {
		s.delivery = delivery{}
	}
}

// pump sends the device what is held for it, as far as it may be sent now.
func (s *Session) pump(st *step) {
	if !s.listening() {
		return
	}
	s.openGate(st)
	if s.barrier.token == 0 && !s.gated(st) {
		s.barrier.at = Never // the SUBACK has come
	}
	s.reach.beginPump()
	for s.delivery.phase == idle && s.resumeAt == Never && !s.tired() && !s.gated(st) && !s.reach.isShort() {
		i, ok := s.next(st)
		if !ok {
			break
		}
		if s.reachable(st, s.queue.at(i)) {
			s.deliver(st, s.queue.take(i))
			s.proveSoon(st)
		}
	}
	withheld := s.reach.isShort() && !s.proving() // for the rest of this wake
	s.reach.withhold(st, withheld)
	if s.state == StateAwake && s.halted(st, withheld) {
		s.finishWake(st)
	}
}

// halted reports whether nothing can be sent in the rest of a wake.
func (s *Session) halted(st *step, withheld bool) bool {
	switch {
	case s.delivery.phase != idle:
		return false
	case s.queue.len() == 0, s.resumeAt != Never, s.tired(), withheld:
		return true
	}
	return s.gated(st) || s.reg != nil && s.reg.futile
}

// deliver starts the delivery of m.
func (s *Session) deliver(st *step, m outgoing) {
	if why := s.undeliverable(st, &m); why != ReasonNone {
		s.abandonMessage(st, &m, why)
		return
	}
	s.delivery = delivery{msg: m}
	s.barrier.sent++
	d := &s.delivery
	d.idType, d.topicID, _ = s.address(m.topic)
	if t := s.tallyOf(&m); t != nil {
		d.before = t.sends
	}
	s.sendPublish(st)
}

// address chooses how the device is told the topic: by an id it has registered or been
// given, by a predefined id, or by its two octets.
func (s *Session) address(topic string) (sn12.TopicIDType, uint16, bool) {
	if id, ok := s.ids.topics.ID(topic); ok && (s.ids.topics.Announced(id) || s.reg != nil && s.reg.tried && s.reg.topicID == id) {
		return sn12.TopicIDNormal, id, true
	}
	if id, ok := s.cfg.Predefined.ID(s.clientID, topic); ok {
		return sn12.TopicIDPredefined, id, true
	}
	if len(topic) == 2 && topicreg.ValidShort([2]byte{topic[0], topic[1]}) == nil {
		return sn12.TopicIDShort, sn12.ShortID(topic), true
	}
	return 0, 0, false
}

func (s *Session) sendPublish(st *step) {
	d := &s.delivery
	if d.idType == sn12.TopicIDNormal {
		s.ids.topics.Touch(d.topicID, st.Now)
	}
	if d.msg.qos == 0 {
		s.writePublish(st, false)
		s.forgetTally(&d.msg)
		s.delivery = delivery{}
		return
	}
	again := d.msg.msgID != 0
	if !again {
		d.msg.msgID = s.newMsgID()
	}
	if d.msg.qos == 2 {
		s.lastQoS2 = exchange{packetID: d.msg.packetID, msgID: d.msg.msgID}
		if !again && s.journal.wait(st, goOnWhenDown, continuation{kind: thenPublish, msgID: d.msg.msgID}) {
			s.putOutgoing(st)
			return
		}
	}
	d.phase, d.msgID = publishing, d.msg.msgID
	s.writePublish(st, again)
	s.await(st.Now)
}

func (s *Session) writePublish(st *step, dup bool) {
	p := s.delivery.msg.publish()
	p.DUP = dup
	p.TopicIDType, p.TopicID, p.MsgID = s.delivery.idType, s.delivery.topicID, s.delivery.msg.msgID
	if dup {
		st.retry(sn12.TypePublish)
	}
	s.delivery.now = more(s.delivery.now, 1)
	send(st, p)
}

// newMsgID returns a MsgId that the device does not remember a QoS 2 exchange by.
func (s *Session) newMsgID() uint16 {
	for {
		s.nextMsgID++
		if s.nextMsgID != 0 && s.nextMsgID != s.lastQoS2.msgID && s.nextMsgID != s.outgoing.msgID {
			s.reach.drawn(s.nextMsgID)
			return s.nextMsgID
		}
	}
}

// repeatDelivery sends the unanswered step again.
func (s *Session) repeatDelivery(st *step) {
	d := &s.delivery
	switch d.phase {
	case publishing:
		if d.idType == sn12.TopicIDNormal {
			s.ids.topics.Touch(d.topicID, st.Now)
		}
		s.writePublish(st, true)
	case releasing:
		st.retry(sn12.TypePubRel)
		s.writePubRel(st)
	}
}

func (s *Session) writePubRel(st *step) {
	s.delivery.now = more(s.delivery.now, 1)
	send(st, sn12.PubRel{MsgID: s.delivery.msgID})
}

// suspendDelivery stops the delivery in progress, to go on with resumeDelivery. A
// PUBLISH that was not answered goes back to the queue; once it was, only PUBREL is
// left to be sent.
func (s *Session) suspendDelivery() {
	s.retry.stop()
	s.probe.stop()
	s.suspendRegistration()
	for i := range s.queue.len() {
		s.queue.at(i).refusal = unrefused // the device may refuse an id once more
	}
	d := &s.delivery
	d.msg.refusal = unrefused
	switch d.phase {
	case assigning:
		// Not sent yet, and perhaps not in the store.
		d.msg.msgID, s.lastQoS2 = 0, exchange{}
	case publishing:
		s.tally(&d.msg).sends = d.end()
	case releasing:
		d.end()
		return
	default:
		return
	}
	s.queue.unpop(d.msg)
	s.delivery = delivery{}
}

func (s *Session) resumeDelivery(st *step) {
	switch d := &s.delivery; {
	case d.phase != releasing || s.retry.runs() || !s.listening():
	case d.count() >= s.cfg.patience():
		s.giveUpRelease(st)
	default:
		s.writePubRel(st)
		s.await(st.Now)
	}
	s.pump(st)
}

// recall takes a PUBLISH that was suspended back from the queue because its answer has
// come after all. Sent once more, a QoS 2 message would be a second one for a device
// that has been told to release the first.
func (s *Session) recall(msgID uint16, qos uint8) {
	if s.delivery.phase != idle || msgID == 0 {
		return
	}
	for i := range s.queue.len() {
		if m := s.queue.at(i); m.msgID == msgID && m.qos == qos {
			s.delivery = delivery{phase: publishing, msgID: msgID, msg: s.queue.take(i)}
			return
		}
	}
}

// giveUp ends the delivery without success.
func (s *Session) giveUp(st *step, why Reason) {
	s.abandonMessage(st, &s.delivery.msg, why)
	s.finishDelivery()
}

// finishDelivery ends the delivery.
func (s *Session) finishDelivery() {
	s.retry.stop()
	s.delivery = delivery{}
}

// congested pauses all deliveries because the device asked for it (section 6.13.1). A
// device that wakes or connects meanwhile is ready again.
func (s *Session) congested(st *step) {
	s.suspendRegistration()
	if s.delivery.phase != releasing {
		s.suspendDelivery()
	}
	s.resumeAt = st.Now + s.cfg.CongestionWait
	s.pump(st)
}
