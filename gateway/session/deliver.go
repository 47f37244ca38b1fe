package session

import "sngate/gateway/session/dialogue"

func (dl *downlink) begin() {
	dl.retry.stop()
	dl.proceedAt = Never
	dl.maxSize = uint16(dl.s.cfg.packetSize(dl.s.clientID))
}

// ready lets deliveries proceed at once.
func (dl *downlink) ready() { dl.proceedAt = Never }

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

func (dl *downlink) forget() { dl.tallies = nil }

// startMsgIDs sets what MsgIds count from.
func (dl *downlink) startMsgIDs(after uint16) { dl.nextMsgID = after }

// onMessage takes a message of the broker for the device.
func (dl *downlink) onMessage(st *step, ev *Event) {
	m := outgoing{topic: ev.Topic, payload: ev.Payload, handle: ev.Handle, identity: ev.Identity, qos: ev.QoS, retain: ev.Retain}
	if dl.s.broker.link.over() || dl.s.broker.draining() {
		dl.leave(st, &m, ReasonSessionEnded)
		return
	}
	if ev.Oversize {
		dl.discard(st, &m, ReasonTooLarge)
		return
	}
	if st.size(m.publish()) > dl.maxPacket(st) {
		dl.abandonMessage(st, &m, ReasonTooLarge)
		return
	}
	if dl.s.custody.wasSent(ev) {
		m.msgID = dl.s.custody.lastQoS2.msgID
	}
	if dl.admit(st, &m) {
		m.topic = dl.s.ids.known(m.topic)
		dl.queue.push(m)
	}
	dl.s.custody.holdDurably(st)
	dl.pump(st)
}

// discard gives a message up for good: the broker must not send it again.
func (dl *downlink) discard(st *step, m *outgoing, why Reason) {
	st.dropOf(why, m.topic, len(m.payload))
	dl.acknowledge(st, m)
}

func (dl *downlink) acknowledge(st *step, m *outgoing) {
	if m.handle != 0 {
		st.do(Action{Kind: ActionAck, Handle: m.handle})
		dl.s.wake.owe(m.qos)
	}
	if m.custodian != brokers {
		dl.s.journal.remove(st, RecordHeld, key32(m.number))
	}
}

// leave forgets a message unacknowledged. Of QoS 1 and 2 the broker still has it, and
// it is no loss unless the broker's session ends as well.
func (dl *downlink) leave(st *step, m *outgoing, why Reason) {
	if m.qos == 0 || !dl.s.kept || m.custodian == ours {
		st.dropOf(why, m.topic, len(m.payload))
	}
	if m.custodian != brokers {
		dl.s.journal.remove(st, RecordHeld, key32(m.number))
		dl.s.custody.notHeld(st, m.number)
		if m.qos == 2 && m.custodian != ours {
			dl.s.custody.removeUnreleased(st, m.identity) // not acknowledged: it is going to be sent again
		}
	}
}

// dropHeld forgets all messages held for the device, but for those that a session which
// is kept has in the store: nobody else has them.
func (dl *downlink) dropHeld(st *step, why Reason) {
	var stay queue
	for dl.queue.len() > 0 {
		if m := dl.queue.pop(); m.custodian == ours && dl.s.kept {
			stay.push(m)
		} else {
			dl.leave(st, &m, why)
		}
	}
	dl.queue = stay
	if dl.paused {
		dl.paused = false
		st.do(Action{Kind: ActionResume})
	}
	if !dl.s.kept {
		dl.delivery = delivery{}
	}
}

