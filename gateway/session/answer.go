package session

import "sngate/snpacket/sn12"

// Answers to the device that wait until the store has what they confirm. They are sent
// also when the store has failed: then the gateway goes on as one without a store.

// answerStored sends m when what this step and those before it store is there.
func answerStored[M message](st *step, s *Session, m M) {
	if !s.storing(st) {
		send(st, m)
		return
	}
	if b, err := m.Append(nil); err == nil {
		s.whenStored(st, saving{kind: savingAnswer, answer: b})
	}
}

// accepting reports whether CONNACK waits for the store.
func (s *Session) accepting() bool { return s.durable != nil && s.durable.accepting }

// answerConnect sends CONNACK, and then what is held for the device.
func (s *Session) answerConnect(st *step) {
	if s.storing(st) {
		s.durable.accepting = true
		s.whenStored(st, saving{kind: savingConnect})
		return
	}
	s.connAck(st)
}

func (s *Session) onConnectStored(st *step) {
	s.durable.accepting = false
	if s.state == StateActive {
		s.connAck(st)
		return
	}
	s.resumeDelivery(st) // it has gone to sleep without waiting for CONNACK
}

func (s *Session) connAck(st *step) {
	send(st, sn12.ConnAck{})
	s.resumeDelivery(st)
}

// goodbye ends the session because the device has sent DISCONNECT, and answers it when
// a restart would not find the device connected any more, and publish its will.
func (s *Session) goodbye(st *step) {
	wait := s.storing(st) && s.durable.known
	if !wait {
		send(st, sn12.Disconnect{})
	}
	s.disown()
	if s.durable != nil {
		s.durable.leaving = wait
	}
	s.end(st, StateDisconnected, ReasonClientDisconnect, ActionCloseClean)
	if wait {
		s.whenStored(st, saving{kind: savingGoodbye})
	}
}

func (s *Session) onGoodbyeStored(st *step) {
	s.durable.leaving = false
	send(st, sn12.Disconnect{})
	if s.link == linkClosed && s.dialogue == nil && !s.draining() {
		s.free(st)
	}
}
