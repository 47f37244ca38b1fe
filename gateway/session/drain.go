package session

// A connection to the broker that outlives the device's, for what is in the spool.

// Draining reports whether the connection to the broker has outlived the device's, to
// deliver what has been acknowledged to the device.
func (s *Session) Draining() bool { return s.draining() }

// Delivering reports whether the session has anything for the broker, whatever has become
// of the device.
func (s *Session) Delivering() bool {
	return s.wills.due || s.up.spool.len() > 0 || s.up.relays()
}

// relays reports whether a PUBLISH of the device is with the link.
func (ul *uplink) relays() bool {
	for i := range ul.window {
		if ul.window[i].stage == relaying {
			return true
		}
	}
	return false
}

func (s *Session) draining() bool { return s.closeAs != 0 }

// closeLink ends the connection to the broker, or has it ended when the spool is empty. A
// will that is due is published last: nothing of the device may come after it.
func (s *Session) closeLink(st *step, how ActionKind) {
	if s.up.spool.len() > 0 {
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
	if s.wills.due && how == ActionCloseDrain && s.link != linkClosing { // the link has it then
		s.wills.publish(st, s.wills.current)
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
	s.link, s.wills.carried = linkDown, nil
	st.do(Action{Kind: ActionReopen, Clean: s.clean, KeepAlive: s.duration})
}

// closeDrained ends a connection that was kept for the spool only.
func (s *Session) closeDrained(st *step) {
	if !s.draining() || s.up.spool.len() > 0 || s.dialogue != nil {
		return
	}
	how := s.closeAs
	s.closeAs = 0
	s.closeLink(st, how)
}
