package session

const (
	resubscribeAtOnce = 16

	// A subscription that connections have ended of, or that there was no room for, is asked
	// for again after a pause, which doubles each time: the broker may just have been ill.
	firstResubscribePause = Time(60e9)
	lastResubscribePause  = Time(3600e9)
)

// resubscribe repeats the subscriptions. forgot: identities have been forgotten
// with the broker's session. Then the store has to have that first: the broker's new session
// has no messages before it has a subscription, and a restart would take the first of them
// for repeats.
func (sb *subscriptions) resubscribe(st *step, due, forgot bool) {
	sb.noteResubscription()
	sb.resubscription = resubscription{due: due}
	if len(sb.list) == 0 {
		return
	}
	sb.resubscription.token = sb.s.broker.token()
	if !forgot {
		sb.resubscribeMore(st)
		return
	}
	sb.s.after(st, bypassWhenDown, continuation{kind: thenResubscribe})
}

// beginResubscribing sends the first SUBSCRIBEs: the store has what had to be there before.
func (sb *subscriptions) beginResubscribing(st *step) {
	if r := &sb.resubscription; r.token != 0 && r.next == 0 && r.open == 0 && sb.s.broker.link == linkUp {
		sb.resubscribeMore(st)
	}
}

// noteResubscription has RecordSession written when a resubscription begins and when it is
// complete: what the shell adds to it says which broker has the session.
func (sb *subscriptions) noteResubscription() {
	if !sb.s.clean {
		sb.s.journal.mustSave()
	}
}

func (sb *subscriptions) resubscribeMore(st *step) {
	for r := &sb.resubscription; r.open < resubscribeAtOnce && int(r.next) < len(sb.list); r.next++ {
		sub := &sb.list[r.next]
		if sub.askAt > st.Now || r.due && sub.askAt == 0 {
			continue
		}
		if why := sb.refuses(sub.filter); why != ReasonNone {
			st.dropOf(why, sub.filter, 0) // it was granted under other limits, which may come back
			sub.askAt, sub.pause = 0, 0
			continue
		}
		st.do(Action{Kind: ActionSubscribe, Token: r.token, Topic: sub.filter, QoS: sb.s.cfg.Limits.QoS(sub.qos)})
		r.open++
	}
	if sb.resubscription.open == 0 {
		sb.resubscription = resubscription{} // complete
		sb.findResubscribeTime()
		sb.noteResubscription()
	}
}

// onResubscribed takes the answer to one of the SUBSCRIBEs, and sends the next. If the link is
// down, the resubscription begins anew once it is up.
func (sb *subscriptions) onResubscribed(st *step, ev *Event) {
	sb.resubscription.open--
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
		sb.resubscribeMore(st)
		return
	case ev.Refused != NotRefused:
		st.dropOf(ReasonSubscriptionRefused, ev.Topic, 0)
	}
	if i >= 0 {
		sb.list[i].askAt, sb.list[i].pause = 0, 0
	}
	sb.resubscribeMore(st)
}

func (sub *subscription) postpone(now Time) {
	sub.pause = min(max(2*sub.pause, firstResubscribePause), lastResubscribePause)
	sub.askAt = now + sub.pause
}

// findResubscribeTime sets resubscribeAt from the subscriptions.
func (sb *subscriptions) findResubscribeTime() {
	sb.resubscribeAt = Never
	for i := range sb.list {
		if at := sb.list[i].askAt; at != 0 {
			sb.resubscribeAt = min(sb.resubscribeAt, at)
		}
	}
}

func (sb *subscriptions) resubscribeDeadline() Time {
	if sb.resubscription.token != 0 || sb.s.broker.link != linkUp {
		return Never // the end of the one, and the next connection, see to it
	}
	return sb.resubscribeAt
}

// resubscribeDue subscribes to what is due again.
func (sb *subscriptions) resubscribeDue(st *step) {
	if st.Now >= sb.resubscribeDeadline() {
		sb.resubscription = resubscription{token: sb.s.broker.token(), due: true}
		sb.resubscribeMore(st)
	}
}

// resubscribeNextTime has the subscriptions repeated when the broker is next connected to.
func (sb *subscriptions) resubscribeNextTime() { sb.resubscription.token = sb.s.broker.token() }
