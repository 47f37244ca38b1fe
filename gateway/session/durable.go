package session

import "hash/crc32"

// What outlives the gateway, where it has a store.

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

// save puts RecordSession out, at the end of a step, where that is due.
func (s *Session) save(st *step) {
	if s.journal.due(st) {
		s.journal.dirty = false
		s.journal.state = s.lasting()
		s.journal.put(st, RecordSession, nil, s.appendSession())
	}
}

// Save puts out what is still to be stored of the session, because the gateway stops and
// keeps it.
func (s *Session) Save(env Env, out *Out) {
	st := &step{env, out}
	s.journal.saveAt = 0
	s.save(st)
}

// Stored reports whether anything of the session may be in the store.
func (s *Session) Stored() bool { return s.journal.known }

// Snapshot puts out all that is to be kept of the session, in place of whatever is in
// the store: after a failure of the store nothing else is known of that.
func (s *Session) Snapshot(env Env, out *Out) {
	st := &step{env, out}
	if !s.journal.known {
		return
	}
	for kind := RecordSession; kind <= RecordSpool; kind++ {
		s.journal.removeAll(st, kind)
	}
	s.journal.put(st, RecordSession, nil, s.appendSession())
	for i := range s.subs.list {
		s.subs.putSubscription(st, &s.subs.list[i])
	}
	for id := range s.ids.topics.All {
		s.ids.put(st, id, s.ids.topics.State(id).Told)
	}
	for i := range s.taken {
		s.taken[i].put(st, &s.journal)
	}
	if s.outgoing.msgID != 0 {
		s.outgoing.put(st, &s.journal)
	}
	for i := range s.up.window {
		if f := &s.up.window[i]; f.kept {
			s.up.putReceived(st, f)
		}
	}
	if m := &s.delivery.msg; m.number != 0 {
		m.put(st, &s.journal)
	}
	for i := s.queue.head; i < len(s.queue.msgs); i++ {
		if m := &s.queue.msgs[i]; m.number != 0 {
			m.put(st, &s.journal)
		}
	}
	s.up.snapshotSpool(st)
}

// disown drops the answers to the device that wait for the store: it has disconnected,
// or begins anew and counts its MsgIds from the start.
func (s *Session) disown() {
	s.journal.forget(func(c *continuation) bool { return c.kind.answers() })
	for i := range s.journal.waiting {
		switch c := &s.journal.waiting[i]; c.kind {
		case thenRegAck:
			c.kind = thenAllotted
		case thenSubAck:
			c.req.quiet = true
		}
	}
}

// forgetRecords removes all that CleanSession=1 drops. What the spool has stays: the
// device has been told that it is safe.
func (s *Session) forgetRecords(st *step) {
	s.taken, s.outgoing = nil, outgoingRecord{}
	s.journal.forget(func(c *continuation) bool { return c.kind != thenAckSpooled && c.kind != thenRelSpooled })
	for _, kind := range []RecordKind{RecordSubscription, RecordExchange, RecordOutgoing, RecordReceived, RecordTopic, RecordHeld} {
		s.journal.removeAll(st, kind)
	}
}

// live reports whether the device was connected before the CONNECT that is being
// carried out.
func (s *Session) live() bool {
	return (s.link == linkUp || s.link == linkDown) && !s.draining()
}

// Resume goes on after a restart of the gateway, with what Load has taken back. It
// reports whether there is a session; if not, what is stored of it is rubbish. A
// connected device has as long as after a word of it to speak.
func (s *Session) Resume(env Env, out *Out) bool {
	st := &step{env, out}
	if !s.journal.known {
		return false
	}
	s.journal.state = s.state
	s.ids.topics.Distrust(s.cfg.MaxTopics)
	s.reach.beginStep(st.Out)
	s.up.resumeSpool(st)
	s.resumeOutgoing()
	if !s.connected() {
		return s.resumeEnd(st)
	}
	s.link, s.up.resuming = linkDown, true
	lazy := len(s.subs.list) == 0 && s.up.spool.len() == 0
	st.do(Action{Kind: ActionReopen, Clean: s.clean, KeepAlive: s.duration, Will: s.wills.brokersWill(), Lazy: lazy})
	s.heard(st.Now)
	s.resumeDelivery(st)
	s.save(st)
	s.reach.charge(st.Out)
	return true
}

// resumeEnd goes on with what the end of a session had left to do: to publish the will,
// and what is in the spool.
func (s *Session) resumeEnd(st *step) bool {
	how := ActionCloseClean
	if s.wills.due = s.wills.due && s.wills.current != nil; s.wills.due {
		s.reopenToDrain(st)
		how = ActionCloseDrain
	}
	if s.wills.due || s.up.spool.len() > 0 {
		s.closeLink(st, how)
		return true
	}
	return s.kept
}

// resumeOutgoing goes back to the QoS 2 delivery that the restart interrupted. If its
// message is held it comes first, as it did: there is one record of its MsgId, and the next
// delivery of QoS 2 overwrites that.
func (s *Session) resumeOutgoing() {
	o := &s.outgoing
	switch {
	case o.msgID == 0:
		return
	case o.releasing:
		s.delivery = delivery{phase: releasing, msgID: o.msgID}
		return
	case o.number != 0:
		for i := range s.queue.len() {
			if s.queue.at(i).number == o.number {
				m := s.queue.take(i)
				m.msgID = o.msgID
				s.queue.unpop(m)
				s.lastQoS2.msgID = o.msgID
				return
			}
		}
	}
	s.lastQoS2 = exchange{packetID: o.packetID, msgID: o.msgID}
}
