package session

import "sngate/snpacket/sn12"

// The answers of the device to what deliver.go sends.

func (s *Session) onPubAck(st *step, body []byte) {
	var m sn12.PubAck
	if m.Parse(body) != nil {
		st.drop(ReasonMalformed)
		return
	}
	if m.ReturnCode == sn12.Accepted {
		s.recall(m.MsgID, 1)
	}
	d := &s.delivery
	if d.phase != publishing || d.msgID != m.MsgID {
		s.onStrayPubAck(st, &m)
		return
	}
	switch {
	case m.ReturnCode == sn12.Accepted:
		// A device that answers so to QoS 2, too, has the message, and waits for nothing.
		s.takenAtOnce(st)
	case m.ReturnCode == sn12.RejectedCongestion && d.count() < s.cfg.patience():
		s.congested(st)
		return
	case m.ReturnCode == sn12.RejectedInvalidTopicID && d.idType == sn12.TopicIDShort:
		s.giveUp(st, ReasonClientRejected) // there is no other id for such a name
	case m.ReturnCode == sn12.RejectedInvalidTopicID && d.msg.refusal != toldAgain && d.count() < s.cfg.patience():
		if d.idType == sn12.TopicIDNormal {
			s.refuseID(d.topicID)
		}
		d.msg.refusal = refusedID
		s.tally(&d.msg).sends = d.end()
		s.queue.unpop(d.msg)
		s.finishDelivery()
	case m.ReturnCode == sn12.RejectedInvalidTopicID && s.retry.tries == 0:
		// A duplicate of the refusal that led to the REGISTER, come late. If it is not,
		// the device refuses the repetition as well.
		st.drop(ReasonUnexpectedMessage)
		return
	default:
		s.giveUp(st, ReasonClientRejected)
	}
	s.pump(st)
}

// onStrayPubAck takes a PUBACK that is not for the delivery in progress: the refusal of
// a QoS 0 PUBLISH, or a repeat.
func (s *Session) onStrayPubAck(st *step, m *sn12.PubAck) {
	switch {
	case m.ReturnCode == sn12.RejectedInvalidTopicID:
		s.refuseID(m.TopicID)
	case m.ReturnCode == sn12.RejectedCongestion && m.MsgID == 0:
		s.congested(st)
	default:
		st.drop(ReasonUnexpectedMessage)
	}
}

// takenAtOnce ends a delivery that the device has answered as QoS 1.
func (s *Session) takenAtOnce(st *step) {
	d := &s.delivery
	s.confirm(d)
	s.acknowledge(st, &d.msg)
	if d.msg.qos == 2 {
		s.lastQoS2 = exchange{}
		s.forgetOutgoing(st)
	}
	s.finishDelivery()
}

// onPubRec acknowledges to the broker what the device has now, and goes on with
// PUBREL, also for an exchange that is not known: the device waits for it. It has to
// wait where the message is going to be sent again: released already, the device would take
// that for a new one.
func (s *Session) onPubRec(st *step, body []byte) {
	var m sn12.PubRec
	if m.Parse(body) != nil {
		st.drop(ReasonMalformed)
		return
	}
	s.recall(m.MsgID, 2)
	d := &s.delivery
	switch {
	case d.phase == publishing && d.msgID == m.MsgID && d.msg.qos == 2:
		s.confirm(d)
		if s.journal.wait(st, goOnWhenDown, continuation{kind: thenRelease, msgID: d.msgID}) {
			s.putReleasing(st)
			return
		}
		s.released(st)
		return
	case d.phase == publishing && d.msgID == m.MsgID:
		s.takenAtOnce(st) // a device that answers so to QoS 1 has it, and waits for PUBREL
	case d.phase == recording && d.msgID == m.MsgID:
		return
	case m.MsgID == s.lastQoS2.msgID:
		st.drop(ReasonUnexpectedMessage)
		return
	}
	send(st, sn12.PubRel{MsgID: m.MsgID})
	s.pump(st) // there may be room now to go on reading
}

func (s *Session) onPubComp(st *step, body []byte) {
	var m sn12.PubComp
	if m.Parse(body) != nil {
		st.drop(ReasonMalformed)
		return
	}
	if s.delivery.phase != releasing || s.delivery.msgID != m.MsgID {
		st.drop(ReasonUnexpectedMessage)
		return
	}
	s.finishDelivery()
	s.forgetOutgoing(st)
	s.pump(st)
}
