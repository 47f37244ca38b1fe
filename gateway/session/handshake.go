package session

import (
	"sngate/gateway/session/dialogue"
	"sngate/topicreg"
)

// onConnectStored sends CONNACK, and then what is held for the device.
func (hs *handshake) onConnectStored(st *step) {
	if hs.s.state == StateActive { // or it has gone to sleep without waiting for CONNACK
		send(st, dialogue.Message{Kind: dialogue.ConnAck})
	}
	hs.s.down.proceed(st)
}

// onConnect handles CONNECT, which CheckConnect has accepted (MQTT-SN 1.2 section 6.2;
// for a connected device see the table in the package documentation).
func (hs *handshake) onConnect(st *step, m *dialogue.Message) {
	if m.Fault == dialogue.Malformed || len(m.Name) == 0 && !hs.s.assigned {
		st.drop(ReasonMalformed)
		return
	}
	p := connectParams{clean: m.Clean, will: m.Will, duration: m.Duration}
	switch {
	case hs.pending != nil && hs.pending.connect == p:
		hs.repeatPrompt(st)
	case hs.pending != nil:
		reopen := hs.pending.reopen || p.clean || hs.s.clean
		hs.begin(st, p, &pendingConnect{connect: p, reopen: reopen, wake: hs.pending.wake && !reopen})
	case !hs.s.connected():
		hs.begin(st, p, &pendingConnect{connect: p, reopen: true})
	case hs.s.state == StateActive && p == hs.s.presence.accepted && (hs.s.presence.fresh && !p.will || st.Now < hs.s.presence.lateBefore):
		hs.s.presence.heard(st.Now)
		hs.s.down.noteReturn()
		hs.s.announcer.noteReturn()
		hs.s.presence.repeated(st.Now)
		if !hs.accepting() {
			send(st, dialogue.Message{Kind: dialogue.ConnAck})
		}
	case hs.s.state != StateActive && !hs.s.presence.moved && p.clean == hs.s.clean && (!p.clean || !p.will && !hs.s.presence.accepted.will):
		hs.begin(st, p, &pendingConnect{connect: p, wake: true})
	default:
		hs.begin(st, p, &pendingConnect{connect: p, reopen: p.clean || hs.s.clean})
	}
}

// repeatPrompt repeats WILLTOPICREQ or WILLMSGREQ, because what they ask for has not come but the
// message before it once more.
func (hs *handshake) repeatPrompt(st *step) {
	switch hs.s.state {
	case StateWillTopic:
		send(st, dialogue.Message{Kind: dialogue.WillTopicReq})
	case StateWillMsg:
		send(st, dialogue.Message{Kind: dialogue.WillMsgReq})
	}
}

// onRetry asks again for the will, or gives the CONNECT up.
func (hs *handshake) onRetry(st *step) {
	switch again := hs.pending.retry.again(st.Now, hs.s.cfg); {
	case !again && hs.s.broker.live():
		hs.s.handshake.lose(st, ReasonRetriesExhausted)
	case !again:
		hs.abandon(st, ReasonWill)
	case hs.s.state == StateWillTopic:
		st.retry(dialogue.WillTopicReq)
		hs.repeatPrompt(st)
	default:
		st.retry(dialogue.WillMsgReq)
		hs.repeatPrompt(st)
	}
}

// deadline is when the device is to be asked again for its will.
func (hs *handshake) deadline() Time {
	if hs.pending == nil {
		return Never
	}
	return hs.pending.retry.at
}

// begin starts to carry out a CONNECT: the will is asked for first where there is one.
// A device that does not come from sleep may have restarted: its MsgIds begin anew.
func (hs *handshake) begin(st *step, p connectParams, d *pendingConnect) {
	hs.pending = d
	d.retry.stop()
	if !d.wake {
		hs.s.journal.dropAnswers()
		hs.s.up.retire(st)
		hs.s.subs.forgetAsked()
	}
	hs.s.down.suspend()
	hs.s.wake.end()
	hs.s.down.ready()
	hs.s.presence.rest()
	if p.will {
		hs.s.enter(st, StateWillTopic, ReasonNone)
		send(st, dialogue.Message{Kind: dialogue.WillTopicReq})
		d.retry.start(st.Now, hs.s.cfg)
		return
	}
	hs.carryOut(st)
}

