package session

// restore is the repetition of all subscriptions to a broker that has none of them, or of
// those that are due again, a few at a time.
type restore struct {
	token Token // of all its requests
	next  int32 // index of the next subscription
	open  uint8 // requests not answered
	due   bool  // only those that connections have ended of
}

const (
	restoreAtOnce = 16

	// A subscription that connections have ended of, or that there was no room for, is asked
	// for again after a pause, which doubles each time: the broker may just have been ill.
	firstRestorePause = Time(60e9)
	lastRestorePause  = Time(3600e9)
)

// restoreSubscriptions begins the repetition. forgot: packet identifiers have been forgotten
// with the broker's session. Then the store has to have that first: the broker's new session
// has no messages before it has a subscription, and a restart would take the first of them
// for repeats.
func (s *Session) restoreSubscriptions(st *step, due, forgot bool) {
	s.noteRestoring()
	s.restore = restore{due: due}
	if len(s.subs) == 0 {
		return
	}
	s.restore.token = s.token()
	if !forgot {
		s.restoreMore(st)
		return
	}
	s.after(st, goOnWhenDown, continuation{kind: thenRestore})
}

// beginRestore goes on when the store has what was to be there first.
func (s *Session) beginRestore(st *step) {
	if r := &s.restore; r.token != 0 && r.next == 0 && r.open == 0 && s.link == linkUp {
		s.restoreMore(st)
	}
}

// noteRestoring has RecordSession written when a restoration begins and when it is
// complete: what the shell adds to it says which broker has the session.
func (s *Session) noteRestoring() {
	if !s.clean {
		s.journal.mustSave()
	}
}

// Restoring reports whether the subscriptions are being repeated, or one of them is to be:
// no broker has the whole session then.
func (s *Session) Restoring() bool { return s.restore.token != 0 || s.restoreAt != Never }

// Restore has the subscriptions repeated at the next connection, though the broker has the
// session: an earlier process did not get to the end of it.
func (s *Session) Restore() { s.restore.token = s.token() }

func (s *Session) restoreMore(st *step) {
	for r := &s.restore; r.open < restoreAtOnce && int(r.next) < len(s.subs); r.next++ {
		sub := &s.subs[r.next]
		if sub.askAt > st.Now || r.due && sub.askAt == 0 {
			continue
		}
		st.do(Action{Kind: ActionSubscribe, Token: r.token, Topic: sub.filter, QoS: sub.qos})
		r.open++
	}
	if s.restore.open == 0 {
		s.restore = restore{} // complete
		s.findRestoreTime()
		s.noteRestoring()
	}
}

// onRestored goes on with the restoration. When the link is down it begins anew once it
// is up.
func (s *Session) onRestored(st *step, ev *Event) {
	s.restore.open--
	i := s.subscribed(ev.Topic)
	switch {
	case ev.Rejected:
		st.dropOf(ReasonSubscriptionRefused, ev.Topic, 0)
		if i >= 0 {
			s.subs[i].postpone(st.Now)
		}
		return // the connection is gone
	case ev.Failed && s.link != linkUp:
		return
	case ev.Failed: // the link had no room
		st.drop(ReasonBrokerCongested)
		if i >= 0 {
			s.subs[i].postpone(st.Now)
		}
		s.restoreMore(st)
		return
	case ev.Refused != NotRefused:
		st.dropOf(ReasonSubscriptionRefused, ev.Topic, 0)
	}
	if i >= 0 {
		s.subs[i].askAt, s.subs[i].pause = 0, 0
	}
	s.restoreMore(st)
}

func (sub *subscription) postpone(now Time) {
	sub.pause = min(max(2*sub.pause, firstRestorePause), lastRestorePause)
	sub.askAt = now + sub.pause
}

// findRestoreTime sets restoreAt from the subscriptions.
func (s *Session) findRestoreTime() {
	s.restoreAt = Never
	for i := range s.subs {
		if at := s.subs[i].askAt; at != 0 {
			s.restoreAt = min(s.restoreAt, at)
		}
	}
}

func (s *Session) restoreDeadline() Time {
	if s.restore.token != 0 || s.link != linkUp {
		return Never // the end of the one, and the next connection, see to it
	}
	return s.restoreAt
}

// restoreDue asks for what is due again.
func (s *Session) restoreDue(st *step) {
	if st.Now >= s.restoreDeadline() {
		s.restore = restore{token: s.token(), due: true}
		s.restoreMore(st)
	}
}
