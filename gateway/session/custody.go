package session

import (
	"encoding/binary"
	"hash/crc32"

	"sngate/internal/binrec"
)

// exchange remembers under which MsgId a QoS 2 message of the broker was sent to the
// device, until it is acknowledged, so that the broker's redelivery of it does not look new to the device.
type exchange struct {
	packetID uint16 // 0: none
	msgID    uint16
	sum      uint64 // of the contents: an identifier may have come to mean something else unseen
}

// takenOver names a QoS 2 message of the broker that the broker has been told about and
// has not released: its redelivery is none.
type takenOver struct {
	packetID uint16
	sum      uint64
}

// outgoingRecord names the QoS 2 delivery to the device that is in progress.
type outgoingRecord struct {
	msgID     uint16
	packetID  uint16 // of the broker; 0: the message is held here
	number    uint32 // of RecordHeld; 0: the message is the broker's
	sum       uint64
	releasing bool
}

// contentSum tells a redelivery from another message with the same packet identifier.
func contentSum(topic string, payload []byte) uint64 {
	return uint64(crc32.ChecksumIEEE([]byte(topic)))<<32 | uint64(crc32.ChecksumIEEE(payload))
}

// custody is what the gateway answers for of messages of the broker: those held in the store,
// and QoS 2 exchanges over the loss of a connection or a restart.
type custody struct {
	s *Session

	taken    []takenOver    // QoS 2 messages of the broker that are acknowledged, until its PUBREL
	outgoing outgoingRecord // as in the store; msgID 0: none
	lastQoS2 exchange       // the last QoS 2 delivery, for its redelivery by the broker
	lastHeld uint32         // number of the newest RecordHeld
}

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
func (cu *custody) holdDurably(st *step) {
	if cu.s.state != StateAsleep {
		return
	}
	for m := cu.s.down.queue.unnumbered(); m != nil; m = cu.s.down.queue.unnumbered() {
		if !st.HeldRoom || !cu.s.journal.takes(st) || m.qos == 2 && len(cu.taken) >= maxTaken {
			return // it stays the broker's
		}
		cu.lastHeld++
		m.number, m.keeper = cu.lastHeld, storing
		m.put(st, &cu.s.journal)
		if m.qos == 2 {
			cu.take(st, m)
		}
		if m.qos == 2 && m.msgID != 0 { // it had been sent before it was held
			o := &cu.outgoing
			*o = outgoingRecord{msgID: m.msgID, packetID: m.packetID, number: m.number, sum: contentSum(m.topic, m.payload)}
			o.put(st, &cu.s.journal)
		}
		cu.s.after(st, refuseWhenDown, continuation{kind: thenAckHeld, number: m.number})
	}
}

// onHeldStored acknowledges a held message to the broker, if it has not been delivered
// meanwhile.
func (cu *custody) onHeldStored(st *step, c *continuation, ok bool) {
	m := cu.heldAs(c.number)
	switch {
	case m == nil:
	case !ok:
		cu.s.down.queue.takeNumber(m)
		cu.s.journal.remove(st, RecordHeld, key32(c.number))
		cu.notHeld(st, c.number)
		if m.qos == 2 {
			cu.release(st, m.packetID)
		}
	default:
		m.keeper = ours
		if m.handle != 0 {
			st.do(Action{Kind: ActionAck, Handle: m.handle})
			cu.s.wake.owe(m.qos)
			m.handle = 0
		}
	}
}

func (cu *custody) heldAs(number uint32) *outgoing {
	if cu.s.down.delivery.msg.number == number {
		return &cu.s.down.delivery.msg
	}
	return cu.s.down.queue.numberedAs(number)
}

// take notes that a QoS 2 message is ours now.
func (cu *custody) take(st *step, m *outgoing) {
	t := takenOver{packetID: m.packetID, sum: contentSum(m.topic, m.payload)}
	if m.packetID == 0 || cu.takenAs(t.packetID) >= 0 || len(cu.taken) >= maxTaken {
		return
	}
	cu.taken = append(cu.taken, t)
	t.put(st, &cu.s.journal)
}

func (cu *custody) takenAs(packetID uint16) int {
	for i := range cu.taken {
		if cu.taken[i].packetID == packetID {
			return i
		}
	}
	return -1
}

// isTaken reports whether the broker sends a QoS 2 message again that it has been told is
// ours: it has not heard it. Another message with that packet identifier shows that it
// has. Of QoS 1 nothing is remembered: once it is acknowledged the identifier is free, and
// what comes with it may be another message with the same content.
func (cu *custody) isTaken(st *step, ev *Event) bool {
	if ev.QoS != 2 {
		return false
	}
	i := cu.takenAs(ev.PacketID)
	if i < 0 {
		return false
	}
	if ev.Dup && cu.taken[i].sum == contentSum(ev.Topic, ev.Payload) {
		return true
	}
	cu.release(st, ev.PacketID)
	return false
}

// wasSent reports whether a QoS 2 message that the broker sends again is the one that
// the device was being sent when the connection, or the gateway, went away.
func (cu *custody) wasSent(ev *Event) bool {
	return ev.QoS == 2 && ev.Dup && ev.PacketID == cu.lastQoS2.packetID && cu.lastQoS2.sum == contentSum(ev.Topic, ev.Payload)
}