// pump sends the device what is held for it, as far as it may be sent now.
func (dl *downlink) pump(st *step) {
	if !dl.s.listening() {
		return
	}
	dl.openGate(st)
	if !dl.gated(st) {
		dl.s.wake.subscribed()
	}
	dl.s.addr.reach.beginPump()
	for dl.queue.len() > 0 && dl.delivery.phase == idle && dl.proceedAt == Never && !dl.s.wake.limitReached() && !dl.gated(st) && !dl.s.addr.reach.isShort() {
		i, ok := dl.s.announcer.next(st)
		if !ok {
			break
		}
		if dl.s.addr.reachable(st, dl.queue.at(i)) {
			dl.deliver(st, dl.queue.take(i))
			dl.s.addr.proveSoon(st)
		}
	}
	withheld := dl.s.addr.reach.isShort() && !dl.s.addr.proving() // for the rest of this wake
	dl.s.addr.reach.withhold(st, withheld)
	if dl.s.state == StateAwake && dl.halted(st, withheld) {
		dl.s.wake.finish(st)
	}
}

// halted reports whether nothing can be sent in the rest of a wake.
func (dl *downlink) halted(st *step, withheld bool) bool {
	switch {
	case dl.delivery.phase != idle:
		return false
	case dl.queue.len() == 0, dl.proceedAt != Never, dl.s.wake.limitReached(), withheld:
		return true
	}
	return dl.gated(st) || dl.s.announcer.futile()
}

// deliver starts the delivery of m.
func (dl *downlink) deliver(st *step, m outgoing) {
	if why := dl.undeliverable(st, &m); why != ReasonNone {
		dl.abandonMessage(st, &m, why)
		return
	}
	dl.delivery = delivery{msg: m}
	dl.s.wake.sent()
	d := &dl.delivery
	d.idType, d.topicID, _ = dl.s.announcer.address(m.topic)
	if t := dl.tallies.find(&m); t != nil {
		d.before = t.sends
	}
	dl.sendPublish(st)
}

func (dl *downlink) sendPublish(st *step) {
	d := &dl.delivery
	if d.idType == dialogue.NormalTopic {
		dl.s.ids.topics.Touch(d.topicID, st.Now)
	}
	if d.msg.qos == 0 {
		dl.writePublish(st, false)
		dl.tallies.forget(&d.msg)
		dl.delivery = delivery{}
		return
	}
	again := d.msg.msgID != 0
	if !again {
		d.msg.msgID = dl.newMsgID()
	}
	if d.msg.qos == 2 {
		dl.s.custody.sent(&d.msg)
		if !again && dl.s.journal.wait(st, bypassWhenDown, continuation{kind: thenPublish, msgID: d.msg.msgID}) {
			dl.assign(st)
			return
		}
	}
	d.phase, d.msgID = publishing, d.msg.msgID
	dl.writePublish(st, again)
	dl.await(st.Now)
}

func (dl *downlink) writePublish(st *step, dup bool) {
	p := dl.delivery.msg.publish()
	p.Dup = dup
	p.TopicType, p.TopicID, p.MsgID = dl.delivery.idType, dl.delivery.topicID, dl.delivery.msg.msgID
	if dup {
		st.retry(dialogue.Publish)
	}
	dl.delivery.now = more(dl.delivery.now, 1)
	send(st, p)
}

// newMsgID returns a MsgId that the device does not remember a QoS 2 exchange by.
func (dl *downlink) newMsgID() uint16 {
	for {
		dl.nextMsgID++
		if dl.nextMsgID != 0 && dl.nextMsgID != dl.s.custody.lastQoS2.msgID && dl.nextMsgID != dl.s.custody.outgoing.msgID {
			dl.s.addr.reach.drawn(dl.nextMsgID)
			return dl.nextMsgID
		}
	}
}

func (dl *downlink) writePubRel(st *step) {
	dl.delivery.now = more(dl.delivery.now, 1)
	send(st, dialogue.Message{Kind: dialogue.PubRel, MsgID: dl.delivery.msgID})
}

// suspend stops the delivery under way until proceed is called. A PUBLISH that was not
// answered goes back to the queue; once it was, only PUBREL is left to be sent.
func (dl *downlink) suspend() {
	dl.retry.stop()
	dl.s.presence.probe.stop()
	dl.s.announcer.suspend()
	for i := range dl.queue.len() {
		dl.queue.at(i).refusal = unrefused // the device may refuse an id once more
	}
	d := &dl.delivery
	d.msg.refusal = unrefused
	switch d.phase {
	case assigning:
		// Not sent yet, and perhaps not in the store.
		d.msg.msgID = 0
		dl.s.custody.forgetSent()
	case publishing:
		dl.tallies.of(&d.msg).sends = d.end()
	case releasing:
		d.end()
		return
	default:
		return
	}
	dl.queue.unpop(d.msg)
	dl.delivery = delivery{}
}

