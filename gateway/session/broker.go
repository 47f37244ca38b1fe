package session

import "sngate/gateway/session/dialogue"

func (br *brokerLink) onConnected(st *step, ev *Event) {
	if br.link != linkOpening {
		return // the CONNECT was given up meanwhile: EventClosed follows
	}
	br.link = linkUp
	br.reconcile(st, ev.SessionPresent)
	br.s.subs.askAgain(st)
	if br.s.state != StateConnecting {
		br.s.up.sendSpooled(st)
		return // the device has sent another CONNECT meanwhile, and its will is awaited
	}
	br.s.handshake.complete(st)
}

// reconcile brings what the session knows in line with the broker's session after a connect:
// it forgets what the broker has forgotten, and subscribes again if the broker may not have
// all subscriptions.
func (br *brokerLink) reconcile(st *step, present bool) {
	forgot := false
	if !present {
		br.s.custody.forgetSent()
		forgot = br.s.custody.forgetUnreleased(st)
		br.s.up.forgetReleased(st)
	}
	br.s.up.connectAnswered()
	if br.draining() && !br.s.kept {
		return
	}
	if !present || br.s.subs.resubscription.token != 0 {
		br.s.subs.resubscribe(st, present && br.s.subs.resubscription.due, forgot)
	}
}

// onRefused maps the broker's answer to a CONNACK: what may pass is
// "congestion", what will not is "not supported"; MQTT-SN has no code for credentials.
// While the broker cannot be reached, a device whose session is known goes on with it
// where there is a spool: what it publishes is safe there.
func (br *brokerLink) onRefused(st *step, ev *Event) {
	if br.link != linkOpening {
		return // as for EventConnected
	}
	br.link = linkClosed
	switch {
	case br.s.state != StateConnecting && br.draining():
		br.reopenToDrain(st)
	case br.s.handshake.pending == nil: // the broker's session may outlive ours
		br.s.handshake.free(st)
	case br.s.state != StateConnecting:
	case ev.Refused == NotRefused && br.s.kept && !br.s.clean && br.s.cfg.Spool:
		br.s.wills.carry(nil)
		br.reopen(st, false)
		br.s.handshake.complete(st)
	case ev.Refused == NotRefused:
		br.s.handshake.refuse(st, dialogue.Congestion, ReasonBrokerUnreachable)
	case ev.Refused == RefusedForNow:
		br.s.handshake.refuse(st, dialogue.Congestion, ReasonBrokerRefused)
	case ev.Refused == RefusedWithoutCredentials:
		br.s.handshake.refuse(st, dialogue.NotSupported, ReasonNoCredentials)
	default:
		br.s.handshake.refuse(st, dialogue.NotSupported, ReasonBrokerRefused)
	}
}

// delivering reports whether the session has anything for the broker, whatever has become
// of the device.
func (br *brokerLink) delivering() bool {
	return br.s.wills.due || br.s.up.spool.len() > 0 || br.s.up.relays()
}

func (br *brokerLink) onParked() { br.parked, br.wanted = true, false }

// want tells a parked link when there is something for the broker, and when there is not
// any more.
func (br *brokerLink) want(st *step) {
	if br.parked = br.parked && br.link == linkDown; !br.parked {
		return
	}
	if now := br.delivering(); now != br.wanted {
		br.wanted = now
		st.do(Action{Kind: ActionWant, Wanted: now})
	}
}

// close ends the connection to the broker, or has it ended when the spool is empty. A
// will that is due is published last: nothing of the device may come after it.
func (br *brokerLink) close(st *step, how ActionKind) {
	if br.s.up.spool.len() > 0 {
		if how == ActionCloseAbort && br.link != linkUp {
			how = ActionCloseClean // the broker has published the will when the connection broke
			st.do(Action{Kind: ActionSetWill})
		}
		br.closeAs = how
		if br.link == linkClosed {
			br.reopenToDrain(st)
		}
		return
	}
	if br.s.wills.waits() && how == ActionCloseDrain && br.link == linkDown {
		br.closeAs = how
		return
	}
	if br.s.wills.due && how == ActionCloseDrain && br.link != linkClosing { // the link has it then
		br.s.wills.publish(st, br.s.wills.current)
	}
	switch br.link {
	case linkClosed:
		br.s.handshake.free(st)
	case linkClosing:
	default:
		br.link = linkClosing
		br.s.custody.uncomplete()
		st.do(Action{Kind: how})
	}
}

