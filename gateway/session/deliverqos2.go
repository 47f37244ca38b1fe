package session

// What the store has of the QoS 2 delivery to the device, and when it goes on.

// assign has the MsgId of the first PUBLISH of a message stored.
func (dl *downlink) assign(st *step) {
	d := &dl.delivery
	d.phase, d.msgID = assigning, d.msg.msgID
	dl.s.custody.putOutgoing(st, &d.msg)
}

// onOutgoingStored sends the message. Without the record it is sent as well: only a
// restart in the middle of it could double it.
func (dl *downlink) onOutgoingStored(st *step, c *continuation) {
	if dl.delivery.phase != assigning || dl.delivery.msgID != c.msgID {
		return // suspended; its next PUBLISH has DUP
	}
	dl.delivery.phase = publishing
	dl.writePublish(st, false)
	dl.await(st.Now)
}

// record has it stored that the device has the message.
func (dl *downlink) record(st *step) {
	d := &dl.delivery
	d.phase = recording
	dl.retry.stop()
	dl.s.custody.putReleasing(st, &d.msg, d.msgID)
}

func (dl *downlink) onReleasingStored(st *step, c *continuation) {
	if dl.delivery.phase == recording && dl.delivery.msgID == c.msgID {
		dl.release(st)
	}
}

// release sends PUBREL, and acknowledges to the broker what the device has.
func (dl *downlink) release(st *step) {
	d := &dl.delivery
	dl.acknowledge(st, &d.msg)
	dl.s.custody.forgetSent()
	d.phase, d.attempts = releasing, attempts{}
	d.msg = outgoing{}
	if dl.s.listening() {
		dl.await(st.Now)
	}
	if dl.s.connected() {
		dl.writePubRel(st)
	}
	dl.pump(st) // there may be room now to resume reading
}

func (m *outgoing) forget(message Identity) {
	if m.identity == message {
		m.identity = Identity{}
	}
}

// restoreOutgoing restores the QoS 2 delivery that the restart interrupted. If its
// message is held it comes first, as it did: there is one record of its MsgId, and the next
// delivery of QoS 2 overwrites that.
func (dl *downlink) restoreOutgoing() {
	o := &dl.s.custody.outgoing
	switch {
	case o.msgID == 0:
		return
	case o.releasing:
		dl.delivery = delivery{phase: releasing, msgID: o.msgID}
		return
	case o.number != 0:
		for i := range dl.queue.len() {
			if m := dl.queue.at(i); m.number == o.number && contentSum(m.topic, m.payload) == o.sum {
				m := dl.queue.take(i)
				m.msgID = o.msgID
				dl.queue.unpop(m)
				dl.s.custody.sent(&m)
				return
			}
		}
	}
	dl.s.custody.sentBefore()
}

// forgetIdentity forgets that of one message.
func (dl *downlink) forgetIdentity(message Identity) {
	dl.delivery.msg.forget(message)
	for i := range dl.queue.len() {
		dl.queue.at(i).forget(message)
	}
}

// forgetIdentities forgets what the broker knew the messages by: it has begun anew.
func (dl *downlink) forgetIdentities() {
	dl.delivery.msg.identity = Identity{}
	for i := range dl.queue.len() {
		dl.queue.at(i).identity = Identity{}
	}
}
