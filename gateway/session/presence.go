package session

import "sngate/gateway/session/dialogue"

func (pr *presence) begin() {
	pr.lifeAt, pr.askAt = Never, Never
	pr.probe.stop()
}

// onParked stops sending: the broker has probably closed the connection because the
// device is connected through another gateway. A word from the device shows that it is
// not, and starts again what was stopped; a device that listens is asked for one. Also when
// the link is up again, for what is in the spool, the device is sent nothing before that.
func (pr *presence) onParked(now Time) {
	if pr.s.broker.link != linkDown {
		return
	}
	pr.parked = true
	if pr.s.connected() {
		pr.s.down.suspend()
	}
	if pr.s.state == StateActive && len(pr.s.subs.list) > 0 && pr.askAt == Never {
		pr.askLater(now)
	}
}

// askFirst is when a parked device that listens is first asked, by PINGREQ, whether it is
// still here, and askLast how long the pauses get: where another gateway has it, the
// session must not be taken from there, and nothing else would say so before it speaks.
const (
	askFirst = Time(5e9)
	askLast  = Time(300e9)
)

func (pr *presence) askWhether(st *step) {
	pr.askAt = Never
	if pr.parked && pr.s.state == StateActive {
		pr.askLater(st.Now)
		if pr.s.addr.affords(st, st.pingSize()) {
			pr.s.addr.sendPingReq(st)
		}
	}
}

func (pr *presence) askLater(now Time) {
	pr.askPause = min(max(2*pr.askPause, askFirst), askLast)
	pr.askAt = now + pr.askPause
}

// onSilence ends a session whose device has not spoken in time. A device without
// keep-alive is asked first, unless it is being asked for something else already. It returns
// why the device is lost, if it is.
func (pr *presence) onSilence(st *step) (lost Reason) {
	switch {
	case pr.s.state == StateAsleep || pr.s.state == StateAwake:
		return ReasonSleepExpired
	case pr.duration > 0:
		return ReasonKeepAliveExpired
	}
	pr.lifeAt = st.Now + pr.s.cfg.IdleProbe
	if !pr.s.down.retry.runs() && !pr.probe.runs() {
		pr.probe.start(st.Now, pr.s.cfg)
		pr.s.addr.sendPingReq(st)
	}
	return ReasonNone
}

// onProbeRetry asks a silent device again, or takes it for lost.
func (pr *presence) onProbeRetry(st *step) (lost Reason) {
	if !pr.probe.again(st.Now, pr.s.cfg) {
		return ReasonRetriesExhausted
	}
	st.retry(dialogue.PingReq)
	pr.s.addr.sendPingReq(st)
	return ReasonNone
}

// heard restarts the supervision of a device that has just spoken: "each time the
// gateway receives a message from a client it restarts the timer" (MQTT-SN 1.2
// section 6.11). A sleeper that speaks without waking has shown that it lives as well.
func (pr *presence) heard(now Time) {
	pr.parked, pr.askAt, pr.askPause = false, Never, 0
	pr.s.addr.rival.heard()
	pr.probe.stop()
	switch {
	case pr.s.state == StateAsleep || pr.s.state == StateAwake:
		pr.lifeAt = now + pr.s.cfg.expiry(pr.sleepFor)
	case pr.duration > 0:
		pr.lifeAt = now + pr.s.cfg.expiry(pr.duration)
	case pr.s.cfg.IdleProbe > 0:
		pr.lifeAt = now + pr.s.cfg.IdleProbe
	default:
		pr.lifeAt = Never
	}
}

// rest ends the supervision of the device for as long as it is asked for its will.
func (pr *presence) rest() { pr.lifeAt = Never }

// end ends it with the session.
func (pr *presence) end() { pr.lifeAt, pr.askAt, pr.fresh = Never, Never, false }

// promise notes the keep-alive of a CONNECT, in seconds, and sleep the duration of a sleep.
func (pr *presence) promise(keepAlive uint16) { pr.duration = keepAlive }
func (pr *presence) sleep(duration uint16)    { pr.sleepFor = duration }

// accept notes a CONNECT that has been accepted, and repeated that it has come again.
func (pr *presence) accept(p connectParams, now Time) {
	pr.fresh, pr.accepted = true, p
	pr.repeated(now)
}

func (pr *presence) repeated(now Time) { pr.lateBefore = now + lateWindow }

// spoke notes that the device has said something else than the CONNECT.
func (pr *presence) spoke() { pr.fresh = false }

// move notes that what comes next is from a new address, until the end of that step.
func (pr *presence) move()    { pr.fresh, pr.lateBefore, pr.moved = false, 0, true }
func (pr *presence) endStep() { pr.moved = false }

// load takes back what the store has had.
func (pr *presence) load(p connectParams, keepAlive, sleep uint16) {
	pr.accepted, pr.duration, pr.sleepFor = p, keepAlive, sleep
}
