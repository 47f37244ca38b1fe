package session

// The answers of the device to what deliver.go sends.

import "sngate/gateway/session/dialogue"

func (dl *downlink) onPubAck(st *step, m *dialogue.Message) {
	if m.Code == dialogue.Accepted {
		dl.recall(m.MsgID, 1)
	}
	d := &dl.delivery
	if d.phase != publishing || d.msgID != m.MsgID {
		dl.onStrayPubAck(st, m)
		return
	}
	switch {
	case m.Code == dialogue.Accepted:
		// A device that answers so to QoS 2, too, has the message, and waits for nothing.
		dl.acknowledged(st)
	case m.Code == dialogue.Congestion && d.count() < dl.s.cfg.patience():
		dl.congested(st)
		return
	case m.Code == dialogue.InvalidTopicID && d.idType == dialogue.ShortTopic:
		dl.giveUp(st, ReasonClientRejected) // there is no other id for such a name
	case m.Code == dialogue.InvalidTopicID && d.msg.refusal != toldAgain && d.count() < dl.s.cfg.patience():
		if d.idType == dialogue.NormalTopic {
			dl.s.announcer.refuseID(d.topicID)
		}
		d.msg.refusal = refusedID
		dl.tallies.of(&d.msg).sends = d.end()
		dl.queue.unpop(d.msg)
		dl.finishDelivery()
	case m.Code == dialogue.InvalidTopicID && dl.retry.tries == 0:
		// A duplicate of the refusal that led to the REGISTER, come late. If it is not,
		// the device refuses the repetition as well.
		st.drop(ReasonUnexpectedMessage)
		return
	default:
		dl.giveUp(st, ReasonClientRejected)
	}
	dl.pump(st)
}

// onStrayPubAck takes a PUBACK that is not for the delivery in progress: the refusal of
// a QoS 0 PUBLISH, or a repeat.
func (dl *downlink) onStrayPubAck(st *step, m *dialogue.Message) {
	switch {
	case m.Code == dialogue.InvalidTopicID:
		dl.s.announcer.refuseID(m.TopicID)
	case m.Code == dialogue.Congestion && m.MsgID == 0:
		dl.congested(st)
	default:
		st.drop(ReasonUnexpectedMessage)
	}
}

// acknowledged ends a delivery whose answer ends the exchange, as that to QoS 1 does.
func (dl *downlink) acknowledged(st *step) {
	d := &dl.delivery
	dl.confirm(d)
	dl.acknowledge(st, &d.msg)
	if d.msg.qos == 2 {
		dl.s.custody.forgetSent()
		dl.s.custody.forgetOutgoing(st)
	}
	dl.finishDelivery()
}

// onPubRec acknowledges to the broker what the device has now, and answers with
// PUBREL, also for an exchange that is not known: the device waits for it. It has to
// wait where the message is going to be sent again: released already, the device would take
// that for a new one.
func (dl *downlink) onPubRec(st *step, m *dialogue.Message) {
	dl.recall(m.MsgID, 2)
	d := &dl.delivery
	switch {
	case d.phase == publishing && d.msgID == m.MsgID && d.msg.qos == 2:
		dl.confirm(d)
		if dl.s.journal.wait(st, bypassWhenDown, continuation{kind: thenRelease, msgID: d.msgID}) {
			dl.record(st)
			return
		}
		dl.release(st)
		return
	case d.phase == publishing && d.msgID == m.MsgID:
		dl.acknowledged(st) // a device that answers so to QoS 1 has it, and waits for PUBREL
	case d.phase == recording && d.msgID == m.MsgID:
		return
	case m.MsgID == dl.s.custody.lastQoS2.msgID:
		st.drop(ReasonUnexpectedMessage)
		return
	}
	send(st, dialogue.Message{Kind: dialogue.PubRel, MsgID: m.MsgID})
	dl.pump(st) // there may be room now to resume reading
}

func (dl *downlink) onPubComp(st *step, m *dialogue.Message) {
	if dl.delivery.phase != releasing || dl.delivery.msgID != m.MsgID {
		st.drop(ReasonUnexpectedMessage)
		return
	}
	dl.finishDelivery()
	dl.s.custody.forgetOutgoing(st)
	dl.pump(st)
}
