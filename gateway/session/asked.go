package session

// SUBSCRIBE and UNSUBSCRIBE that wait for the broker.

import "sngate/gateway/session/dialogue"

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

// isAsked reports whether r is waiting for the broker already. The device does not wait
// any more for another request under the same MsgId, but the broker has to know.
func (sb *subscriptions) isAsked(now Time, r *request) bool {
	for i := range sb.asked {
		a := &sb.asked[i]
		if a.msgID != r.msgID {
			continue
		}
		if a.filter == r.filter && a.remove == r.remove && a.qos == r.qos {
			if a.quiet {
				a.quiet, a.waitUntil = false, now+sb.s.cfg.BrokerWait
			}
			return true
		}
		a.quiet = true
	}
	return false
}

// mayAsk reports whether one more request fits, by number and octets: see averageName.
func (sb *subscriptions) mayAsk(filter string) bool {
	awaited, octets := 0, len(filter)
	for i := range sb.asked {
		octets += len(sb.asked[i].filter)
		if !sb.asked[i].quiet {
			awaited++
		}
	}
	return awaited < maxAsked && len(sb.asked) < maxAsked+maxRemoving && octets <= sb.s.cfg.MaxSubscriptions*averageName
}

// mayRemove is mayAsk for an UNSUBSCRIBE. One that ends a subscription, or a request for
// one, always fits: there are only so many of those.
func (sb *subscriptions) mayRemove(filter string) bool {
	if sb.mayAsk(filter) || sb.find(filter) >= 0 {
		return true
	}
	for i := len(sb.asked) - 1; i >= 0; i-- {
		if a := &sb.asked[i]; a.filter == filter {
			return !a.remove
		}
	}
	return false
}

// reuses has the last request for the filter of r stand for r, if that is an UNSUBSCRIBE which
// the device does not wait for any more. It reports whether it is.
func (sb *subscriptions) reuses(now Time, r *request) bool {
	for i := len(sb.asked) - 1; i >= 0; i-- {
		a := &sb.asked[i]
		if a.filter != r.filter {
			continue
		}
		if !a.remove || !a.quiet {
			return false
		}
		a.msgID, a.quiet, a.waitUntil = r.msgID, false, now+sb.s.cfg.BrokerWait
		return true
	}
	return false
}

// removing reports whether an UNSUBSCRIBE waits that ends a subscription to filter.
func (sb *subscriptions) removing(filter string) bool {
	for i := range sb.asked {
		if a := &sb.asked[i]; a.remove && !a.moot && a.filter == filter {
			return true
		}
	}
	return false
}

// ask sends r to the broker, now or when it is back.
func (sb *subscriptions) ask(st *step, r request) {
	for i := range sb.asked {
		if a := &sb.asked[i]; a.remove && !r.remove && a.filter == r.filter {
			a.moot = true
		}
	}
	r.waitUntil = st.Now + sb.s.cfg.BrokerWait
	sb.asked = append(sb.asked, r)
	sb.submitMore(st)
}

// submitMore gives the link what it may have, in order.
func (sb *subscriptions) submitMore(st *step) {
	if sb.s.broker.link != linkUp {
		return
	}
	for i, n := 0, 0; i < len(sb.asked) && n < askAtOnce; i++ {
		r := &sb.asked[i]
		switch n++; {
		case r.token != 0:
		case r.moot: // it must not overtake the SUBSCRIBE
			sb.answerUnsubscribe(st, r)
			sb.dropAsked(i)
			i, n = i-1, n-1
		default:
			sb.submit(st, r)
		}
	}
}

// forgetAsked forgets what the device waited for, because it has gone or begins anew. What
// it has been told to be done is still to be done where the session is kept.
func (sb *subscriptions) forgetAsked() {
	rest := sb.asked[:0]
	for _, r := range sb.asked {
		if r.remove && r.quiet && r.waitUntil == Never && sb.s.kept {
			rest = append(rest, r)
		}
	}
	if sb.asked = rest; len(rest) == 0 {
		sb.asked = nil
	}
}

func (sb *subscriptions) dropAsked(i int) {
	if sb.asked = append(sb.asked[:i], sb.asked[i+1:]...); len(sb.asked) == 0 {
		sb.asked = nil
	}
}

func (sb *subscriptions) answerUnsubscribe(st *step, r *request) {
	if !r.quiet {
		sb.s.after(st, bypassWhenDown, continuation{kind: thenUnsubAck, msgID: r.msgID})
	}
}

func (sb *subscriptions) submit(st *step, r *request) {
	r.token, r.sent = sb.s.broker.token(), true
	kind := ActionSubscribe
	if r.remove {
		kind = ActionUnsubscribe
	}
	st.do(Action{Kind: kind, Token: r.token, Topic: r.filter, QoS: r.qos})
}

// askAgain repeats what was asked while the broker was away.
func (sb *subscriptions) askAgain(st *step) {
	for i := range sb.asked {
		sb.asked[i].token = 0
	}
	sb.submitMore(st)
}

// answered removes the request that ev answers. One whose connection went away first
// stays for askAgain, and one that the link had no room for until another is answered.
func (sb *subscriptions) answered(st *step, ev *Event) (request, bool) {
	for i := range sb.asked {
		r := sb.asked[i]
		if ev.Token == 0 || r.token != ev.Token {
			continue
		}
		if ev.Failed && !ev.Rejected {
			if sb.s.broker.link == linkUp {
				sb.asked[i].token = 0
			}
			return request{}, false
		}
		sb.dropAsked(i)
		sb.submitMore(st)
		return r, true
	}
	return request{}, false
}

// expireAsked gives up what has waited for the broker for BrokerWait: the
// device is told "congestion" where there is a code for it. UNSUBACK has none, and
// refuses nothing: the device has its answer, and the broker is told when it can be.
func (sb *subscriptions) expireAsked(st *step) {
	rest := sb.asked[:0]
	for _, r := range sb.asked {
		if st.Now < r.waitUntil {
			rest = append(rest, r)
			continue
		}
		switch {
		case r.remove:
			sb.answerUnsubscribe(st, &r)
			r.quiet, r.waitUntil = true, Never
			rest = append(rest, r)
		case r.quiet:
		default:
			st.dropOf(ReasonBrokerDown, r.filter, 0)
			send(st, dialogue.Message{Kind: dialogue.SubAck, MsgID: r.msgID, Code: dialogue.Congestion})
		}
	}
	if len(rest) == 0 {
		rest = nil
	}
	sb.asked = rest
	sb.submitMore(st)
}
