package session

import "sngate/snpacket/sn12"

// lose ends a session whose device is gone, and tells the device in case it is not
// (MQTT-SN 1.2 section 6.14). A device that is probably connected through another
// gateway now is told nothing: it would take the DISCONNECT for the other's.
func (s *Session) lose(st *step, why Reason) {
	if !s.presence.parked && s.addr.affords(st, sn12.Disconnect{}.Len()) {
		send(st, sn12.Disconnect{})
	}
	s.endLost(st, why)
}

// endLost ends a session the way that has its will published: by the broker, when the
// connection ends without DISCONNECT. Where the broker holds none (KeepsWills), or
// another one than the device has set since (MQTT cannot change a will once connected),
// the gateway publishes the right one itself and ends the connection so that the broker
// publishes none.
func (s *Session) endLost(st *step, why Reason) {
	s.journal.disown()
	how := ActionCloseAbort
	switch w := s.wills.current; {
	case s.presence.parked: // the broker has closed the connection: it knows
	case w == nil && s.wills.carried != nil:
		how = ActionCloseClean
	case w != nil && !w.equal(s.wills.carried):
		how = ActionCloseDrain
		s.wills.owe() // closeLink has it published, behind what the device has sent
	}
	s.end(st, StateLost, why, how)
}

// end ends the connection of the device. What CleanSession=0 keeps is kept: topic ids,
// subscriptions, will, and the identifiers of QoS 2 exchanges half done. Messages held
// for the device go back to the broker, which has not been told that they arrived.
func (s *Session) end(st *step, state State, why Reason, how ActionKind) {
	s.handshake.end()
	s.down.suspend()
	s.down.dropHeld(st, ReasonSessionEnded)
	s.subs.forgetAsked()
	s.up.retire(st)
	s.wake.end()
	s.down.ready()
	s.presence.end()
	s.addr.end(st)
	s.enter(st, state, why)
	s.journal.mustSave()
	s.broker.close(st, how)
}

// free lets the shell forget a session that nothing is kept of.
func (s *Session) free(st *step) {
	if !s.kept && !s.journal.awaits(thenGoodbye) {
		st.do(Action{Kind: ActionFree})
	}
}

// forget drops all that CleanSession=1 drops.
func (s *Session) forget(st *step) {
	s.handshake.forget()
	s.ids.topics.Reset()
	s.announcer.forget()
	s.subs.forget()
	s.up.forget()
	s.down.forget()
	s.down.dropHeld(st, ReasonCleanSession)
	s.forgetRecords(st)
}

// forgetRecords removes all that CleanSession=1 drops. What the spool has stays: the
// device has been told that it is safe.
func (s *Session) forgetRecords(st *step) {
	s.custody.forget()
	s.journal.forget(func(c *continuation) bool { return c.kind != thenAckSpooled && c.kind != thenRelSpooled })
	for _, kind := range []RecordKind{RecordSubscription, RecordExchange, RecordOutgoing, RecordReceived, RecordTopic, RecordHeld} {
		s.journal.removeAll(st, kind)
	}
}