func (dl *downlink) proceed(st *step) {
	switch d := &dl.delivery; {
	case d.phase != releasing || dl.retry.runs() || !dl.s.listening():
	case d.count() >= dl.s.cfg.patience():
		dl.giveUpRelease(st)
	default:
		dl.writePubRel(st)
		dl.await(st.Now)
	}
	dl.pump(st)
}

// recall takes a PUBLISH that was suspended back from the queue because its answer has
// come after all. Sent once more, a QoS 2 message would be a second one for a device
// that has been told to release the first.
func (dl *downlink) recall(msgID uint16, qos uint8) {
	if dl.delivery.phase != idle || msgID == 0 {
		return
	}
	for i := range dl.queue.len() {
		if m := dl.queue.at(i); m.msgID == msgID && m.qos == qos {
			dl.delivery = delivery{phase: publishing, msgID: msgID, msg: dl.queue.take(i)}
			return
		}
	}
}

// giveUp ends the delivery without success.
func (dl *downlink) giveUp(st *step, why Reason) {
	dl.abandonMessage(st, &dl.delivery.msg, why)
	dl.finishDelivery()
}

// finishDelivery ends the delivery.
func (dl *downlink) finishDelivery() {
	dl.retry.stop()
	dl.delivery = delivery{}
}

// congested suspends all deliveries because the device asked for it (section 6.13.1). A
// device that wakes or connects meanwhile is ready again.
func (dl *downlink) congested(st *step) {
	dl.s.announcer.suspend()
	if dl.delivery.phase != releasing {
		dl.suspend()
	}
	dl.proceedAt = st.Now + dl.s.cfg.CongestionWait
	dl.pump(st)
}

// undeliverable tells why a message cannot be delivered to the device at all: it is too
// long, as may be its REGISTER, which "the gateway silently gives up", or it has been tried
// in vain.
func (dl *downlink) undeliverable(st *step, m *outgoing) Reason {
	addressed := dl.s.announcer.addressed(m)
	switch t := dl.tallies.find(m); {
	case st.size(m.publish()) > dl.maxPacket(st), !addressed && st.size(dialogue.Message{Kind: dialogue.Register, Name: []byte(m.topic)}) > dl.maxPacket(st):
		return ReasonTooLarge
	case t == nil:
	case t.sends >= dl.s.cfg.patience():
		return ReasonUnanswered
	case t.registers >= dl.s.cfg.patience() && !addressed:
		if id, ok := dl.s.ids.topics.ID(m.topic); !ok || !dl.s.ids.topics.Trusted(id) {
			return ReasonRegisterUnanswered
		}
	}
	return ReasonNone
}

// abandonMessage gives a message for the device up, and says so: it is somebody's loss.
func (dl *downlink) abandonMessage(st *step, m *outgoing, why Reason) {
	dl.discard(st, m, why)
	dl.tallies.forget(m)
	if m.qos == 2 && m.msgID != 0 {
		dl.s.custody.forgetSent()
		dl.s.custody.forgetOutgoing(st)
	}
	st.do(Action{Kind: ActionGivenUp, Reason: why, Topic: m.topic, Payload: m.payload, QoS: m.qos})
}

// confirm notes that the device has answered a PUBLISH.
func (dl *downlink) confirm(d *delivery) {
	dl.tallies.forget(&d.msg)
	if d.idType == dialogue.NormalTopic {
		dl.s.announcer.know(d.topicID)
	}
}

// giveUpRelease ends an exchange whose PUBREL the device does not answer. It has the message.
func (dl *downlink) giveUpRelease(st *step) {
	st.drop(ReasonReleaseUnanswered)
	dl.finishDelivery()
	dl.s.custody.forgetOutgoing(st)
}
