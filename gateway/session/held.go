package session

import (
	"encoding/binary"
	"slices"
)

// Messages of the broker that the gateway answers for: those held in the store for a
// sleeping device, and QoS 2 exchanges over a restart.

// maxTaken bounds the QoS 2 messages of the broker that it has not released.
const maxTaken = 1024

func (m *outgoing) put(out *Out) {
	out.put(RecordHeld, key32(m.number), appendMessage(make([]byte, 0, m.size()), m.qos, m.retain, m.topic, m.payload))
}

func (t *takenOver) put(out *Out) {
	out.put(RecordExchange, key16(t.packetID), binary.BigEndian.AppendUint64(nil, t.sum))
}

// holdDurably has the messages held for a sleeping device stored, to acknowledge them
// to the broker: all of them, so that none of a later one comes before an earlier one.
func (s *Session) holdDurably(out *Out) {
	if s.state != StateAsleep || s.durable == nil {
		return
	}
	for i := s.queue.head; i < len(s.queue.msgs); i++ {
		m := &s.queue.msgs[i]
		if m.qos == 0 || m.number != 0 {
			continue
		}
		if out.HeldFull || !s.storing(out) || m.qos == 2 && len(s.durable.taken) >= maxTaken {
			return // it stays the broker's
		}
		s.durable.lastHeld++
		m.number = s.durable.lastHeld
		m.put(out)
		if m.qos == 2 {
			s.take(m, out)
		}
		if m.qos == 2 && m.msgID != 0 { // it had been sent before it was held
			o := &s.durable.outgoing
			*o = outgoingRecord{msgID: m.msgID, packetID: m.packetID, number: m.number, sum: contentSum(m.topic, m.payload)}
			o.put(out)
		}
		s.whenStored(saving{kind: savingHeld, number: m.number}, out)
	}
}

// onHeldStored acknowledges a held message to the broker, if it has not been delivered
// meanwhile.
func (s *Session) onHeldStored(v *saving, ok bool, out *Out) {
	m := s.heldAs(v.number)
	switch {
	case m == nil:
	case !ok:
		m.number = 0
		out.remove(RecordHeld, key32(v.number))
		if m.qos == 2 {
			s.release(m.packetID, out)
		}
	default:
		m.saved = true
		if m.handle != 0 {
			out.do(Action{Kind: ActionAck, Handle: m.handle})
			s.barrier.rounds = max(s.barrier.rounds, m.qos)
			m.handle = 0
		}
	}
}

func (s *Session) heldAs(number uint32) *outgoing {
	if s.delivery.msg.number == number {
		return &s.delivery.msg
	}
	for i := s.queue.head; i < len(s.queue.msgs); i++ {
		if m := &s.queue.msgs[i]; m.number == number {
			return m
		}
	}
	return nil
}

// take notes that a QoS 2 message is ours now.
func (s *Session) take(m *outgoing, out *Out) {
	t := takenOver{packetID: m.packetID, sum: contentSum(m.topic, m.payload)}
	if m.packetID == 0 || s.takenAs(t.packetID) >= 0 || len(s.durable.taken) >= maxTaken {
		return
	}
	s.durable.taken = append(s.durable.taken, t)
	t.put(out)
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
func (s *Session) isTaken(ev *Event, out *Out) bool {
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
	s.release(ev.PacketID, out)
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
func (s *Session) onReleased(packetID uint16, out *Out) {
	known := s.takenAs(packetID) >= 0
	s.release(packetID, out)
	if known && s.storing(out) {
		s.whenStored(saving{kind: savingComplete, id: packetID}, out)
		return
	}
	s.complete(packetID, out)
}

// complete has PUBCOMP sent, behind which the broker may go on. Where the connection has
// been given up meanwhile the broker asks again in the next one.
func (s *Session) complete(packetID uint16, out *Out) {
	if s.link == linkUp {
		s.barrier.rounds = max(s.barrier.rounds, 1)
		out.do(Action{Kind: ActionComplete, PacketID: packetID})
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
func (s *Session) release(packetID uint16, out *Out) {
	i := s.takenAs(packetID)
	if i < 0 {
		return
	}
	d := s.durable
	if d.taken = append(d.taken[:i], d.taken[i+1:]...); len(d.taken) == 0 {
		d.taken = nil
	}
	out.remove(RecordExchange, key16(packetID))
}

// forgetTaken forgets the packet identifiers of a broker that has forgotten them: they
// are going to stand for other messages.
func (s *Session) forgetTaken(out *Out) {
	s.delivery.msg.packetID = 0
	for i := s.queue.head; i < len(s.queue.msgs); i++ {
		s.queue.msgs[i].packetID = 0
	}
	if s.durable != nil && len(s.durable.taken) > 0 {
		s.durable.taken = nil
		out.removeAll(RecordExchange)
	}
}

// putOutgoing stores under which MsgId a QoS 2 message is going to be sent, so that the
// device knows it again after a restart.
func (s *Session) putOutgoing(out *Out) {
	m := &s.delivery.msg
	s.delivery.phase, s.delivery.msgID = assigning, m.msgID
	s.durable.outgoing = outgoingRecord{msgID: m.msgID, packetID: m.packetID, number: m.number, sum: contentSum(m.topic, m.payload)}
	s.durable.outgoing.put(out)
	s.whenStored(saving{kind: savingOutgoing, msgID: m.msgID}, out)
}

// onOutgoingStored sends the message. Without the record it is sent as well: only a
// restart in the middle of it could double it.
func (s *Session) onOutgoingStored(now Time, v *saving, out *Out) {
	if s.delivery.phase != assigning || s.delivery.msgID != v.msgID {
		return // suspended; its next PUBLISH has DUP
	}
	s.delivery.phase = publishing
	s.writePublish(false, out)
	s.await(now)
}

// putReleasing stores that the device has a QoS 2 message, before the broker and the
// device are told.
func (s *Session) putReleasing(out *Out) {
	d := &s.delivery
	d.phase = recording
	s.retryAt = Never
	s.durable.outgoing = outgoingRecord{msgID: d.msgID, releasing: true}
	s.durable.outgoing.put(out)
	if d.msg.handle != 0 {
		s.take(&d.msg, out)
	}
	if d.msg.number != 0 {
		out.remove(RecordHeld, key32(d.msg.number))
		d.msg.number = 0
	}
	s.whenStored(saving{kind: savingReleasing, msgID: d.msgID}, out)
}

func (s *Session) onReleasingStored(now Time, v *saving, out *Out) {
	if s.delivery.phase == recording && s.delivery.msgID == v.msgID {
		s.released(now, out)
	}
}

// released goes on with PUBREL, and acknowledges to the broker what the device has.
func (s *Session) released(now Time, out *Out) {
	d := &s.delivery
	s.acknowledge(&d.msg, out)
	s.lastQoS2 = exchange{}
	d.phase, d.attempts = releasing, attempts{}
	d.msg = outgoing{}
	if s.listening() {
		s.await(now)
	}
	if s.connected() {
		s.writePubRel(out)
	}
	s.pump(now, out) // there may be room now to go on reading
}

func (s *Session) forgetOutgoing(out *Out) {
	if s.durable != nil && s.durable.outgoing.msgID != 0 {
		s.durable.outgoing = outgoingRecord{}
		out.remove(RecordOutgoing, nil)
	}
}
