package session

import (
	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// delivery is the message on its way to the device: one at a time (MQTT-SN 1.2 section
// 6.6, mirrored for the gateway).
type delivery struct {
	phase    phase
	register bool // the device has refused the id: give it a registered one
	msgID    uint16
	idType   sn12.TopicIDType
	topicID  uint16
	msg      outgoing
}

// phase is what the device's answer is awaited for.
type phase uint8

const (
	idle        phase = iota
	registering       // REGISTER
	publishing        // PUBLISH of QoS 1 or 2
	releasing         // PUBREL

	// What the store's answer is awaited for.
	allotting // the topic id; then REGISTER
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
	if ev.Oversize || m.publish().Len() > s.maxPacket() {
		s.discard(&m, ReasonTooLarge, out)
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
func (s *Session) maxPacket() int { return s.cfg.MaxPacketSize - s.overhead }

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
	withheld := false
	for s.delivery.phase == idle && s.queue.len() > 0 && s.resumeAt == Never && !s.tired() && !s.gated() && !withheld {
		if withheld = !s.reachable(now, out); !withheld {
			s.deliver(now, s.queue.pop(), out)
		}
	}
	withheld = withheld && !s.proving() // for the rest of this wake
	s.reach.withhold(withheld)
	if s.state == StateAwake && s.delivery.phase == idle && (s.queue.len() == 0 || s.resumeAt != Never || s.tired() || s.gated() || withheld) {
		s.finishWake(now, out)
	}
}

// deliver starts the delivery of m, with a REGISTER where the device has no id for its
// topic yet.
func (s *Session) deliver(now Time, m outgoing, out *Out) {
	if m.publish().Len() > s.maxPacket() { // it was shorter where the device was before
		s.discard(&m, ReasonTooLarge, out)
		return
	}
	s.delivery = delivery{msg: m}
	s.barrier.sent++
	d := &s.delivery
	var ok bool
	if d.idType, d.topicID, ok = s.address(m.topic); ok {
		s.sendPublish(now, out)
		return
	}
	s.sendRegister(now, out)
}

// address chooses how the device is told the topic: by an id it has registered or been
// given, by a predefined id, or by its two octets.
func (s *Session) address(topic string) (sn12.TopicIDType, uint16, bool) {
	if id, ok := s.topics.ID(topic); ok && s.topics.Announced(id) {
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

// sendRegister tells the device the id of the topic before its first message (section
// 6.10). "The gateway silently gives up" a REGISTER that is too long.
func (s *Session) sendRegister(now Time, out *Out) {
	d := &s.delivery
	id, known := s.topics.ID(d.msg.topic)
	ok := known
	if !known && s.durable != nil && !s.storing(out) {
		s.waitForStore(now, out)
		return
	}
	if !known && !s.mayKeep(len(d.msg.topic)+topicOverhead, out) {
		s.waitForRoom(now, out)
		return
	}
	if !known {
		id, ok = s.newID(d.msg.topic)
	}
	switch {
	case !ok:
		s.giveUp(ReasonTopicsFull, out)
		return
	case sn12.Register{TopicName: []byte(d.msg.topic)}.Len() > s.maxPacket():
		s.giveUp(ReasonTooLarge, out)
		return
	}
	d.phase, d.idType, d.topicID = allotting, sn12.TopicIDNormal, id
	switch {
	case !known && s.durable != nil:
		s.putTopic(id, false, out)
		s.whenStored(saving{kind: savingAllotment, id: id, allots: true}, out)
	case s.allotment(id) != nil: // goes on with that
	default:
		s.writeRegister(now, out)
	}
}

func (s *Session) writeRegister(now Time, out *Out) {
	d := &s.delivery
	d.phase, d.msgID = registering, s.newMsgID()
	send(out, sn12.Register{TopicID: d.topicID, MsgID: d.msgID, TopicName: []byte(d.msg.topic)})
	s.await(now)
}

func (s *Session) sendPublish(now Time, out *Out) {
	d := &s.delivery
	if d.msg.qos == 0 {
		s.writePublish(false, out)
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
func (s *Session) repeatDelivery(out *Out) {
	d := &s.delivery
	switch d.phase {
	case registering:
		out.retry(sn12.TypeRegister)
		send(out, sn12.Register{TopicID: d.topicID, MsgID: d.msgID, TopicName: []byte(d.msg.topic)})
	case publishing:
		s.writePublish(true, out)
	case releasing:
		out.retry(sn12.TypePubRel)
		send(out, sn12.PubRel{MsgID: d.msgID})
	}
}

// suspendDelivery stops the delivery in progress, to go on with resumeDelivery. A
// PUBLISH that was not answered goes back to the queue; once it was, only PUBREL is
// left to be sent.
func (s *Session) suspendDelivery() {
	s.retryAt = Never
	switch s.delivery.phase {
	case assigning:
		// Not sent yet, and perhaps not in the store.
		s.delivery.msg.msgID, s.lastQoS2 = 0, exchange{}
		fallthrough
	case allotting, registering, publishing:
		s.queue.unpop(s.delivery.msg)
		s.delivery = delivery{}
	}
}

func (s *Session) resumeDelivery(now Time, out *Out) {
	if s.delivery.phase == releasing && s.retryAt == Never && s.listening() {
		send(out, sn12.PubRel{MsgID: s.delivery.msgID})
		s.await(now)
	}
	s.pump(now, out)
}

// recall takes a PUBLISH that was suspended back from the queue because its answer has
// come after all. Sent once more, a QoS 2 message would be a second one for a device
// that has been told to release the first.
func (s *Session) recall(msgID uint16, qos uint8) {
	if s.delivery.phase != idle || s.queue.len() == 0 || msgID == 0 {
		return
	}
	if m := &s.queue.msgs[s.queue.head]; m.msgID == msgID && m.qos == qos {
		s.delivery = delivery{phase: publishing, msgID: msgID, msg: s.queue.pop()}
	}
}

// giveUp ends the delivery without success.
func (s *Session) giveUp(why Reason, out *Out) {
	s.discard(&s.delivery.msg, why, out)
	if s.delivery.msg.qos == 2 {
		s.lastQoS2 = exchange{}
		s.forgetOutgoing(out)
	}
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
	if s.delivery.phase != releasing {
		s.suspendDelivery()
	}
	s.resumeAt = now + s.cfg.CongestionWait
	s.pump(now, out)
}
