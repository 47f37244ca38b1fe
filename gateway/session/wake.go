package session

import "sngate/gateway/session/dialogue"

// onPingReq answers an active device, and wakes a sleeping one (section 6.14). While it
// is awake the PINGREQ is a repeat: its PINGRESP comes when all is delivered.
func (wk *waking) onPingReq(st *step) {
	switch wk.s.state {
	case StateActive:
		send(st, dialogue.Message{Kind: dialogue.PingResp})
	case StateAsleep:
		wk.s.enter(st, StateAwake, ReasonNone)
		wk.barrier = barrier{at: Never, rounds: wk.barrier.rounds}
		if len(wk.s.subs.list)+len(wk.s.subs.asked) > 0 || !wk.s.clean { // the broker may know of more than SUBACK has told
			wk.owe(1) // a message may be on its way from the broker
		}
		wk.s.down.ready()
		wk.s.down.proceed(st)
	}
}

// finish sends a device back to sleep when nothing is left for it, behind a
// barrier if the broker may have more for it.
func (wk *waking) finish(st *step) {
	switch {
	case wk.s.down.paused && wk.s.announcer.futile():
		// No answer of the broker is read before the device takes what is held, and it does not.
	case wk.barrier.token != 0 && !wk.limitReached(): // its answer may be behind messages that are not read
		return
	case wk.s.custody.completing() && !wk.barrier.done && !wk.limitReached(): // the broker goes on behind PUBCOMP
		wk.barrier.at = min(wk.barrier.at, st.Now+wk.s.cfg.BarrierTimeout)
		return
	case wk.s.down.gated(st) && !wk.barrier.done && wk.s.down.proceedAt == Never && !wk.limitReached():
		wk.barrier.at = min(wk.barrier.at, st.Now+wk.s.cfg.BarrierTimeout) // for the SUBACK
		return
	case (wk.barrier.rounds > 0 || wk.s.down.paused) && !wk.barrier.done && wk.s.broker.link == linkUp && wk.s.down.proceedAt == Never && !wk.limitReached():
		wk.barrier.at, wk.barrier.token = st.Now+wk.s.cfg.BarrierTimeout, wk.s.broker.token()
		wk.barrier.rounds -= min(wk.barrier.rounds, 1)
		st.do(Action{Kind: ActionPing, Token: wk.barrier.token})
		return
	}
	wk.end()
	wk.s.announcer.suspend()
	send(st, dialogue.Message{Kind: dialogue.PingResp})
	wk.s.enter(st, StateAsleep, ReasonNone)
	wk.s.presence.heard(st.Now)
}

func (wk *waking) onPong(st *step, ev *Event) {
	if ev.Token == 0 || ev.Token != wk.barrier.token {
		return
	}
	wk.barrier.token = 0
	wk.barrier.at = Never
	wk.barrier.done = ev.Failed
	wk.s.down.pump(st)
}

// limitReached reports whether the device has been sent as many messages as one wake may
// deliver. The rest waits for the next one.
func (wk *waking) limitReached() bool {
	return wk.s.state == StateAwake && wk.barrier.sent >= wakeFactor*wk.s.cfg.MaxMessages
}

// wakeFactor bounds a wake, as so many times the messages that are held at most: a
// steady stream of messages must not keep a device awake for ever.
const wakeFactor = 10
