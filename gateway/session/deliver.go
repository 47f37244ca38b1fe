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
func (s *Session) onMessage(now Time, ev *Event, out *Out) {
	m := outgoing{topic: ev.Topic, payload: ev.Payload, handle: ev.Handle, packetID: ev.PacketID, qos: ev.QoS, retain: ev.Retain}
	if s.link.over() || s.draining() {
		s.leave(&m, ReasonSessionEnded, out)
		return
	}
	if s.isTaken(ev, out) {
		s.discard(&m, ReasonDuplicate, out)
		return
	}
	if ev.Oversize {
		s.discard(&m, ReasonTooLarge, out)
		return
	}
	if m.publish().Len() > s.maxPacket() {
		s.abandonMessage(&m, ReasonTooLarge, out)
		return
	}
	if s.wasSent(ev) {
		m.msgID = s.lastQoS2.msgID
	}
	if s.admit(&m, out) {
		s.queue.push(m)
	}
	s.holdDurably(out)
	s.pump(now, out)
}

// maxPacket is the longest message that may be sent to the device.
func (s *Session) maxPacket() int { return int(s.maxSize) - s.overhead }

// discard gives a message up for good: the broker must not send it again.
func (s *Session) discard(m *outgoing, why Reason, out *Out) {
	out.dropOf(why, m.topic, len(m.payload))
	s.acknowledge(m, out)
}

func (s *Session) acknowledge(m *outgoing, out *Out) {
	if m.handle != 0 {
		out.do(Action{Kind: ActionAck, Handle: m.handle})
		s.barrier.rounds = max(s.barrier.rounds, m.qos)
	}
	if m.number != 0 {
		out.remove(RecordHeld, key32(m.number))
	}
}

// leave forgets a message unacknowledged. Of QoS 1 and 2 the broker still has it, and
// it is no loss unless the broker's session ends as well.
func (s *Session) leave(m *outgoing, why Reason, out *Out) {
	if m.qos == 0 || !s.kept || m.saved {
		out.dropOf(why, m.topic, len(m.payload))
	}
	if m.number != 0 {
		out.remove(RecordHeld, key32(m.number))
		if m.qos == 2 && !m.saved {
			s.release(m.packetID, out) // not acknowledged: it is going to be sent again
		}
	}
}

// dropHeld forgets all messages held for the device, but for those that a session which
// is kept has in the store: nobody else has them.
func (s *Session) dropHeld(why Reason, out *Out) {
	var ours queue
	for s.queue.len() > 0 {
		if m := s.queue.pop(); m.saved && s.kept {
			ours.push(m)
		} else {
			s.leave(&m, why, out)
		}
	}
	s.queue = ours
	if s.paused {
		s.paused = false
		out.do(Action{Kind: ActionResume})
	}
	if !s.kept {
		s.delivery = delivery{}
	}
}

// pump sends the device what is held for it, as far as it may be sent now.
func (s *Session) pump(now Time, out *Out) {
	if !s.listening() {
		return
	}
	s.openGate(now, out)
	if s.barrier.token == 0 && !s.gated() {
		s.barrier.at = Never // the SUBACK has come
	}
	s.reach.beginPump()
	for s.delivery.phase == idle && s.resumeAt == Never && !s.tired() && !s.gated() && !s.reach.isShort() {
		i, ok := s.next(now, out)
		if !ok {
			break
		}
		if s.reachable(now, s.queue.at(i), out) {
			s.deliver(now, s.queue.take(i), out)
			s.proveSoon(now, out)
		}
	}
	withheld := s.reach.isShort() && !s.proving() // for the rest of this wake
	s.reach.withhold(withheld, out)
	if s.state == StateAwake && s.halted(withheld) {
		s.finishWake(now, out)
	}
}

// halted reports whether nothing can be sent in the rest of a wake.
func (s *Session) halted(withheld bool) bool {
	switch {
	case s.delivery.phase != idle:
		return false
	case s.queue.len() == 0, s.resumeAt != Never, s.tired(), withheld:
		return true
	}
	return s.gated() || s.reg != nil && s.reg.futile
}

