package session

import "sngate/snpacket/sn12"

const (
	// maxAsked is how many SUBSCRIBE and UNSUBSCRIBE a device may wait for at once. The
	// specification allows it one (section 6.9); many send all of theirs when they start.
	maxAsked = 16
	// maxRemoving bounds those that the device does not wait for any more, and the broker
	// still has to hear of.
	maxRemoving = 64
	// askAtOnce is how many are with the link at once, which has room for some more.
	askAtOnce = 16
)

// request is a SUBSCRIBE or UNSUBSCRIBE waiting for the broker.
type request struct {
	holdAt   Time
	token    Token // 0: not with the link
	sent     bool  // it has been: the broker may know of it
	filter   string
	idType   sn12.TopicIDType
	id       uint16 // predefined id, or short name
	msgID    uint16
	qos      uint8
	remove   bool // UNSUBSCRIBE
	quiet    bool // the device does not wait for the answer any more
	presumed bool // the device has been told that it is granted: see presume
	moot     bool // an UNSUBSCRIBE with a SUBSCRIBE of the same filter behind it
}

// isAsked reports whether r is waiting for the broker already. The device does not wait
// any more for another request under the same MsgId, but the broker has to know.
func (s *Session) isAsked(now Time, r *request) bool {
	for i := range s.asked {
		a := &s.asked[i]
		if a.msgID != r.msgID {
			continue
		}
		if a.filter == r.filter && a.remove == r.remove && a.qos == r.qos {
			if a.quiet {
				a.quiet, a.holdAt = false, now+s.cfg.Hold
			}
			return true
		}
		a.quiet = true
	}
	return false
}

// mayAsk reports whether one more request fits, by number and octets: see averageName.
func (s *Session) mayAsk(filter string) bool {
	awaited, octets := 0, len(filter)
	for i := range s.asked {
		octets += len(s.asked[i].filter)
		if !s.asked[i].quiet {
			awaited++
		}
	}
	return awaited < maxAsked && len(s.asked) < maxAsked+maxRemoving && octets <= s.cfg.MaxSubscriptions*averageName
}

// mayRemove is mayAsk for an UNSUBSCRIBE. One that ends a subscription, or a request for
// one, always fits: there are only so many of those.
func (s *Session) mayRemove(filter string) bool {
	if s.mayAsk(filter) || s.subscribed(filter) >= 0 {
		return true
	}
	for i := len(s.asked) - 1; i >= 0; i-- {
		if a := &s.asked[i]; a.filter == filter {
			return !a.remove
		}
	}
	return false
}

// takesUp reports whether the last request for the filter of r, an UNSUBSCRIBE that the
// device does not wait for any more, can stand for r.
func (s *Session) takesUp(now Time, r *request) bool {
	for i := len(s.asked) - 1; i >= 0; i-- {
		a := &s.asked[i]
		if a.filter != r.filter {
			continue
		}
		if !a.remove || !a.quiet {
			return false
		}
		a.msgID, a.quiet, a.holdAt = r.msgID, false, now+s.cfg.Hold
		return true
	}
	return false
}

// removing reports whether an UNSUBSCRIBE waits that ends a subscription to filter.
func (s *Session) removing(filter string) bool {
	for i := range s.asked {
		if a := &s.asked[i]; a.remove && !a.moot && a.filter == filter {
			return true
		}
	}
	return false
}

// ask sends r to the broker, now or when it is back.
func (s *Session) ask(st *step, r request) {
	for i := range s.asked {
		if a := &s.asked[i]; a.remove && !r.remove && a.filter == r.filter {
			a.moot = true
		}
	}
	r.holdAt = st.Now + s.cfg.Hold
	s.asked = append(s.asked, r)
	s.submitMore(st)
}

// submitMore gives the link what it may have, in order.
func (s *Session) submitMore(st *step) {
	if s.link != linkUp {
		return
	}
	for i, n := 0, 0; i < len(s.asked) && n < askAtOnce; i++ {
		r := &s.asked[i]
		switch n++; {
		case r.token != 0:
		case r.moot: // it must not overtake the SUBSCRIBE
			s.answerUnsubscribe(st, r)
			s.dropAsked(i)
			i, n = i-1, n-1
		default:
			s.submit(st, r)
		}
	}
}

// forgetAsked forgets what the device waited for, because it has gone or begins anew. What
// it has been told to be done is still to be done where the session is kept.
func (s *Session) forgetAsked() {
	kept := s.asked[:0]
	for _, r := range s.asked {
		if r.remove && r.quiet && r.holdAt == Never && s.kept {
			kept = append(kept, r)
		}
	}
	if s.asked = kept; len(kept) == 0 {
		s.asked = nil
	}
}

func (s *Session) dropAsked(i int) {
	if s.asked = append(s.asked[:i], s.asked[i+1:]...); len(s.asked) == 0 {
		s.asked = nil
	}
}

func (s *Session) answerUnsubscribe(st *step, r *request) {
	if !r.quiet {
		s.after(st, goOnWhenDown, continuation{kind: thenUnsubAck, msgID: r.msgID})
	}
}

func (s *Session) submit(st *step, r *request) {
	r.token, r.sent = s.token(), true
	kind := ActionSubscribe
	if r.remove {
		kind = ActionUnsubscribe
	}
	st.do(Action{Kind: kind, Token: r.token, Topic: r.filter, QoS: r.qos})
}

// askAgain repeats what was asked while the broker was away.
func (s *Session) askAgain(st *step) {
	for i := range s.asked {
		s.asked[i].token = 0
	}
	s.submitMore(st)
}

// answered removes the request that ev answers. One whose connection went away first
// stays for askAgain, and one that the link had no room for until another is answered.
func (s *Session) answered(st *step, ev *Event) (request, bool) {
	for i := range s.asked {
		r := s.asked[i]
		if ev.Token == 0 || r.token != ev.Token {
			continue
		}
		if ev.Failed && !ev.Rejected {
			if s.link == linkUp {
				s.asked[i].token = 0
			}
			return request{}, false
		}
		s.dropAsked(i)
		s.submitMore(st)
		return r, true
	}
	return request{}, false
}

// expireAsked gives up what has waited for the broker for as long as Hold allows: the
// device is told "congestion" where there is a code for it. UNSUBACK has none, and
// refuses nothing: the device has its answer, and the broker is told when it can be.
func (s *Session) expireAsked(st *step) {
	kept := s.asked[:0]
	for _, r := range s.asked {
		if st.Now < r.holdAt {
			kept = append(kept, r)
			continue
		}
		switch {
		case r.remove:
			s.answerUnsubscribe(st, &r)
			r.quiet, r.holdAt = true, Never
			kept = append(kept, r)
		case r.quiet:
		default:
			st.dropOf(ReasonBrokerDown, r.filter, 0)
			send(st, sn12.SubAck{MsgID: r.msgID, ReturnCode: sn12.RejectedCongestion})
		}
	}
	if len(kept) == 0 {
		kept = nil
	}
	s.asked = kept
	s.submitMore(st)
}
