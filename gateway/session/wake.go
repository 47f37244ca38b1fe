package session

import "sngate/gateway/session/dialogue"

// waking is a sleeper's wake.
type waking struct {
	s *Session

	barrier barrier
}

// barrier makes sure that what the broker releases because of the acknowledgements of
// a wake is delivered in the same wake: MQTT answers PINGREQ in order, so its PINGRESP
// comes after those messages.
type barrier struct {
	at    Time  // when it is given up
	token Token // of the PINGREQ on its way; 0: none
	done  bool  // no more barriers in this wake

	// rounds is how many PINGREQs what has been acknowledged since the last wake takes, and
	// what the broker could not send because its connection was not read: QoS 1 one, QoS 2
	// two, because there the broker goes on at PUBCOMP. It is sent in answer to the
	// PUBREL which the first PINGRESP comes behind.
	rounds uint8
	sent   int // deliveries begun in this wake
}

// giveUp ends the wake without waiting for the broker.
func (b *barrier) giveUp() {
	b.at, b.token, b.done = Never, 0, true
}

// end ends the wake, if it is one, and forgets what the broker owes.
func (wk *waking) end() { wk.barrier = barrier{at: Never} }

// owe notes that the broker may have more for the device, which so many PINGREQs bring.
func (wk *waking) owe(rounds uint8) { wk.barrier.rounds = max(wk.barrier.rounds, rounds) }

// sent counts a delivery that has begun.
func (wk *waking) sent() { wk.barrier.sent++ }

// subscribed ends the wait for a SUBACK: it has come.
func (wk *waking) subscribed() {
	if wk.barrier.token == 0 {
		wk.barrier.at = Never
	}
}

// wakeFactor bounds a wake, as so many times the messages that are held at most: a
// steady stream of messages must not keep a device awake for ever.
const wakeFactor = 10

// tired reports whether the device has been sent so much in this wake that the rest
// waits for the next one.
func (wk *waking) tired() bool {
	return wk.s.state == StateAwake && wk.barrier.sent >= wakeFactor*wk.s.cfg.MaxMessages
}

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
		wk.s.down.resume(st)
	}
}

// finish sends a device back to sleep when nothing is left for it, behind a
// barrier if the broker may have more for it.
func (wk *waking) finish(st *step) {
	switch {
	case wk.s.down.paused && wk.s.announcer.futile():
		// No answer of the broker is read before the device takes what is held, and it does not.
	case wk.barrier.token != 0 && !wk.tired(): // its answer may be behind messages that are not read
		return
	case wk.s.custody.completing() && !wk.barrier.done && !wk.tired(): // the broker goes on behind PUBCOMP
		wk.barrier.at = min(wk.barrier.at, st.Now+wk.s.cfg.BarrierTimeout)
		return
	case wk.s.down.gated(st) && !wk.barrier.done && wk.s.down.resumeAt == Never && !wk.tired():
		wk.barrier.at = min(wk.barrier.at, st.Now+wk.s.cfg.BarrierTimeout) // for the SUBACK
		return
	case (wk.barrier.rounds > 0 || wk.s.down.paused) && !wk.barrier.done && wk.s.broker.link == linkUp && wk.s.down.resumeAt == Never && !wk.tired():
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
