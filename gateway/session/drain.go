package session

// A connection to the broker that outlives the device's, for what is in the spool.

// Draining reports whether the connection to the broker has outlived the device's, to
// deliver what has been acknowledged to the device.
func (s *Session) Draining() bool { return s.draining() }

// Delivering reports whether the session has anything for the broker, whatever has become
// of the device.
func (s *Session) Delivering() bool {
	return s.willDue || s.spool.len() > 0 || s.relays()
}

// relays reports whether a PUBLISH of the device is with the link.
func (s *Session) relays() bool {
	for i := range s.window {
		if s.window[i].stage == relaying {
			return true
		}
	}
	return false
}

func (s *Session) draining() bool { return s.closeAs != 0 }

// closeLink ends the connection to the broker, or has it ended when the spool is empty. A
// will that is due is published last: nothing of the device may come after it.
func (s *Session) closeLink(st *step, how ActionKind) {
	if s.spool.len() > 0 {
		if how == ActionCloseAbort && s.link != linkUp {
			how = ActionCloseClean // the broker has published the will when the connection broke
			st.do(Action{Kind: ActionSetWill})
		}
		s.closeAs = how
		if s.link == linkClosed {
			s.reopenToDrain(st)
		}
		return
	}
	if s.willDue && how == ActionCloseDrain && s.link != linkClosing { // the link has it then
		s.publishWill(st, s.will)
	}
	switch s.link {
	case linkClosed:
		s.free(st)
	case linkClosing:
	default:
		s.link = linkClosing
		s.uncomplete()
		st.do(Action{Kind: how})
	}
}

// reopenToDrain connects in the name of a device that has gone. Its will has been
// settled.
func (s *Session) reopenToDrain(st *step) {
	s.link, s.carried = linkDown, nil
	st.do(Action{Kind: ActionReopen, Clean: s.clean, KeepAlive: s.duration})
}

// closeDrained ends a connection that was kept for the spool only.
func (s *Session) closeDrained(st *step) {
	if !s.draining() || s.spool.len() > 0 || s.dialogue != nil {
		return
	}
	how := s.closeAs
	s.closeAs = 0
	s.closeLink(st, how)
}
