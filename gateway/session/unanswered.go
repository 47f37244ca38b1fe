package session

// What is sent to a device and never answered. A device that says something else meanwhile
// lives, and its session goes on. A message that it does not answer, awake or asleep, in
// this connection or a later one, must not keep the ones behind it from coming.

// waitForStore pauses the deliveries to the device: the next one needs a topic id, and
// the store takes none.
func (dl *downlink) waitForStore(now Time) { dl.proceedAt = now + dl.s.cfg.RetryInterval }

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

// await arms the retransmission of a PUBLISH or PUBREL that has just been sent. It takes
// the place of a probe: any answer shows that the device lives.
func (dl *downlink) await(now Time) {
	dl.s.presence.probe.stop()
	dl.delivery.heard = false
	dl.retry.start(now, dl.s.cfg)
}

// tallyOf returns the tally of a message; nil if there is none.
func (dl *downlink) tallyOf(m *outgoing) *tally {
	if len(dl.tallies) == 0 {
		return nil
	}
	sum := contentSum(m.topic, m.payload)
	for i := range dl.tallies {
		if t := &dl.tallies[i]; t.sum == sum && t.qos == m.qos {
			return t
		}
	}
	return nil
}

// tally returns the tally of a message, made if there is none. It is valid until the next
// call.
func (dl *downlink) tally(m *outgoing) *tally {
	if t := dl.tallyOf(m); t != nil {
		return t
	}
	if len(dl.tallies) == maxTallies {
		dl.tallies = append(dl.tallies[:0], dl.tallies[1:]...)
	}
	dl.tallies = append(dl.tallies, tally{sum: contentSum(m.topic, m.payload), qos: m.qos})
	return &dl.tallies[len(dl.tallies)-1]
}

// forgetTally ends the count: the device has answered, or the message is given up.
func (dl *downlink) forgetTally(m *outgoing) {
	t := dl.tallyOf(m)
	if t == nil {
		return
	}
	if *t = dl.tallies[len(dl.tallies)-1]; len(dl.tallies) == 1 {
		dl.tallies = nil
		return
	}
	dl.tallies = dl.tallies[:len(dl.tallies)-1]
}

// maxTallies bounds the messages that are counted; the oldest goes.
const maxTallies = 8