// reopenToDrain connects in the name of a device that has gone. The connection carries no will.
func (br *brokerLink) reopenToDrain(st *step) {
	br.s.wills.carry(nil)
	br.link = linkDown
	st.do(Action{Kind: ActionReopen, Clean: br.s.clean, KeepAlive: br.s.presence.duration, Unreleased: br.s.custody.identities()})
}

// open opens it for a CONNECT of the device.
func (br *brokerLink) open(st *step) {
	br.link, br.closeAs = linkOpening, 0
	br.s.custody.uncomplete()
	st.do(Action{Kind: ActionConnect, Clean: br.s.clean, KeepAlive: br.s.presence.duration, Will: br.s.wills.carried, Unreleased: br.s.custody.identities()})
}

// reopen has it opened as after a loss. lazy: not before the device speaks.
func (br *brokerLink) reopen(st *step, lazy bool) {
	br.link = linkDown
	st.do(Action{Kind: ActionReopen, Clean: br.s.clean, KeepAlive: br.s.presence.duration, Will: br.s.wills.brokersWill(), Unreleased: br.s.custody.identities(), Lazy: lazy})
}

// cancelClose leaves the connection open, because the device is back.
func (br *brokerLink) cancelClose() { br.closeAs = 0 }

// closeDrained closes a connection that was left open for the spool, which is empty now.
func (br *brokerLink) closeDrained(st *step) {
	if !br.draining() || br.s.up.spool.len() > 0 || br.s.handshake.pending != nil || br.s.wills.waits() && br.link != linkUp {
		return
	}
	how := br.closeAs
	br.closeAs = 0
	br.close(st, how)
}

// restoreEnded restores the connection of a session that has ended, if it still has to publish
// its will or its spool.
func (br *brokerLink) restoreEnded(st *step) bool {
	how := ActionCloseClean
	if br.s.wills.due {
		br.reopenToDrain(st)
		how = ActionCloseDrain
	}
	if br.s.wills.due || br.s.up.spool.len() > 0 {
		br.close(st, how)
		return true
	}
	return br.s.kept
}

func (br *brokerLink) onClosed(st *step) {
	if br.link != linkClosing {
		return // a new connection has been asked for meanwhile
	}
	br.link = linkClosed
	br.s.wills.linkEnded()
	switch {
	case br.s.handshake.pending != nil:
	case br.draining():
		br.reopenToDrain(st)
	default:
		br.s.handshake.free(st)
	}
}

func (br *brokerLink) onDown(st *step) {
	if br.link != linkUp {
		return // reported before the session gave the connection up
	}
	br.link = linkDown
	br.s.custody.uncomplete()
	br.s.up.retract(st)
	if br.draining() && br.closeAs == ActionCloseAbort {
		br.closeAs = ActionCloseClean // the broker publishes the will now
		st.do(Action{Kind: ActionSetWill})
	}
	if br.s.state == StateAwake {
		br.s.wake.end()
		br.s.down.pump(st)
	}
}

// onUp handles a reconnect of the link. In-flight messages are the link's business;
// subscriptions the broker has forgotten are the session's.
func (br *brokerLink) onUp(st *step, ev *Event) {
	if br.link != linkDown {
		return
	}
	br.link = linkUp
	br.s.wills.onUp(ev.NoWill)
	br.reconcile(st, ev.SessionPresent)
	br.s.subs.askAgain(st)
	br.s.up.sendSpooled(st)
	br.s.down.proceed(st)
}

// onRenewed takes it that the link has another connection. Only a broker that has not kept its
// session makes a difference.
func (br *brokerLink) onRenewed(st *step, ev *Event) {
	if br.link != linkUp {
		return // reported before the session gave the connection up
	}
	br.s.wills.onRenewed(ev.NoWill, ev.OldWill)
	if !ev.SessionPresent {
		br.reconcile(st, false)
	}
}
