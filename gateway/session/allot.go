package session

import "sngate/snpacket/sn12"

// Topic ids and subscriptions that wait for the store: a device must not be told what a
// restart would forget.

func (ti *topicIDs) onRegisterStored(st *step, v *continuation, ok bool) {
	ok = ti.allotted(st, v, ok)
	if !ti.s.connected() {
		return
	}
	if !ok {
		st.drop(ReasonStoreFailed)
		send(st, sn12.RegAck{MsgID: v.msgID, ReturnCode: sn12.RejectedCongestion})
		ti.s.goOnRegistering(st, v.id)
		return
	}
	send(st, sn12.RegAck{TopicID: v.id, MsgID: v.msgID})
	ti.told(st, v.id)
}

func (sb *subscriptions) onSubscribeStored(st *step, v *continuation, ok bool) {
	r := &v.req
	if v.id != 0 {
		ok = sb.s.ids.allotted(st, v, ok)
	}
	switch {
	case !ok && !sb.s.connected():
	case !ok:
		st.drop(ReasonStoreFailed)
		if i := sb.find(r.filter); i >= 0 && v.fresh {
			sb.unsubscribe(st, i)
			st.do(Action{Kind: ActionUnsubscribe, Topic: r.filter})
		}
		if !r.quiet {
			send(st, sn12.SubAck{MsgID: r.msgID, ReturnCode: sn12.RejectedCongestion})
		}
	case !r.quiet:
		sb.answerSubscribe(st, r, sn12.SubAck{QoS: v.code, MsgID: r.msgID, TopicID: v.id})
	}
	sb.s.goOnRegistering(st, v.id)
}

// allotted ends the way of a topic id into the store. An id that did not get there is
// taken back, and not used for another name either; one that was there before stays what it
// was.
func (ti *topicIDs) allotted(st *step, v *continuation, ok bool) bool {
	id := v.id
	if _, known := ti.topics.Name(id); !known {
		return false // the topic ids have been forgotten meanwhile
	}
	if !ok && v.claims {
		ti.topics.Unclaim(id)
	}
	if !ok && v.allots {
		ti.remove(st, id)
		if ti.s.registering(id) {
			ti.s.suspendRegistration()
			ti.s.waitForStore(st.Now)
		}
	}
	return ok
}

// registering reports whether a registration waits for an id to be in the store.
func (s *Session) registering(id uint16) bool {
	return s.reg != nil && s.reg.phase == allotting && s.reg.topicID == id
}

// goOnRegistering sends the REGISTER that has waited for an id to be in the store, unless
// an answer to the device has told it the id.
func (s *Session) goOnRegistering(st *step, id uint16) {
	if s.registering(id) && s.listening() {
		s.writeRegister(st)
	}
}

// waitForStore pauses the deliveries to the device: the next one needs a topic id, and
// the store takes none.
func (s *Session) waitForStore(now Time) { s.resumeAt = now + s.cfg.RetryInterval }