// onReleased takes the broker's PUBREL. PUBCOMP lets the broker use the identifier for
// another message, so it waits until a restart would not take that for a repeat.
func (cu *custody) onReleased(st *step, packetID uint16) {
	known := cu.takenAs(packetID) >= 0
	cu.release(st, packetID)
	if known {
		cu.s.after(st, goOnWhenDown, continuation{kind: thenPubComp, id: packetID})
		return
	}
	cu.complete(st, packetID)
}

// complete has PUBCOMP sent, behind which the broker may go on. Where the connection has
// been given up meanwhile the broker asks again in the next one.
func (cu *custody) complete(st *step, packetID uint16) {
	if cu.s.broker.link == linkUp {
		cu.s.wake.owe(1)
		st.do(Action{Kind: ActionComplete, PacketID: packetID})
	}
}

// completing reports whether a PUBCOMP waits for the store.
func (cu *custody) completing() bool {
	return cu.s.journal.awaits(thenPubComp)
}

// uncomplete drops the PUBCOMPs that wait for the store: the broker asks again in the next
// connection.
func (cu *custody) uncomplete() {
	cu.s.journal.forget(func(c *continuation) bool { return c.kind == thenPubComp })
}

// release forgets a packet identifier.
func (cu *custody) release(st *step, packetID uint16) {
	i := cu.takenAs(packetID)
	if i < 0 {
		return
	}
	if cu.taken = append(cu.taken[:i], cu.taken[i+1:]...); len(cu.taken) == 0 {
		cu.taken = nil
	}
	cu.s.journal.remove(st, RecordExchange, key16(packetID))
}

// forgetTaken forgets the packet identifiers of a broker that has forgotten them: they
// are going to stand for other messages. It reports whether there were any.
func (cu *custody) forgetTaken(st *step) (any bool) {
	cu.s.down.forgetPacketIDs()
	if cu.outgoing.packetID != 0 {
		cu.outgoing.packetID = 0
		cu.outgoing.put(st, &cu.s.journal)
		any = true
	}
	if len(cu.taken) > 0 {
		cu.taken = nil
		cu.s.journal.removeAll(st, RecordExchange)
		any = true
	}
	return any
}

// sent notes under which MsgId a QoS 2 message goes to the device.
func (cu *custody) sent(m *outgoing) {
	cu.lastQoS2 = exchange{packetID: m.packetID, msgID: m.msgID, sum: contentSum(m.topic, m.payload)}
}

// sentBefore is sent, for what the store has of it.
func (cu *custody) sentBefore() {
	o := &cu.outgoing
	cu.lastQoS2 = exchange{packetID: o.packetID, msgID: o.msgID, sum: o.sum}
}

// forgetSent ends that: the broker has been acknowledged the message, or has forgotten it.
func (cu *custody) forgetSent() { cu.lastQoS2 = exchange{} }

// putOutgoing stores under which MsgId a QoS 2 message is going to be sent, so that the
// device knows it again after a restart.
func (cu *custody) putOutgoing(st *step, m *outgoing) {
	cu.outgoing = outgoingRecord{msgID: m.msgID, packetID: m.packetID, number: m.number, sum: contentSum(m.topic, m.payload)}
	cu.outgoing.put(st, &cu.s.journal)
}

// putReleasing stores that the device has a QoS 2 message, before the broker and the
// device are told.
func (cu *custody) putReleasing(st *step, m *outgoing, msgID uint16) {
	cu.outgoing = outgoingRecord{msgID: msgID, releasing: true}
	cu.outgoing.put(st, &cu.s.journal)
	if m.handle != 0 {
		cu.take(st, m)
	}
	if m.keeper != brokers {
		cu.s.journal.remove(st, RecordHeld, key32(m.number))
		m.number, m.keeper = 0, brokers // the device has it, and nobody else
	}
}

func (cu *custody) forgetOutgoing(st *step) {
	if cu.outgoing.msgID != 0 {
		cu.outgoing = outgoingRecord{}
		cu.s.journal.remove(st, RecordOutgoing, nil)
	}
}

// load reads RecordOutgoing.
func (o *outgoingRecord) load(f *binrec.Reader) {
	*o = outgoingRecord{msgID: f.U16(), packetID: f.U16(), number: f.U32(), sum: f.U64(), releasing: f.U8()&bitReleasing != 0}
}

func (o *outgoingRecord) put(st *step, j *journal) {
	j.put(st, RecordOutgoing, nil, binrec.New(17).U16(o.msgID).U16(o.packetID).U32(o.number).U64(o.sum).U8(bit(o.releasing, bitReleasing)))
}

// forget forgets all of it, because the session has been forgotten.
func (cu *custody) forget() { cu.taken, cu.outgoing = nil, outgoingRecord{} }

// notHeld notes that a held message has gone, whose delivery may have been interrupted: its
// number is going to be another one's.
func (cu *custody) notHeld(st *step, number uint32) {
	if o := &cu.outgoing; o.number == number && o.msgID != 0 {
		o.number = 0
		o.put(st, &cu.s.journal)
	}
}
