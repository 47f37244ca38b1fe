package session

import "encoding/binary"

// Messages of the broker that the gateway answers for: those held in the store for a
// sleeping device, and QoS 2 exchanges over a restart.

// maxTaken bounds the QoS 2 messages of the broker that it has not released.
const maxTaken = 1024

func (m *outgoing) put(st *step, j *journal) {
	j.put(st, RecordHeld, key32(m.number), appendMessage(make([]byte, 0, m.size()), m.qos, m.retain, m.topic, m.payload))
}

func (t *takenOver) put(st *step, j *journal) {
	j.put(st, RecordExchange, key16(t.packetID), binary.BigEndian.AppendUint64(nil, t.sum))
}

// holdDurably has the messages held for a sleeping device stored, to acknowledge them
// to the broker: all of them, so that none of a later one comes before an earlier one.
func (s *Session) holdDurably(st *step) {
	if s.state != StateAsleep {
		return
	}
	for m := s.queue.unnumbered(); m != nil; m = s.queue.unnumbered() {
		if !st.HeldRoom || !s.journal.takes(st) || m.qos == 2 && len(s.taken) >= maxTaken {
			return // it stays the broker's
		}
		s.lastHeld++
		m.number = s.lastHeld
		m.put(st, &s.journal)
		if m.qos == 2 {
			s.take(st, m)
		}
		if m.qos == 2 && m.msgID != 0 { // it had been sent before it was held
			o := &s.outgoing
			*o = outgoingRecord{msgID: m.msgID, packetID: m.packetID, number: m.number, sum: contentSum(m.topic, m.payload)}
			o.put(st, &s.journal)
		}
		s.after(st, refuseWhenDown, continuation{kind: thenAckHeld, number: m.number})
	}
}

// onHeldStored acknowledges a held message to the broker, if it has not been delivered
// meanwhile.
func (s *Session) onHeldStored(st *step, c *continuation, ok bool) {
	m := s.heldAs(c.number)
	switch {
	case m == nil:
	case !ok:
		s.queue.takeNumber(m)
		s.journal.remove(st, RecordHeld, key32(c.number))
		if m.qos == 2 {
			s.release(st, m.packetID)
		}
	default:
		m.saved = true
		if m.handle != 0 {
			st.do(Action{Kind: ActionAck, Handle: m.handle})
			s.barrier.rounds = max(s.barrier.rounds, m.qos)
			m.handle = 0
		}
	}
}

func (s *Session) heldAs(number uint32) *outgoing {
	if s.delivery.msg.number == number {
		return &s.delivery.msg
	}
	return s.queue.numberedAs(number)
}

// take notes that a QoS 2 message is ours now.
func (s *Session) take(st *step, m *outgoing) {
	t := takenOver{packetID: m.packetID, sum: contentSum(m.topic, m.payload)}
	if m.packetID == 0 || s.takenAs(t.packetID) >= 0 || len(s.taken) >= maxTaken {
		return
	}
	s.taken = append(s.taken, t)
	t.put(st, &s.journal)
}

func (s *Session) takenAs(packetID uint16) int {
	for i := range s.taken {
		if s.taken[i].packetID == packetID {
			return i
		}
	}
	return -1
}

// isTaken reports whether the broker sends a QoS 2 message again that it has been told is
// ours: it has not heard it. Another message with that packet identifier shows that it
// has. Of QoS 1 nothing is remembered: once it is acknowledged the identifier is free, and
// what comes with it may be another message with the same content.
func (s *Session) isTaken(st *step, ev *Event) bool {
	if ev.QoS != 2 {
		return false
	}
	i := s.takenAs(ev.PacketID)
	if i < 0 {
		return false
	}
	if ev.Dup && s.taken[i].sum == contentSum(ev.Topic, ev.Payload) {
		return true
	}
	s.release(st, ev.PacketID)
	return false
}

// wasSent reports whether a QoS 2 message that the broker sends again is the one that
// the device was being sent when the connection, or the gateway, went away.
func (s *Session) wasSent(ev *Event) bool {
	if ev.QoS != 2 || !ev.Dup || ev.PacketID != s.lastQoS2.packetID {
		return false
	}
	if s.outgoing.packetID != ev.PacketID {
		return true
	}
	return s.outgoing.sum == contentSum(ev.Topic, ev.Payload)
}

