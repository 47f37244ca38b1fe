package session

import "sngate/snpacket/sn12"

// Topic ids and subscriptions that wait for the store: a device must not be told what a
// restart would forget.

// allotment finds what goes on when a topic id is in the store; nil if that is there
// already. A REGISTER of the device goes before the rest.
func (s *Session) allotment(id uint16) (found *saving) {
	if s.durable == nil {
		return nil
	}
	for i := range s.durable.saving {
		switch v := &s.durable.saving[i]; {
		case v.id != id || !v.allots:
		case v.kind == savingRegister:
			return v
		case v.kind == savingAllotment, v.kind == savingSubscribe:
			found = v
		}
	}
	return found
}

// answerWith has a REGISTER answered when the id, which is on its way to the store, is
// there; it reports false if it is there already.
func (s *Session) answerWith(id, msgID uint16) bool {
	v := s.allotment(id)
	switch {
	case v == nil:
		return false
	case v.kind == savingRegister:
		v.msgID = msgID // the device has asked again
	case len(s.durable.saving) < maxSaving:
		s.durable.saving = append(s.durable.saving, saving{token: v.token, kind: savingRegister, id: id, allots: true, msgID: msgID})
	}
	return true
}

func (s *Session) onRegisterStored(now Time, v *saving, ok bool, out *Out) {
	answer := sn12.RegAck{MsgID: v.msgID}
	if ok = s.allotted(now, v, ok, out); ok {
		s.topics.SetAnnounced(v.id, true)
		answer.TopicID = v.id
	} else {
		out.drop(ReasonStoreFailed)
		answer.ReturnCode = sn12.RejectedCongestion
	}
	if s.connected() {
		send(out, answer)
	}
}

func (s *Session) onSubscribeStored(now Time, v *saving, ok bool, out *Out) {
	r := &v.req
	if v.id != 0 {
		ok = s.allotted(now, v, ok, out)
	}
	if !s.connected() {
		return
	}
	answer := sn12.SubAck{QoS: v.code, MsgID: r.msgID, TopicID: v.id}
	if !ok {
		out.drop(ReasonStoreFailed)
		if i := s.subscribed(r.filter); i >= 0 && v.fresh {
			s.unsubscribe(i, out)
			out.do(Action{Kind: ActionUnsubscribe, Topic: r.filter})
		}
		answer = sn12.SubAck{MsgID: r.msgID, ReturnCode: sn12.RejectedCongestion}
	}
	switch {
	case r.quiet:
	case ok:
		s.answerSubscribe(r, answer, out)
	default:
		send(out, answer)
	}
}

// allotted ends the way of a topic id into the store, and goes on with the delivery
// that waits for it. An id that did not get there is taken back, and not used for
// another name either; one that was there before stays.
func (s *Session) allotted(now Time, v *saving, ok bool, out *Out) bool {
	id := v.id
	name, known := s.topics.Name(id)
	if !known {
		return false // the topic ids have been forgotten meanwhile
	}
	waiting := s.delivery.phase == allotting && s.delivery.topicID == id
	if !ok && v.allots {
		s.topics.Remove(id)
		out.remove(RecordTopic, key16(id))
		s.topicOctets -= int32(len(name))
		if waiting {
			s.waitForStore(now, out)
		}
		return false
	}
	if waiting {
		s.writeRegister(now, out)
	}
	return ok
}

// waitForStore pauses the deliveries to the device: the next one needs a topic id, and
// the store takes none.
func (s *Session) waitForStore(now Time, out *Out) {
	if s.delivery.phase == idle { // not begun
		s.queue.unpop(s.delivery.msg)
		s.delivery = delivery{}
	} else {
		s.suspendDelivery()
	}
	s.resumeAt = now + s.cfg.RetryInterval
}
