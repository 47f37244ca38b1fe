package session

import "sngate/gateway/session/dialogue"

// lost ends the session if there is a reason to take the device for lost.
func (hs *handshake) lost(st *step, why Reason) {
	if why != ReasonNone {
		hs.lose(st, why)
	}
}

// lose ends a session whose device is gone, and tells the device in case it is not
// (MQTT-SN 1.2 section 6.14). A device that is probably connected through another
// gateway now is told nothing: it would take the DISCONNECT for the other's.
func (hs *handshake) lose(st *step, why Reason) {
	if !hs.s.presence.parked && hs.s.addr.affords(st, st.size(dialogue.Message{Kind: dialogue.Disconnect})) {
		send(st, dialogue.Message{Kind: dialogue.Disconnect})
	}
	hs.endLost(st, why)
}

// endLost ends a session the way that has its will published: by the broker, when the
// connection ends without DISCONNECT. Where the broker holds none (PublishesWills), or
// another one than the device has set since (MQTT cannot change a will once connected),
// the gateway publishes the right one itself and ends the connection so that the broker
// publishes none.
func (hs *handshake) endLost(st *step, why Reason) {
	hs.s.journal.dropAnswers()
	how := ActionCloseAbort
	switch w := hs.s.wills.current; {
	case hs.s.presence.parked: // the broker has closed the connection: it knows
	case w == nil && hs.s.wills.carried != nil:
		how = ActionCloseClean
	case w != nil && !w.equal(hs.s.wills.carried):
		how = ActionCloseDrain
		hs.s.wills.owe() // close has it published, behind what the device has sent
	}
	hs.end(st, StateLost, why, how)
}

// end ends the connection of the device. What CleanSession=0 keeps is kept: topic ids,
// subscriptions, will, and the identifiers of QoS 2 exchanges half done. Messages held
// for the device go back to the broker, which has not been told that they arrived.
func (hs *handshake) end(st *step, state State, why Reason, how ActionKind) {
	hs.cancel()
	hs.s.down.suspend()
	hs.s.down.dropHeld(st, ReasonSessionEnded)
	hs.s.subs.forgetAsked()
	hs.s.up.retire(st)
	hs.s.wake.end()
	hs.s.down.ready()
	hs.s.presence.end()
	hs.s.addr.end(st)
	hs.s.enter(st, state, why)
	hs.s.journal.mustSave()
	hs.s.broker.close(st, how)
}

// free lets the shell forget a session that is not kept.
func (hs *handshake) free(st *step) {
	if !hs.s.kept && !hs.s.journal.awaits(thenGoodbye) {
		st.do(Action{Kind: ActionFree})
	}
}

// goodbye ends the session because the device has sent DISCONNECT, and answers it when
// a restart would not find the device connected any more, and publish its will.
func (hs *handshake) goodbye(st *step) {
	hs.s.journal.dropAnswers()
	hs.s.after(st, bypassWhenDown, continuation{kind: thenGoodbye})
	hs.s.handshake.end(st, StateDisconnected, ReasonClientDisconnect, ActionCloseClean)
}

func (hs *handshake) onGoodbyeStored(st *step) {
	send(st, dialogue.Message{Kind: dialogue.Disconnect})
	if hs.s.broker.link == linkClosed && hs.pending == nil && !hs.s.broker.draining() {
		hs.s.handshake.free(st)
	}
}

// abandon ends a CONNECT that came to nothing. A session that was live before is lost
// with it; one that was kept stays kept; a new one goes.
func (hs *handshake) abandon(st *step, why Reason) {
	if hs.s.broker.live() {
		hs.s.handshake.endLost(st, why)
		return
	}
	hs.s.journal.dropAnswers()
	how := ActionCloseClean
	if hs.s.wills.due { // of the connection before
		how = ActionCloseDrain
	}
	hs.s.handshake.end(st, StateDisconnected, why, how)
}

// onDisconnect ends the connection, or puts the device to sleep when there is a
// duration (MQTT-SN 1.2 sections 5.4.21, 6.12 and 6.14). Either is answered with
// DISCONNECT without duration, however often it comes. A duration of 0 is none.
func (hs *handshake) onDisconnect(st *step, m *dialogue.Message) {
	switch {
	case !hs.s.connected() && hs.pending == nil:
		send(st, dialogue.Message{Kind: dialogue.Disconnect})
	case hs.s.connected() && m.Duration > 0:
		hs.s.presence.sleep(m.Duration)
		hs.s.down.suspend()
		hs.s.wake.end()
		hs.s.enter(st, StateAsleep, ReasonNone)
		hs.s.presence.heard(st.Now)
		hs.s.journal.mustSave()
		hs.s.after(st, bypassWhenDown, continuation{kind: thenSleep}) // or a restart could find it awake
		hs.s.custody.holdDurably(st)
	default:
		hs.goodbye(st)
	}
}

// cancel ends a dialogue, without a word.
func (hs *handshake) cancel() { hs.pending = nil }
