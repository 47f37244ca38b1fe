package session

import "sngate/gateway/session/dialogue"

// What outlives the gateway, where it has a store.

// onStored goes on with what waited for a batch.
func (s *Session) onStored(st *step, ev *Event) {
	for c, ok := s.journal.next(ev.Token); ok; c, ok = s.journal.next(ev.Token) {
		s.goOn(st, &c, !ev.Failed)
	}
}

// goOn carries a continuation out. ok: what it has waited for is in the store.
func (s *Session) goOn(st *step, c *continuation, ok bool) {
	switch c.kind {
	case thenRegAck:
		s.ids.onRegisterStored(st, c, ok)
	case thenSubAck:
		s.subs.onSubscribeStored(st, c, ok)
	case thenAllotted:
		s.ids.allotted(st, c, ok)
		s.announcer.goOn(st, c.id)
	case thenPublish:
		s.down.onOutgoingStored(st, c)
	case thenRelease:
		s.down.onReleasingStored(st, c)
	case thenAckHeld:
		s.custody.onHeldStored(st, c, ok)
	case thenAckSpooled:
		s.up.onSpoolStored(st, c, ok)
	case thenRelSpooled:
		if ok {
			s.up.onReleasedStored(st, c.number)
		}
	case thenPubComp:
		s.custody.complete(st, c.identity)
	case thenSleep:
		if s.state == StateAsleep { // or it would take it for the end of what it has begun since
			send(st, dialogue.Message{Kind: dialogue.Disconnect})
		}
	case thenConnAck:
		s.handshake.onConnectStored(st)
	case thenUnsubAck:
		send(st, dialogue.Message{Kind: dialogue.UnsubAck, MsgID: c.msgID})
	case thenWillTopicResp:
		send(st, dialogue.Message{Kind: dialogue.WillTopicResp})
	case thenWillMsgResp:
		send(st, dialogue.Message{Kind: dialogue.WillMsgResp})
	case thenGoodbye:
		s.handshake.onGoodbyeStored(st)
	case thenRestore:
		s.subs.beginRestore(st)
	}
}

// save puts RecordSession out, at the end of a step, where that is due.
func (s *Session) save(st *step) {
	if s.journal.due(st) {
		s.journal.save(st, s.lasting(), s.appendSession())
	}
}

// Save puts out what is still to be stored of the session, because the gateway stops and
// keeps it.
func (s *Session) Save(env Env, out *Out) {
	st := &step{env, out, s.dialogue}
	s.journal.hurry()
	s.save(st)
}

// Snapshot puts out all that is to be kept of the session, in place of whatever is in
// the store: after a failure of the store nothing else is known of that.
func (s *Session) Snapshot(env Env, out *Out) {
	st := &step{env, out, s.dialogue}
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
	for i := range s.custody.taken {
		s.custody.taken[i].put(st, &s.journal)
	}
	if s.custody.outgoing.msgID != 0 {
		s.custody.outgoing.put(st, &s.journal)
	}
	for i := range s.up.window {
		if f := &s.up.window[i]; f.kept {
			s.up.putReceived(st, f)
		}
	}
	if m := &s.down.delivery.msg; m.keeper != brokers {
		m.put(st, &s.journal)
	}
	for i := s.down.queue.head; i < len(s.down.queue.msgs); i++ {
		if m := &s.down.queue.msgs[i]; m.keeper != brokers {
			m.put(st, &s.journal)
		}
	}
	s.up.snapshotSpool(st)
}

// Resume goes on after a restart of the gateway, with what Load has taken back. It
// reports whether there is a session; if not, what is stored of it is rubbish. A
// connected device has as long as after a word of it to speak.
func (s *Session) Resume(env Env, out *Out) bool {
	st := &step{env, out, s.dialogue}
	if !s.journal.known {
		return false
	}
	s.journal.loaded(s.state)
	s.ids.topics.Distrust(s.cfg.MaxTopics)
	s.addr.reach.beginStep(st.Out)
	s.up.resumeSpool(st)
	s.down.resumeOutgoing()
	if !s.connected() {
		return s.broker.resumeEnd(st)
	}
	s.up.restarted()
	s.broker.reopen(st, len(s.subs.list) == 0 && s.up.spool.len() == 0)
	s.presence.heard(st.Now)
	s.down.resume(st)
	s.save(st)
	s.addr.reach.charge(st.Out)
	return true
}