// deliver starts the delivery of m.
func (s *Session) deliver(now Time, m outgoing, out *Out) {
	if why := s.undeliverable(&m); why != ReasonNone {
		s.abandonMessage(&m, why, out)
		return
	}
	s.delivery = delivery{msg: m}
	s.barrier.sent++
	d := &s.delivery
	d.idType, d.topicID, _ = s.address(m.topic)
	if t := s.tallyOf(&m); t != nil {
		d.before = t.sends
	}
	s.sendPublish(now, out)
}

// address chooses how the device is told the topic: by an id it has registered or been
// given, by a predefined id, or by its two octets.
func (s *Session) address(topic string) (sn12.TopicIDType, uint16, bool) {
	if id, ok := s.topics.ID(topic); ok && (s.topics.Announced(id) || s.reg != nil && s.reg.tried && s.reg.topicID == id) {
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

func (s *Session) sendPublish(now Time, out *Out) {
	d := &s.delivery
	if d.idType == sn12.TopicIDNormal {
		s.topics.Touch(d.topicID, now)
	}
	if d.msg.qos == 0 {
		s.writePublish(false, out)
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
		if !again && s.storing(out) {
			s.putOutgoing(out)
			return
		}
	}
	d.phase, d.msgID = publishing, d.msg.msgID
	s.writePublish(again, out)
	s.await(now)
}

func (s *Session) writePublish(dup bool, out *Out) {
	p := s.delivery.msg.publish()
	p.DUP = dup
	p.TopicIDType, p.TopicID, p.MsgID = s.delivery.idType, s.delivery.topicID, s.delivery.msg.msgID
	if dup {
		out.retry(sn12.TypePublish)
	}
	s.delivery.now = more(s.delivery.now, 1)
	send(out, p)
}

// newMsgID returns a MsgId that the device does not remember a QoS 2 exchange by.
func (s *Session) newMsgID() uint16 {
	for {
		s.nextMsgID++
		if s.nextMsgID != 0 && s.nextMsgID != s.lastQoS2.msgID && (s.durable == nil || s.nextMsgID != s.durable.outgoing.msgID) {
			s.reach.drawn(s.nextMsgID)
			return s.nextMsgID
		}
	}
}

// repeatDelivery sends the unanswered step again.
func (s *Session) repeatDelivery(now Time, out *Out) {
	d := &s.delivery
	switch d.phase {
	case publishing:
		if d.idType == sn12.TopicIDNormal {
			s.topics.Touch(d.topicID, now)
		}
		s.writePublish(true, out)
	case releasing:
		out.retry(sn12.TypePubRel)
		s.writePubRel(out)
	}
}

func (s *Session) writePubRel(out *Out) {
	s.delivery.now = more(s.delivery.now, 1)
	send(out, sn12.PubRel{MsgID: s.delivery.msgID})
}

// suspendDelivery stops the delivery in progress, to go on with resumeDelivery. A
// PUBLISH that was not answered goes back to the queue; once it was, only PUBREL is
// left to be sent.
func (s *Session) suspendDelivery() {
	s.retryAt = Never
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

func (s *Session) resumeDelivery(now Time, out *Out) {
	switch d := &s.delivery; {
	case d.phase != releasing || s.retryAt != Never || !s.listening():
	case d.count() >= s.cfg.patience():
		s.giveUpRelease(out)
	default:
		s.writePubRel(out)
		s.await(now)
	}
	s.pump(now, out)
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
func (s *Session) giveUp(why Reason, out *Out) {
	s.abandonMessage(&s.delivery.msg, why, out)
	s.finishDelivery()
}

// finishDelivery ends the delivery. Before its first message is sent, retryAt may be
// that of a probe.
func (s *Session) finishDelivery() {
	if s.delivery.phase != idle {
		s.retryAt = Never
	}
	s.delivery = delivery{}
}

// congested pauses all deliveries because the device asked for it (section 6.13.1). A
// device that wakes or connects meanwhile is ready again.
func (s *Session) congested(now Time, out *Out) {
	s.suspendRegistration()
	if s.delivery.phase != releasing {
		s.suspendDelivery()
	}
	s.resumeAt = now + s.cfg.CongestionWait
	s.pump(now, out)
}
