package session

import (
	"bytes"
	"slices"

	"sngate/internal/binrec"
)

func outgoingOf(m *outgoing) outgoingRecord {
	return outgoingRecord{msgID: m.msgID, identity: m.identity, number: m.number, sum: contentSum(m.topic, m.payload)}
}

// maxUnreleased bounds the QoS 2 messages of the broker that it has not released.
const maxUnreleased = 1024

func (m *outgoing) put(st *step, j *journal) {
	j.put(st, RecordHeld, key32(m.number), appendMessage(make([]byte, 0, messageHead+len(m.topic)+len(m.payload)), m.qos, m.retain, m.topic, m.payload))
}

func (t *unreleased) put(st *step, j *journal) {
	j.put(st, RecordExchange, key16(t.slot), bytes.Clone(t.identity[:]))
}

// holdDurably has the messages held for a sleeping device stored, to acknowledge them
// to the broker: all of them, so that none of a later one comes before an earlier one.
func (cu *custody) holdDurably(st *step) {
	if cu.s.state != StateAsleep {
		return
	}
	for m := cu.s.down.queue.unnumbered(); m != nil; m = cu.s.down.queue.unnumbered() {
		if !st.HeldRoom || !cu.s.journal.accepts(st) || m.qos == 2 && len(cu.unreleased) >= maxUnreleased {
			return // it stays the broker's
		}
		cu.lastHeld++
		m.number, m.custodian = cu.lastHeld, storing
		m.put(st, &cu.s.journal)
		if m.qos == 2 {
			cu.addUnreleased(st, m)
		}
		if m.qos == 2 && m.msgID != 0 { // it had been sent before it was held
			o := &cu.outgoing
			*o = outgoingOf(m)
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
		cu.s.down.queue.clearNumber(m)
		cu.s.journal.remove(st, RecordHeld, key32(c.number))
		cu.notHeld(st, c.number)
		if m.qos == 2 {
			cu.removeUnreleased(st, m.identity)
		}
	default:
		m.custodian = ours
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

// addUnreleased remembers a QoS 2 message of the broker until its PUBREL: it is the gateway's now.
func (cu *custody) addUnreleased(st *step, m *outgoing) {
	if m.identity == (Identity{}) || cu.findUnreleased(m.identity) >= 0 || len(cu.unreleased) >= maxUnreleased {
		return
	}
	cu.unreleased = append(cu.unreleased, unreleased{slot: cu.newSlot(), identity: m.identity})
	cu.unreleased[len(cu.unreleased)-1].put(st, &cu.s.journal)
}

// newSlot returns a slot that no RecordExchange has; maxUnreleased leaves some.
func (cu *custody) newSlot() uint16 {
	for {
		cu.lastSlot++
		if !slices.ContainsFunc(cu.unreleased, func(t unreleased) bool { return t.slot == cu.lastSlot }) {
			return cu.lastSlot
		}
	}
}

func (cu *custody) findUnreleased(message Identity) int {
	return slices.IndexFunc(cu.unreleased, func(t unreleased) bool { return t.identity == message })
}

// identities returns the messages whose redelivery the link has to acknowledge.
func (cu *custody) identities() (list []Identity) {
	for i := range cu.unreleased {
		list = append(list, cu.unreleased[i].identity)
	}
	return list
}

// wasSent reports whether a QoS 2 message that the broker sends again is the one that
// the device was being sent when the connection, or the gateway, went away.
func (cu *custody) wasSent(ev *Event) bool {
	return ev.QoS == 2 && ev.Dup && ev.Identity == cu.lastQoS2.identity
}

// onReleased takes the broker's PUBREL. PUBCOMP lets the broker go on to another message, so
// it waits until a restart would not take that for a repeat.
func (cu *custody) onReleased(st *step, message Identity) {
	known := cu.findUnreleased(message) >= 0
	cu.removeUnreleased(st, message)
	if known {
		cu.s.after(st, bypassWhenDown, continuation{kind: thenPubComp, identity: message})
		return
	}
	cu.complete(st, message)
}

// onForgotten takes it that the broker does not know of a message any more. One that is held is
// still delivered.
func (cu *custody) onForgotten(st *step, message Identity) {
	cu.removeUnreleased(st, message)
	cu.s.down.forgetIdentity(message)
}

// complete sends PUBCOMP, unless the connection has been closed meanwhile: then the broker
// sends PUBREL again in the next one.
func (cu *custody) complete(st *step, message Identity) {
	if cu.s.broker.link == linkUp {
		cu.s.wake.owe(1)
		st.do(Action{Kind: ActionComplete, Identity: message})
	}
}

// uncomplete drops the PUBCOMPs that wait for the store: the broker sends PUBREL again in the
// next connection.
func (cu *custody) uncomplete() {
	cu.s.journal.forget(func(c *continuation) bool { return c.kind == thenPubComp })
}

// removeUnreleased forgets a message: the broker does not send it again.
func (cu *custody) removeUnreleased(st *step, message Identity) {
	i := cu.findUnreleased(message)
	if i < 0 {
		return
	}
	cu.s.journal.remove(st, RecordExchange, key16(cu.unreleased[i].slot))
	if cu.unreleased = slices.Delete(cu.unreleased, i, i+1); len(cu.unreleased) == 0 {
		cu.unreleased = nil
	}
}

// forgetUnreleased forgets all messages, as the broker has. It reports whether there were any.
func (cu *custody) forgetUnreleased(st *step) (any bool) {
	cu.s.down.forgetIdentities()
	if cu.outgoing.identity != (Identity{}) {
		cu.outgoing.identity = Identity{}
		cu.outgoing.put(st, &cu.s.journal)
		any = true
	}
	if len(cu.unreleased) > 0 {
		cu.unreleased = nil
		cu.s.journal.removeAll(st, RecordExchange)
		any = true
	}
	return any
}

// sent notes under which MsgId a QoS 2 message goes to the device.
func (cu *custody) sent(m *outgoing) {
	cu.lastQoS2 = sentAs{identity: m.identity, msgID: m.msgID}
}

// sentBefore is sent, for what the store has of it.
func (cu *custody) sentBefore() {
	cu.lastQoS2 = sentAs{identity: cu.outgoing.identity, msgID: cu.outgoing.msgID}
}

// forgetSent ends that: the broker has been acknowledged the message, or has forgotten it.
func (cu *custody) forgetSent() { cu.lastQoS2 = sentAs{} }

// putOutgoing stores under which MsgId a QoS 2 message is going to be sent, so that the
// device knows it again after a restart.
func (cu *custody) putOutgoing(st *step, m *outgoing) {
	cu.outgoing = outgoingOf(m)
	cu.outgoing.put(st, &cu.s.journal)
}

// putReleasing stores that the device has a QoS 2 message, before the broker and the
// device are told.
func (cu *custody) putReleasing(st *step, m *outgoing, msgID uint16) {
	cu.outgoing = outgoingRecord{msgID: msgID, releasing: true}
	cu.outgoing.put(st, &cu.s.journal)
	if m.handle != 0 {
		cu.addUnreleased(st, m)
	}
	if m.custodian != brokers {
		cu.s.journal.remove(st, RecordHeld, key32(m.number))
		m.number, m.custodian = 0, brokers // the device has it, and nobody else
	}
}

func (cu *custody) forgetOutgoing(st *step) {
	if cu.outgoing.msgID != 0 {
		cu.outgoing = outgoingRecord{}
		cu.s.journal.remove(st, RecordOutgoing, nil)
	}
}

// load takes a RecordExchange.
func (cu *custody) load(t unreleased) {
	if cu.findUnreleased(t.identity) >= 0 {
		return // it has another slot, too
	}
	cu.unreleased = append(cu.unreleased, t)
	cu.lastSlot = t.slot
}

// load reads RecordOutgoing.
func (o *outgoingRecord) load(f *binrec.Reader) {
	*o = outgoingRecord{msgID: f.U16(), identity: readIdentity(f), number: f.U32(), sum: f.U64(), releasing: f.U8()&bitReleasing != 0}
}

func (o *outgoingRecord) put(st *step, j *journal) {
	j.put(st, RecordOutgoing, nil, binrec.New(25).U16(o.msgID).Octets(o.identity[:]).U32(o.number).U64(o.sum).U8(bit(o.releasing, bitReleasing)))
}

func readIdentity(f *binrec.Reader) (x Identity) {
	copy(x[:], f.Octets(len(x)))
	return x
}

// forget forgets all of it, because the session has been forgotten.
func (cu *custody) forget() { cu.unreleased, cu.outgoing = nil, outgoingRecord{} }

// notHeld notes that a held message has gone. Its delivery may have been interrupted, and its
// number will be used again.
func (cu *custody) notHeld(st *step, number uint32) {
	if o := &cu.outgoing; o.number == number && o.msgID != 0 {
		o.number = 0
		o.put(st, &cu.s.journal)
	}
}
