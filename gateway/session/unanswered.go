package session

// What is sent to a device and never answered. A device that says something else meanwhile
// lives, and its session goes on. A message that it does not answer, awake or asleep, in
// this connection or a later one, must not keep the ones behind it from coming.

// waitForStore pauses the deliveries to the device: the next one needs a topic id, and
// the store takes none.
func (dl *downlink) waitForStore(now Time) { dl.resumeAt = now + dl.s.cfg.RetryInterval }

// noteReturn notes that the device may have been away, or begun anew, since it was sent
// what it has not answered.
func (dl *downlink) noteReturn() { dl.delivery.end() }

// noteLife notes that the device has said something, and not just come back.
func (dl *downlink) noteLife() { dl.delivery.heard = true }

// askForLife sends PINGREQ with the last repetition to a device that has not been heard
// for as long as the repetitions take: it may have nothing to say.
func (dl *downlink) askForLife(st *step, tries uint8, heard bool) {
	if int(tries) >= dl.s.cfg.RetryCount && !heard && dl.s.addr.affords(st, st.pingSize()) {
		dl.s.addr.sendPingReq(st)
	}
}

// onRetry sends the unanswered PUBLISH or PUBREL again, or gives it or the device up after
// RetryCount repeats (MQTT-SN 1.2 section 6.13, mirrored for the gateway). It returns why the
// device is lost, if it is.
func (dl *downlink) onRetry(st *step) (lost Reason) {
	if !dl.retry.again(st.Now, dl.s.cfg) {
		if !dl.unanswered(st) {
			return ReasonRetriesExhausted
		}
		return ReasonNone
	}
	switch {
	case dl.delivery.phase == publishing && dl.delivery.before >= dl.s.cfg.patience():
		dl.giveUp(st, ReasonUnanswered)
		dl.pump(st)
	case !dl.s.addr.affords(st, st.size(dl.delivery.message())):
		dl.s.addr.prove(st)
	default:
		if dl.retry.tries == 1 {
			dl.delivery.heard = false // it may have been on its way before
		}
		dl.repeatDelivery(st)
		dl.askForLife(st, dl.retry.tries, dl.delivery.heard)
	}
	return ReasonNone
}

// await arms the retransmission of a PUBLISH or PUBREL that has just been sent. It takes
// the place of a probe: any answer shows that the device lives.
func (dl *downlink) await(now Time) {
	dl.s.presence.probe.stop()
	dl.delivery.heard = false
	dl.retry.start(now, dl.s.cfg)
}

// unanswered goes on when the repetitions of a PUBLISH or PUBREL are used up and the device
// lives. It reports false if the device does not.
func (dl *downlink) unanswered(st *step) bool {
	d := &dl.delivery
	switch {
	case d.phase == idle || !d.heard:
		return false
	case d.phase == releasing:
		dl.giveUpRelease(st)
		dl.pump(st)
	case d.count() >= dl.s.cfg.patience():
		dl.giveUp(st, ReasonUnanswered)
		dl.pump(st)
	default:
		d.attempts = attempts{before: d.count()} // once more as often
		dl.await(st.Now)
		dl.repeatDelivery(st)
	}
	return true
}

// giveUpRelease ends an exchange whose PUBREL the device does not answer. It has the message.
func (dl *downlink) giveUpRelease(st *step) {
	st.drop(ReasonReleaseUnanswered)
	dl.finishDelivery()
	dl.s.custody.forgetOutgoing(st)
}
