package session

const (
	restoreAtOnce = 16

	// A subscription that connections have ended of, or that there was no room for, is asked
	// for again after a pause, which doubles each time: the broker may just have been ill.
	firstRestorePause = Time(60e9)
	lastRestorePause  = Time(3600e9)
)

// restoreSubscriptions begins the repetition. forgot: identities have been forgotten
// with the broker's session. Then the store has to have that first: the broker's new session
// has no messages before it has a subscription, and a restart would take the first of them
// for repeats.
func (sb *subscriptions) restoreSubscriptions(st *step, due, forgot bool) {
	sb.noteRestoring()
	sb.restore = restore{due: due}
	if len(sb.list) == 0 {
		return
	}
	sb.restore.token = sb.s.broker.token()
	if !forgot {
		sb.restoreMore(st)
		return
	}
	sb.s.after(st, goOnWhenDown, continuation{kind: thenRestore})
}

// beginRestore goes on when the store has what was to be there first.
func (sb *subscriptions) beginRestore(st *step) {
	if r := &sb.restore; r.token != 0 && r.next == 0 && r.open == 0 && sb.s.broker.link == linkUp {
		sb.restoreMore(st)
	}
}

// noteRestoring has RecordSession written when a restoration begins and when it is
// complete: what the shell adds to it says which broker has the session.
func (sb *subscriptions) noteRestoring() {
	if !sb.s.clean {
		sb.s.journal.mustSave()
	}
}

func (sb *subscriptions) restoreMore(st *step) {
	for r := &sb.restore; r.open < restoreAtOnce && int(r.next) < len(sb.list); r.next++ {
		sub := &sb.list[r.next]
		if sub.askAt > st.Now || r.due && sub.askAt == 0 {
			continue
		}
		st.do(Action{Kind: ActionSubscribe, Token: r.token, Topic: sub.filter, QoS: sub.qos})
		r.open++
	}
	if sb.restore.open == 0 {
		sb.restore = restore{} // complete
		sb.findRestoreTime()
		sb.noteRestoring()
	}
}

// onRestored goes on with the restoration. When the link is down it begins anew once it
// is up.
func (sb *subscriptions) onRestored(st *step, ev *Event) {
	sb.restore.open--
	i := sb.find(ev.Topic)
	switch {
	case ev.Rejected:
		st.dropOf(ReasonSubscriptionRefused, ev.Topic, 0)
		if i >= 0 {
			sb.list[i].postpone(st.Now)
		}
		return // the connection is gone
	case ev.Failed && sb.s.broker.link != linkUp:
		return
	case ev.Failed: // the link had no room
		st.drop(ReasonBrokerCongested)
		if i >= 0 {
			sb.list[i].postpone(st.Now)
		}
		sb.restoreMore(st)
		return
	case ev.Refused != NotRefused:
		st.dropOf(ReasonSubscriptionRefused, ev.Topic, 0)
	}
	if i >= 0 {
		sb.list[i].askAt, sb.list[i].pause = 0, 0
	}
	sb.restoreMore(st)
}

func (sub *subscription) postpone(now Time) {
	sub.pause = min(max(2*sub.pause, firstRestorePause), lastRestorePause)
	sub.askAt = now + sub.pause
}

// findRestoreTime sets restoreAt from the subscriptions.
func (sb *subscriptions) findRestoreTime() {
	sb.restoreAt = Never
	for i := range sb.list {
		if at := sb.list[i].askAt; at != 0 {
			sb.restoreAt = min(sb.restoreAt, at)
		}
	}
}

func (sb *subscriptions) restoreDeadline() Time {
	if sb.restore.token != 0 || sb.s.broker.link != linkUp {
		return Never // the end of the one, and the next connection, see to it
	}
	return sb.restoreAt
}

// restoreDue asks for what is due again.
func (sb *subscriptions) restoreDue(st *step) {
	if st.Now >= sb.restoreDeadline() {
		sb.restore = restore{token: sb.s.broker.token(), due: true}
		sb.restoreMore(st)
	}
}

// restoreAgain has the subscriptions repeated at the next connection.
func (sb *subscriptions) restoreAgain() { sb.restore.token = sb.s.broker.token() }
