package session

// Somebody else who wants the session, where its address may not change while it is
// live. The device is asked whether it is still there, so that nobody is locked out for
// longer than that takes.

// rival is what is known of the last time that the session was contested.
type rival struct {
	began Time
	at    Time // when the unanswered PINGREQ is repeated; Never: it is not
	tries int
	lost  bool // the device has not answered
}

func (r *rival) deadline() Time {
	if r == nil {
		return Never
	}
	return r.at
}

// heard ends the contest: the device is there.
func (r *rival) heard() {
	if r != nil {
		r.at, r.lost = Never, false
	}
}

// Contested says that a CONNECT has come from another address than the device's. It
// reports whether the session may be moved there, because the device was asked before
// and has not answered in the time of a request and its repeats. Otherwise the device is
// asked, if it is active: one that sleeps could not answer. It keeps its session if it has
// proven its address; otherwise anybody could lock out a device by a forged address for as
// long as a sleep may last. CONNECTs that go on coming have a device that answers asked no
// more often than one that does not.
func (s *Session) Contested(env Env, out *Out) bool {
	st := &step{env, out}
	if s.state != StateActive {
		return s.state == StateAsleep && s.reach != nil
	}
	if r := s.rival; r != nil && (r.lost || st.Now < r.began+Time(s.cfg.RetryCount+1)*s.cfg.RetryInterval) {
		return r.lost
	}
	s.reach.beginStep(st.Out)
	s.rival = &rival{began: st.Now, at: st.Now + s.cfg.RetryInterval}
	s.sendPingReq(st)
	s.reach.charge(st.Out)
	return false
}

// askRivalled repeats the question, or takes silence for an answer.
func (s *Session) askRivalled(st *step) {
	r := s.rival
	r.at = Never
	switch {
	case s.state != StateActive:
	case r.tries >= s.cfg.RetryCount:
		r.lost = true
	default:
		r.tries++
		r.at = st.Now + s.cfg.RetryInterval
		s.sendPingReq(st)
	}
}
