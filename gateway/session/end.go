package session

import "sngate/snpacket/sn12"

// lose ends a session whose device is gone, and tells the device in case it is not
// (MQTT-SN 1.2 section 6.14). A device that is probably connected through another
// gateway now is told nothing: it would take the DISCONNECT for the other's.
func (s *Session) lose(st *step, why Reason) {
	if !s.parked && s.affords(st, sn12.Disconnect{}.Len()) {
		send(st, sn12.Disconnect{})
	}
	s.endLost(st, why)
}

// endLost ends a session the way that has its will published: by the broker, when the
// connection ends without DISCONNECT. Where the broker holds none (KeepsWills), or
// another one than the device has set since (MQTT cannot change a will once connected),
// the gateway publishes the right one itself and ends the connection so that the broker
// publishes none.
func (s *Session) endLost(st *step, why Reason) {
	s.disown()
	how := ActionCloseAbort
	switch w := s.wills.current; {
	case s.parked: // the broker has closed the connection: it knows
	case w == nil && s.wills.carried != nil:
		how = ActionCloseClean
	case w != nil && !w.equal(s.wills.carried):
		how = ActionCloseDrain
		s.wills.due = true // closeLink has it published, behind what the device has sent
	}
	s.end(st, StateLost, why, how)
}

// end ends the connection of the device. What CleanSession=0 keeps is kept: topic ids,
// subscriptions, will, and the identifiers of QoS 2 exchanges half done. Messages held
// for the device go back to the broker, which has not been told that they arrived.
func (s *Session) end(st *step, state State, why Reason, how ActionKind) {
	s.dialogue = nil
	s.suspendDelivery()
	s.dropHeld(st, ReasonSessionEnded)
	s.subs.forgetAsked()
	s.up.retire(st)
	s.barrier = barrier{at: Never}
	s.lifeAt, s.resumeAt, s.askAt = Never, Never, Never
	s.fresh = false
	s.forgetAddress(st)
	s.rival = nil
	s.enter(st, state, why)
	s.journal.mustSave()
	s.closeLink(st, how)
}

// Expire ends a session that is kept for a device that has gone, for good: ActionFree
// follows, at once or when the connection to the broker has ended. The broker is not
// told. It could only be told in the name of the device (MQTT 3.1.1 section 3.1.2.4),
// which may be connected through another gateway by now, and would be cut off.
//
// It reports false, and does nothing, for a session that is in use, be it for messages
// of the device that the broker has not got yet.
func (s *Session) Expire(env Env, out *Out) bool {
	st := &step{env, out}
	if s.connected() || s.dialogue != nil || s.draining() {
		return false
	}
	s.forget(st)
	s.clean, s.wills.current, s.wills.carried = true, nil, nil
	if s.link == linkClosed {
		s.free(st)
	}
	return true
}

func (s *Session) onLinkClosed(st *step) {
	if s.link != linkClosing {
		return // a new connection has been asked for meanwhile
	}
	s.link = linkClosed
	if s.wills.due {
		s.wills.due = false
		s.journal.mustSave()
	}
	switch {
	case s.dialogue != nil:
	case s.draining():
		s.reopenToDrain(st)
	default:
		s.free(st)
	}
}

// free lets the shell forget a session that nothing is kept of.
func (s *Session) free(st *step) {
	if !s.kept && !s.journal.awaits(thenGoodbye) {
		st.do(Action{Kind: ActionFree})
	}
}

func (s *Session) onLinkDown(st *step) {
	if s.link != linkUp {
		return // reported before the session gave the connection up
	}
	s.link = linkDown
	s.uncomplete()
	s.up.retract(st)
	if s.draining() && s.closeAs == ActionCloseAbort {
		s.closeAs = ActionCloseClean // the broker publishes the will now
		st.do(Action{Kind: ActionSetWill})
	}
	if s.state == StateAwake {
		s.barrier = barrier{at: Never}
		s.pump(st)
	}
}

// onLinkUp goes on after the link has reconnected. In-flight messages are the link's
// business; subscriptions the broker has forgotten are the session's.
func (s *Session) onLinkUp(st *step, ev *Event) {
	if s.link != linkDown {
		return
	}
	s.link = linkUp
	s.wills.carried = s.wills.brokersWill()
	if s.wills.late {
		s.wills.late = false
		s.wills.carried = &Will{} // one or the other: no will the device can have set
	}
	if ev.NoWill {
		s.wills.carried = nil
	}
	s.resume(st, ev.SessionPresent)
	s.subs.askAgain(st)
	s.up.drain(st)
	s.resumeDelivery(st)
}

// onParked stops sending: the broker has probably closed the connection because the
// device is connected through another gateway. A word from the device shows that it is
// not, and starts again what was stopped; a device that listens is asked for one. Also when
// the link is up again, for what is in the spool, the device is sent nothing before that.
func (s *Session) onParked(now Time) {
	if s.link != linkDown {
		return
	}
	s.parked = true
	if s.connected() {
		s.suspendDelivery()
	}
	if s.state == StateActive && len(s.subs.list) > 0 && s.askAt == Never {
		s.askLater(now)
	}
}

// askFirst is when a parked device that listens is first asked, by PINGREQ, whether it is
// still here, and askLast how long the pauses get: where another gateway has it, the
// session must not be taken from there, and nothing else would say so before it speaks.
const (
	askFirst = Time(5e9)
	askLast  = Time(300e9)
)

func (s *Session) askWhether(st *step) {
	s.askAt = Never
	if s.parked && s.state == StateActive {
		s.askLater(st.Now)
		if s.affords(st, pingLen) {
			s.sendPingReq(st)
		}
	}
}

func (s *Session) askLater(now Time) {
	s.askPause = min(max(2*s.askPause, askFirst), askLast)
	s.askAt = now + s.askPause
}

// onSilence ends a session whose device has not spoken in time. A device without
// keep-alive is asked first, unless it is being asked for something else already.
func (s *Session) onSilence(st *step) {
	switch {
	case s.state == StateAsleep || s.state == StateAwake:
		s.lose(st, ReasonSleepExpired)
		return
	case s.duration > 0:
		s.lose(st, ReasonKeepAliveExpired)
		return
	}
	s.lifeAt = st.Now + s.cfg.IdleProbe
	if !s.retry.runs() && !s.probe.runs() {
		s.probe.start(st.Now, s.cfg)
		s.sendPingReq(st)
	}
}

// onProbeRetry asks a silent device again, or takes it for lost.
func (s *Session) onProbeRetry(st *step) {
	if !s.probe.again(st.Now, s.cfg) {
		s.lose(st, ReasonRetriesExhausted)
		return
	}
	st.retry(sn12.TypePingReq)
	s.sendPingReq(st)
}

// over reports whether nothing that the connection brings is wanted any more.
func (l linkState) over() bool { return l == linkClosed || l == linkClosing }

// Stop ends the session because the gateway stops: the device is told, and the
// connection to the broker ends without the will.
func (s *Session) Stop(env Env, out *Out) {
	st := &step{env, out}
	if s.listening() {
		send(st, sn12.Disconnect{})
	}
	s.disown()
	s.end(st, StateDisconnected, ReasonGatewayStop, ActionCloseClean)
	s.save(st)
}
