package session

import "sngate/snpacket/sn12"

// Answers to CONNECT and DISCONNECT, which wait until the store has what they confirm. They
// are sent also when the store has failed: then the gateway goes on as one without a store.

// accepting reports whether CONNACK waits for the store: the device is not sent anything
// before it.
func (s *Session) accepting() bool { return s.journal.awaits(thenConnAck) }

// onConnectStored sends CONNACK, and then what is held for the device.
func (s *Session) onConnectStored(st *step) {
	if s.state == StateActive { // or it has gone to sleep without waiting for CONNACK
		send(st, sn12.ConnAck{})
	}
	s.resumeDelivery(st)
}

// goodbye ends the session because the device has sent DISCONNECT, and answers it when
// a restart would not find the device connected any more, and publish its will.
func (s *Session) goodbye(st *step) {
	s.disown()
	s.after(st, goOnWhenDown, continuation{kind: thenGoodbye})
	s.end(st, StateDisconnected, ReasonClientDisconnect, ActionCloseClean)
}

func (s *Session) onGoodbyeStored(st *step) {
	send(st, sn12.Disconnect{})
	if s.link == linkClosed && s.dialogue == nil && !s.draining() {
		s.free(st)
	}
}
