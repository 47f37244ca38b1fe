package session

// What the shell tells a session about where its device is.

// SetAssigned says that the shell has chosen the client id, because the device has none.
// Its address is the only thing the device is known by.
func (s *Session) SetAssigned() { s.assigned = true }

// Assigned reports whether the shell has chosen the client id. It does not change once the
// session is in use.
func (s *Session) Assigned() bool { return s.assigned }

// AddressTaken says that the device's address belongs to another device from now on.
// A sleeper is kept if it has a client id to be found by. Any other device is gone.
func (s *Session) AddressTaken(env Env, out *Out) {
	st := &step{env, out}
	s.journal.mustSave() // or a restart would give it the address back
	s.forgetAddress(st)
	switch {
	case s.state == StateActive, s.connected() && s.assigned:
		s.endLost(st, ReasonAddressReused)
	case s.state == StateAwake:
		s.suspendDelivery()
		s.barrier = barrier{at: Never}
		s.enter(st, StateAsleep, ReasonAddressReused)
		s.heard(st.Now)
	case s.dialogue != nil:
		s.abandon(st, ReasonAddressReused)
	}
	s.save(st)
}

// AddressChanged says that what comes next comes from a new address, so that a CONNECT is
// taken neither for a repeat nor for that of a sleeper which stays awake: it has probably
// restarted.
func (s *Session) AddressChanged() {
	s.fresh, s.lateBefore, s.moved = false, 0, true
	at := s.reach.deadline()
	if s.reach, s.rival = s.unproven(), nil; s.reach != nil {
		s.reach.at = at // a wake that waits for it has to end
	}
	s.journal.changed()
}

// StartMsgIDs sets what the identifiers of the gateway's own messages count from: MsgIds
// towards the device, and packet identifiers of the spool towards the broker. A shell
// passes a random one, so that neither takes a new message for one of which it remembers
// an exchange that the gateway has forgotten.
func (s *Session) StartMsgIDs(after uint16) {
	s.nextMsgID = after
	// The broker may remember identifiers of messages that have been given up.
	s.up.spool.packetID = firstPacketID | after
}

// addressDeadline is when an unanswered question, whether the device is where it says it
// is, is due to be repeated.
func (s *Session) addressDeadline() Time { return min(s.reach.deadline(), s.rival.deadline()) }

func (s *Session) advanceAddress(st *step) {
	if st.Now >= s.reach.deadline() {
		s.proveAgain(st)
	}
	if st.Now >= s.rival.deadline() {
		s.askRivalled(st)
	}
}