// onWillTopic takes the answer to WILLTOPICREQ. An empty one deletes the will and ends
// the dialogue (MQTT-SN 1.2 section 5.4.7).
func (hs *handshake) onWillTopic(st *step, m *dialogue.Message) {
	hs.pending.retry.stop()
	hs.pending.willSeen = true
	if m.Fault == dialogue.NoFault && len(m.Name) == 0 {
		hs.carryOut(st)
		return
	}
	if m.Fault != dialogue.NoFault || m.QoS > 2 || topicreg.ValidName(m.Name) != nil {
		hs.refuse(st, dialogue.NotSupported, ReasonWill)
		return
	}
	w := hs.s.cfg.will(m)
	if code, why := hs.s.wills.refuses(st, w.Topic, 0, m.Retain); why != ReasonNone {
		hs.refuse(st, code, why)
		return
	}
	hs.pending.will = w
	hs.s.enter(st, StateWillMsg, ReasonNone)
	send(st, dialogue.Message{Kind: dialogue.WillMsgReq})
	hs.pending.retry.start(st.Now, hs.s.cfg)
}

func (hs *handshake) onWillMsg(st *step, m *dialogue.Message) {
	hs.pending.retry.stop()
	if code, why := hs.s.wills.refuses(st, hs.pending.will.Topic, len(m.Data), false); why != ReasonNone {
		hs.refuse(st, code, why)
		return
	}
	hs.pending.will.Message = append([]byte(nil), m.Data...)
	hs.carryOut(st)
}

// carryOut puts a CONNECT whose will is known into force, connecting to the broker
// where that is needed.
func (hs *handshake) carryOut(st *step) {
	d := hs.pending
	clean := d.connect.clean || hs.s.clean // a clean session leaves nothing to the next one either
	switch {
	case d.willSeen:
		hs.s.wills.replace(d.will)
	case clean && !d.wake:
		hs.s.wills.replace(nil) // "CleanSession=1, Will=0: no subscriptions and no will" (section 6.3)
	}
	hs.s.presence.promise(d.connect.duration)
	if !d.reopen {
		hs.pending = nil
		hs.s.wills.set(st, hs.s.wills.current)
		hs.accept(st, d.connect, d.wake)
		return
	}
	if clean {
		hs.s.handshake.forget(st)
	} else {
		hs.s.down.dropHeld(st, ReasonSessionEnded) // what is not ours yet: the broker sends it again
	}
	hs.s.clean = d.connect.clean
	hs.s.wills.open()
	hs.s.enter(st, StateConnecting, ReasonNone)
	hs.s.broker.open(st)
}

// complete accepts the CONNECT under way: the broker has answered it.
func (hs *handshake) complete(st *step) {
	d := hs.pending
	hs.pending = nil
	hs.accept(st, d.connect, d.wake)
}

// accept makes the device active and tells it so.
func (hs *handshake) accept(st *step, p connectParams, wake bool) {
	if !wake {
		// Whether a device that connects anew still knows its topic ids cannot be told;
		// it is told again before they are used (MQTT-SN 1.2 section 6.10).
		hs.s.ids.topics.ForgetAnnounced()
	}
	hs.s.presence.accept(p, st.Now)
	hs.s.kept = !hs.s.clean
	hs.s.enter(st, StateActive, ReasonNone)
	hs.s.journal.begin(hs.s.cfg.Durable)
	hs.s.broker.cancelClose()
	hs.s.up.connectAnswered()
	hs.s.presence.heard(st.Now)
	hs.s.up.sendSpooled(st)
	// One CONNACK answers them all: the device would go on behind the first, too early.
	hs.s.journal.forget(func(c *continuation) bool { return c.kind == thenConnAck })
	hs.s.after(st, bypassWhenDown, continuation{kind: thenConnAck})
}

// refuseConnect answers the CONNECT with code and ends the attempt.
func (hs *handshake) refuse(st *step, code dialogue.Code, why Reason) {
	send(st, dialogue.Message{Kind: dialogue.ConnAck, Code: code})
	st.drop(why)
	hs.abandon(st, why)
}

// supersede notes that another CONNECT than p is no repeat of the one being carried out.
func (hs *handshake) supersede(p connectParams) {
	if hs.pending != nil {
		hs.pending.connect = connectParams{clean: hs.pending.connect.clean, will: !p.will}
	}
}

// forget drops all that CleanSession=1 drops.
func (hs *handshake) forget(st *step) {
	hs.s.kept = false
	hs.s.ids.topics.Reset()
	hs.s.announcer.forget()
	hs.s.subs.forget()
	hs.s.up.forget()
	hs.s.down.forget()
	hs.s.down.dropHeld(st, ReasonCleanSession)
	hs.forgetRecords(st)
}

// forgetRecords removes all that CleanSession=1 drops. What the spool has stays: the
// device has been told that it is safe.
func (hs *handshake) forgetRecords(st *step) {
	hs.s.custody.forget()
	hs.s.journal.forget(func(c *continuation) bool { return c.kind != thenAckSpooled && c.kind != thenRelSpooled })
	for _, kind := range []RecordKind{RecordSubscription, RecordExchange, RecordOutgoing, RecordReceived, RecordTopic, RecordHeld} {
		hs.s.journal.removeAll(st, kind)
	}
}

// expire has whoever connects next begin anew.
func (hs *handshake) expire() { hs.s.clean = true }
