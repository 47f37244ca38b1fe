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

// askRivalled repeats the question, or takes silence for an answer.
func (ad *address) askRivalled(st *step) {
	r := ad.rival
	r.at = Never
	switch {
	case ad.s.state != StateActive:
	case r.tries >= ad.s.cfg.RetryCount:
		r.lost = true
	default:
		r.tries++
		r.at = st.Now + ad.s.cfg.RetryInterval
		ad.sendPingReq(st)
	}
}

// contested is Session.Contested.
func (ad *address) contested(st *step) bool {
	if ad.s.state != StateActive {
		return ad.s.state == StateAsleep && ad.reach != nil
	}
	if r := ad.rival; r != nil && (r.lost || st.Now < r.began+Time(ad.s.cfg.RetryCount+1)*ad.s.cfg.RetryInterval) {
		return r.lost
	}
	ad.reach.beginStep(st.Out)
	ad.rival = &rival{began: st.Now, at: st.Now + ad.s.cfg.RetryInterval}
	ad.sendPingReq(st)
	ad.reach.charge(st.Out)
	return false
}
