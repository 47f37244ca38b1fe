package session

import (
	"encoding/binary"
	"slices"
)

// Messages of the broker that the gateway answers for: those held in the store for a
// sleeping device, and QoS 2 exchanges over a restart.

// maxTaken bounds the QoS 2 messages of the broker that it has not released.
const maxTaken = 1024

func (m *outgoing) put(st *step) {
	st.put(RecordHeld, key32(m.number), appendMessage(make([]byte, 0, m.size()), m.qos, m.retain, m.topic, m.payload))
}

func (t *takenOver) put(st *step) {
	st.put(RecordExchange, key16(t.packetID), binary.BigEndian.AppendUint64(nil, t.sum))
}

// holdDurably has the messages held for a sleeping device stored, to acknowledge them
// to the broker: all of them, so that none of a later one comes before an earlier one.
func (s *Session) holdDurably(st *step) {
	if s.state != StateAsleep || s.durable == nil {
		return
	}
	for m := s.queue.unnumbered(); m != nil; m = s.queue.unnumbered() {
		if !st.HeldRoom || !s.storing(st) || m.qos == 2 && len(s.durable.taken) >= maxTaken {
			return // it stays the broker's
		}
		s.durable.lastHeld++
		m.number = s.durable.lastHeld
		m.put(st)
		if m.qos == 2 {
			s.take(st, m)
		}
		if m.qos == 2 && m.msgID != 0 { // it had been sent before it was held
			o := &s.durable.outgoing
			*o = outgoingRecord{msgID: m.msgID, packetID: m.packetID, number: m.number, sum: contentSum(m.topic, m.payload)}
			o.put(st)
		}
		s.whenStored(st, saving{kind: savingHeld, number: m.number})
	}
}

// onHeldStored acknowledges a held message to the broker, if it has not been delivered
// meanwhile.
func (s *Session) onHeldStored(st *step, v *saving, ok bool) {
	m := s.heldAs(v.number)
	switch {
	case m == nil:
	case !ok:
		s.queue.takeNumber(m)
		st.remove(RecordHeld, key32(v.number))
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
	if m.packetID == 0 || s.takenAs(t.packetID) >= 0 || len(s.durable.taken) >= maxTaken {
		return
	}
	s.durable.taken = append(s.durable.taken, t)
	t.put(st)
}

func (s *Session) takenAs(packetID uint16) int {
	if s.durable != nil {
		for i := range s.durable.taken {
			if s.durable.taken[i].packetID == packetID {
				return i
			}
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
	if ev.Dup && s.durable.taken[i].sum == contentSum(ev.Topic, ev.Payload) {
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
	if s.durable == nil || s.durable.outgoing.packetID != ev.PacketID {
		return true
	}
	return s.durable.outgoing.sum == contentSum(ev.Topic, ev.Payload)
}

// onReleased takes the broker's PUBREL. PUBCOMP lets the broker use the identifier for
// another message, so it waits until a restart would not take that for a repeat.
func (s *Session) onReleased(st *step, packetID uint16) {
	known := s.takenAs(packetID) >= 0
	s.release(st, packetID)
	if known && s.storing(st) {
		s.whenStored(st, saving{kind: savingComplete, id: packetID})
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
	return s.durable != nil && slices.ContainsFunc(s.durable.saving, func(v saving) bool { return v.kind == savingComplete })
}

// uncomplete drops the PUBCOMPs that wait for the store: the broker asks again in the next
// connection.
func (s *Session) uncomplete() {
	if s.durable != nil {
		s.durable.saving = slices.DeleteFunc(s.durable.saving, func(v saving) bool { return v.kind == savingComplete })
	}
}

// release forgets a packet identifier.
func (s *Session) release(st *step, packetID uint16) {
	i := s.takenAs(packetID)
	if i < 0 {
		return
	}
	d := s.durable
	if d.taken = append(d.taken[:i], d.taken[i+1:]...); len(d.taken) == 0 {
		d.taken = nil
	}
	st.remove(RecordExchange, key16(packetID))
}

// forgetTaken forgets the packet identifiers of a broker that has forgotten them: they
// are going to stand for other messages.
func (s *Session) forgetTaken(st *step) {
	s.delivery.msg.packetID = 0
	for i := s.queue.head; i < len(s.queue.msgs); i++ {
		s.queue.msgs[i].packetID = 0
	}
	if s.durable != nil && len(s.durable.taken) > 0 {
		s.durable.taken = nil
		st.removeAll(RecordExchange)
	}
}

// putOutgoing stores under which MsgId a QoS 2 message is going to be sent, so that the
// device knows it again after a restart.
func (s *Session) putOutgoing(st *step) {
	m := &s.delivery.msg
	s.delivery.phase, s.delivery.msgID = assigning, m.msgID
	s.durable.outgoing = outgoingRecord{msgID: m.msgID, packetID: m.packetID, number: m.number, sum: contentSum(m.topic, m.payload)}
	s.durable.outgoing.put(st)
	s.whenStored(st, saving{kind: savingOutgoing, msgID: m.msgID})
}

// onOutgoingStored sends the message. Without the record it is sent as well: only a
// restart in the middle of it could double it.
func (s *Session) onOutgoingStored(st *step, v *saving) {
	if s.delivery.phase != assigning || s.delivery.msgID != v.msgID {
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
	s.retryAt = Never
	s.durable.outgoing = outgoingRecord{msgID: d.msgID, releasing: true}
	s.durable.outgoing.put(st)
	if d.msg.handle != 0 {
		s.take(st, &d.msg)
	}
	if d.msg.number != 0 {
		st.remove(RecordHeld, key32(d.msg.number))
		d.msg.number = 0
	}
	s.whenStored(st, saving{kind: savingReleasing, msgID: d.msgID})
}

func (s *Session) onReleasingStored(st *step, v *saving) {
	if s.delivery.phase == recording && s.delivery.msgID == v.msgID {
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
	if s.durable != nil && s.durable.outgoing.msgID != 0 {
		s.durable.outgoing = outgoingRecord{}
		st.remove(RecordOutgoing, nil)
	}
}
