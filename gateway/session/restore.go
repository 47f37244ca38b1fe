package session

// restore is the repetition of all subscriptions to a broker that has none of them, a
// few at a time.
type restore struct {
	token Token // of all its requests
	next  int   // index of the next subscription
	open  int   // requests not answered
}

const restoreAtOnce = 16

func (s *Session) restoreSubscriptions(out *Out) {
	s.noteRestoring()
	if s.restore = (restore{}); len(s.subs) > 0 {
		s.restore.token = s.token()
		s.restoreMore(out)
	}
}

// noteRestoring has RecordSession written when a restoration begins and when it is
// complete: what the shell adds to it says which broker has the session.
func (s *Session) noteRestoring() {
	if !s.clean {
		s.mustSave()
	}
}

// Restoring reports whether the subscriptions are being repeated: no broker has the
// whole session then.
func (s *Session) Restoring() bool { return s.restore.token != 0 }

// Restore has the subscriptions repeated at the next connection, though the broker has the
// session: an earlier process did not get to the end of it.
func (s *Session) Restore() { s.restore.token = s.token() }

func (s *Session) restoreMore(out *Out) {
	for r := &s.restore; r.open < restoreAtOnce && r.next < len(s.subs); r.next++ {
		sub := &s.subs[r.next]
		out.do(Action{Kind: ActionSubscribe, Token: r.token, Topic: sub.filter, QoS: sub.qos})
		r.open++
	}
	if s.restore.open == 0 {
		s.restore = restore{} // complete
		s.noteRestoring()
	}
}

// onRestored goes on with the restoration. When the link is down it begins anew once it
// is up.
func (s *Session) onRestored(ev *Event, out *Out) {
	s.restore.open--
	switch {
	case ev.Failed:
		if s.link == linkUp {
			out.drop(ReasonBrokerCongested)
		}
		return
	case ev.Code > 2:
		out.drop(ReasonSubscriptionRefused) // which one is not known: they are repeated several at a time
	}
	s.restoreMore(out)
}