// onReleased takes the broker's PUBREL. PUBCOMP lets the broker use the identifier for
// another message, so it waits until a restart would not take that for a repeat.
func (s *Session) onReleased(st *step, packetID uint16) {
	known := s.takenAs(packetID) >= 0
	s.release(st, packetID)
	if known {
		s.after(st, goOnWhenDown, continuation{kind: thenPubComp, id: packetID})
		return
	}
	s.complete(st, packetID)
}

// complete has PUBCOMP sent, behind which the broker may go on. Where the connection has
// been given up meanwhile the broker asks again in the next one.
func (s *Session) complete(st *step, packetID uint16) {
	if s.link == linkUp {
		s.barrier.rounds = max(s.barrier.rounds, 1)
		st.do(Action{Kind: ActionComplete, PacketID: packetID})
	}
}

// completing reports whether a PUBCOMP waits for the store.
func (s *Session) completing() bool {
	return s.journal.awaits(thenPubComp)
}

// uncomplete drops the PUBCOMPs that wait for the store: the broker asks again in the next
// connection.
func (s *Session) uncomplete() {
	s.journal.forget(func(c *continuation) bool { return c.kind == thenPubComp })
}

// release forgets a packet identifier.
func (s *Session) release(st *step, packetID uint16) {
	i := s.takenAs(packetID)
	if i < 0 {
		return
	}
	if s.taken = append(s.taken[:i], s.taken[i+1:]...); len(s.taken) == 0 {
		s.taken = nil
	}
	s.journal.remove(st, RecordExchange, key16(packetID))
}

// forgetTaken forgets the packet identifiers of a broker that has forgotten them: they
// are going to stand for other messages. It reports whether there were any.
func (s *Session) forgetTaken(st *step) (any bool) {
	s.delivery.msg.packetID = 0
	for i := s.queue.head; i < len(s.queue.msgs); i++ {
		s.queue.msgs[i].packetID = 0
	}
	if s.outgoing.packetID != 0 {
		s.outgoing.packetID = 0
		s.outgoing.put(st, &s.journal)
		any = true
	}
	if len(s.taken) > 0 {
		s.taken = nil
		s.journal.removeAll(st, RecordExchange)
		any = true
	}
	return any
}

// putOutgoing stores under which MsgId a QoS 2 message is going to be sent, so that the
// device knows it again after a restart.
func (s *Session) putOutgoing(st *step) {
	m := &s.delivery.msg
	s.delivery.phase, s.delivery.msgID = assigning, m.msgID
	s.outgoing = outgoingRecord{msgID: m.msgID, packetID: m.packetID, number: m.number, sum: contentSum(m.topic, m.payload)}
	s.outgoing.put(st, &s.journal)
}

// onOutgoingStored sends the message. Without the record it is sent as well: only a
// restart in the middle of it could double it.
func (s *Session) onOutgoingStored(st *step, c *continuation) {
	if s.delivery.phase != assigning || s.delivery.msgID != c.msgID {
		return // suspended; its next PUBLISH has DUP
	}
	s.delivery.phase = publishing
	s.writePublish(st, false)
	s.await(st.Now)
}

// putReleasing stores that the device has a QoS 2 message, before the broker and the
// device are told.
func (s *Session) putReleasing(st *step) {
	d := &s.delivery
	d.phase = recording
	s.retry.stop()
	s.outgoing = outgoingRecord{msgID: d.msgID, releasing: true}
	s.outgoing.put(st, &s.journal)
	if d.msg.handle != 0 {
		s.take(st, &d.msg)
	}
	if d.msg.number != 0 {
		s.journal.remove(st, RecordHeld, key32(d.msg.number))
		d.msg.number = 0
	}
}

func (s *Session) onReleasingStored(st *step, c *continuation) {
	if s.delivery.phase == recording && s.delivery.msgID == c.msgID {
		s.released(st)
	}
}

// released goes on with PUBREL, and acknowledges to the broker what the device has.
func (s *Session) released(st *step) {
	d := &s.delivery
	s.acknowledge(st, &d.msg)
	s.lastQoS2 = exchange{}
	d.phase, d.attempts = releasing, attempts{}
	d.msg = outgoing{}
	if s.listening() {
		s.await(st.Now)
	}
	if s.connected() {
		s.writePubRel(st)
	}
	s.pump(st) // there may be room now to go on reading
}

func (s *Session) forgetOutgoing(st *step) {
	if s.outgoing.msgID != 0 {
		s.outgoing = outgoingRecord{}
		s.journal.remove(st, RecordOutgoing, nil)
	}
}
