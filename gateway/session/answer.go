package session

import "sngate/snpacket/sn12"

// Answers to the device that wait until the store has what they confirm. They are sent
// also when the store has failed: then the gateway goes on as one without a store.

// answerStored sends m when what this step and those before it store is there.
func answerStored[M message](s *Session, m M, out *Out) {
	if !s.storing(out) {
		send(out, m)
		return
	}
	if b, err := m.Append(nil); err == nil {
		s.whenStored(saving{kind: savingAnswer, answer: b}, out)
	}
}

// accepting reports whether CONNACK waits for the store.
func (s *Session) accepting() bool { return s.durable != nil && s.durable.accepting }

// answerConnect sends CONNACK, and then what is held for the device.
func (s *Session) answerConnect(now Time, out *Out) {
	if s.storing(out) {
		s.durable.accepting = true
		s.whenStored(saving{kind: savingConnect}, out)
		return
	}
	s.connAck(now, out)
}

func (s *Session) onConnectStored(now Time, out *Out) {
	s.durable.accepting = false
	if s.state == StateActive {
		s.connAck(now, out)
		return
	}
	s.resumeDelivery(now, out) // it has gone to sleep without waiting for CONNACK
}

func (s *Session) connAck(now Time, out *Out) {
	send(out, sn12.ConnAck{})
	s.resumeDelivery(now, out)
}

// goodbye ends the session because the device has sent DISCONNECT, and answers it when
// a restart would not find the device connected any more, and publish its will.
func (s *Session) goodbye(out *Out) {
	wait := s.storing(out) && s.durable.known
	if !wait {
		send(out, sn12.Disconnect{})
	}
	s.disown()
	if s.durable != nil {
		s.durable.leaving = wait
	}
	s.end(StateDisconnected, ReasonClientDisconnect, ActionCloseClean, out)
	if wait {
		s.whenStored(saving{kind: savingGoodbye}, out)
	}
}

func (s *Session) onGoodbyeStored(out *Out) {
	s.durable.leaving = false
	send(out, sn12.Disconnect{})
	if s.link == linkClosed && s.dialogue == nil && !s.draining() {
		s.free(out)
	}
}
