package session

import (
	"sngate/gateway/session/dialogue"
	"sngate/snpacket"
)

// New returns the session of a device that has not connected yet, and speaks d.
func New(cfg *Config, clientID string, d dialogue.Dialogue) *Session {
	s := &Session{cfg: cfg, clientID: clientID, dialogue: d}
	s.handshake.s, s.presence.s, s.addr.s, s.wills.s, s.broker.s = s, s, s, s, s
	s.ids.s, s.subs.s, s.up.s, s.down.s, s.custody.s, s.announcer.s, s.wake.s = s, s, s, s, s, s, s
	s.presence.begin()
	s.subs.forget()
	s.up.spool.begin()
	s.down.begin()
	s.wake.end()
	s.addr.begin()
	return s
}

// Datagram handles one datagram of the device, without any encapsulation. b is not
// kept.
func (s *Session) Datagram(env Env, b []byte, out *Out) {
	st := &step{env, out, s.dialogue}
	f, err := snpacket.ParseFrame(b)
	if err != nil {
		st.drop(ReasonMalformed)
		return
	}
	s.receive(st, st.parse(f), len(b))
}

// Frame is Datagram for a message whose frame has been checked.
func (s *Session) Frame(env Env, f snpacket.Frame, out *Out) {
	st := &step{env, out, s.dialogue}
	s.receive(st, st.parse(f), len(f.Message))
}

// receive handles a message of the device, which has come in so many octets.
func (s *Session) receive(st *step, m *dialogue.Message, octets int) {
	if why := stray(m.Kind); why != ReasonNone {
		st.drop(why)
		return
	}
	parked, bounded := s.presence.parked, s.addr.reach != nil
	s.addr.reach.beginStep(st.Out)
	s.addr.reach.credit(octets)
	switch {
	case m.Kind == dialogue.Connect:
		s.handshake.onConnect(st, m)
	case !s.connected():
		s.onUnconnected(st, m)
	case s.presence.fresh && s.presence.accepted.will && (m.Kind == dialogue.WillTopic || m.Kind == dialogue.WillMsg):
		s.presence.heard(st.Now)
		if !s.handshake.accepting() {
			send(st, dialogue.Message{Kind: dialogue.ConnAck}) // the last step of the will dialogue again: the CONNACK was lost
		}
	case s.handshake.accepting() && s.state == StateActive && m.Kind != dialogue.Disconnect:
		s.presence.heard(st.Now)
		st.drop(ReasonUnexpectedMessage) // too early: nothing comes before the CONNACK
	default:
		s.presence.spoke()
		s.presence.heard(st.Now)
		s.down.noteLife()
		s.announcer.noteLife()
		if !s.addr.weigh(st, m) {
			s.onConnected(st, m)
		}
	}
	if parked && !s.presence.parked {
		s.down.proceed(st)
	}
	s.addr.sendWithheld(st, bounded)
	s.finish(st)
}

// finish ends a step: what is held may have been waiting for what it brought.
func (s *Session) finish(st *step) {
	s.presence.endStep()
	s.broker.closeDrained(st)
	s.down.pump(st)
	s.down.regulate(st)
	s.broker.want(st)
	s.save(st)
	s.addr.reach.charge(st.Out)
}

// onUnconnected handles what comes while the device has no connection: its part of
// the will dialogue, or a DISCONNECT; anything else is answered with DISCONNECT, so
// that the device knows it has to connect (MQTT-SN 1.2 section 5.4.21).
func (s *Session) onUnconnected(st *step, m *dialogue.Message) {
	switch {
	case m.Kind == dialogue.WillTopic && s.state == StateWillTopic:
		s.handshake.onWillTopic(st, m)
	case m.Kind == dialogue.WillTopic && s.state == StateWillMsg:
		s.handshake.repeatPrompt(st) // WILLMSGREQ was lost
	case m.Kind == dialogue.WillMsg && s.state == StateWillMsg:
		s.handshake.onWillMsg(st, m)
	case m.Kind == dialogue.Disconnect && m.Fault != dialogue.NoFault:
		st.drop(ReasonMalformed)
	case m.Kind == dialogue.Disconnect:
		s.handshake.onDisconnect(st, m)
	case s.handshake.pending != nil:
		st.drop(ReasonUnexpectedMessage) // too early, or a repeated step of the dialogue
	case s.state == StateDisconnected && (m.Kind == dialogue.RegAck || m.Kind == dialogue.PubAck || m.Kind == dialogue.PubComp || m.Kind == dialogue.PingResp):
		// An answer that has come behind a goodbye. The device may have sent CONNECT since, and
		// would take DISCONNECT for the answer to that.
		st.drop(ReasonUnexpectedMessage)
	default:
		st.drop(ReasonUnknownSender)
		send(st, dialogue.Message{Kind: dialogue.Disconnect})
	}
}

// onConnected dispatches what a connected device sends. What cannot be read is dropped, but
// for what is refused, or dropped for another reason, all the same.
func (s *Session) onConnected(st *step, m *dialogue.Message) {
	if m.Fault == dialogue.Malformed && m.Kind != dialogue.WillTopic && m.Kind != dialogue.WillTopicUpd {
		st.drop(ReasonMalformed)
		return
	}
	switch m.Kind {
	case dialogue.Publish:
		s.up.onPublish(st, m)
	case dialogue.PubAck:
		s.down.onPubAck(st, m)
	case dialogue.PubRec:
		s.down.onPubRec(st, m)
	case dialogue.PubRel:
		s.up.onPubRel(st, m)
	case dialogue.PubComp:
		s.down.onPubComp(st, m)
	case dialogue.Register:
		s.ids.onRegister(st, m)
	case dialogue.RegAck:
		s.announcer.onRegAck(st, m)
	case dialogue.Subscribe:
		s.subs.onSubscribe(st, m)
	case dialogue.Unsubscribe:
		s.subs.onUnsubscribe(st, m)
	case dialogue.PingReq:
		s.wake.onPingReq(st)
	case dialogue.PingResp:
		s.addr.pinged(st)
	case dialogue.Disconnect:
		s.handshake.onDisconnect(st, m)
	case dialogue.WillMsgUpd:
		s.wills.onWillMsgUpd(st, m)
	case dialogue.WillTopicUpd:
		s.wills.onWillTopicUpd(st, m)
	case dialogue.WillTopic, dialogue.WillMsg:
		// A live session whose device has sent CONNECT with Will goes through the
		// dialogue in a state of its own; here it is a repeat that came late.
		st.drop(ReasonUnexpectedMessage)
	}
}

// Upstream handles one event of the upstream link.
func (s *Session) Upstream(env Env, ev *Event, out *Out) {
	st := &step{env, out, s.dialogue}
	s.addr.reach.beginStep(st.Out)
	switch ev.Kind {
	case EventConnected:
		s.broker.onConnected(st, ev)
	case EventRefused:
		s.broker.onRefused(st, ev)
	case EventDown:
		s.up.dropWaiting(st)
		s.broker.onDown(st)
	case EventUp:
		s.broker.onUp(st, ev)
	case EventRenewed:
		s.broker.onRenewed(st, ev)
	case EventParked:
		s.broker.onParked()
		s.presence.onParked(st.Now)
	case EventPublished:
		if !s.up.onSpoolPublished(st, ev.Token) {
			s.up.onPublished(st, ev.Token)
		}
	case EventPublishFailed:
		if !s.up.onSpoolFailed(st, ev) {
			s.up.onPublishFailed(st, ev)
		}
	case EventReceived:
		s.up.onReceived(st, ev.Token)
	case EventReleased:
		s.custody.onReleased(st, ev.Identity)
	case EventForgotten:
		s.custody.onForgotten(st, ev.Identity)
	case EventRepeated:
		s.wake.owe(ev.QoS)
	case EventDoubted:
		s.up.onDoubted(st, ev.Token)
	case EventRetracted:
		s.up.onRetracted(st, ev)
	case EventStored:
		s.onStored(st, ev)
	case EventSubscribed:
		s.subs.onSubscribed(st, ev)
	case EventUnsubscribed:
		s.subs.onUnsubscribed(st, ev)
	case EventMessage:
		s.down.onMessage(st, ev)
	case EventPong:
		s.wake.onPong(st, ev)
	case EventClosed:
		s.broker.onClosed(st)
	}
	s.finish(st)
}

// Deadline is when the session next wants Advance; Never if it waits for nothing.
func (s *Session) Deadline() Time {
	d := min(s.ExactDeadline(), s.presence.lifeAt, s.presence.askAt, s.subs.resubscribeDeadline())
	for i := range s.up.window {
		d = min(d, s.up.window[i].waitUntil)
	}
	for i := range s.subs.asked {
		d = min(d, s.subs.asked[i].waitUntil)
	}
	return d
}

// ExactDeadline is the part of Deadline that Advance should not come late for: repeats, the
// will dialogue, the end of a wake. The rest, silence above all, bears half a second.
func (s *Session) ExactDeadline() Time {
	d := min(s.handshake.deadline(), s.presence.probe.at, s.down.retry.at, s.down.proceedAt, s.wake.barrier.at, s.addr.deadline(), s.up.spoolDeadline(), s.journal.deadline())
	if s.announcer.reg != nil {
		d = min(d, s.announcer.reg.retryAt)
	}
	return d
}

// Advance carries out what time has brought. Calling it early is harmless.
func (s *Session) Advance(env Env, out *Out) {
	st := &step{env, out, s.dialogue}
	s.addr.reach.beginStep(st.Out)
	if st.Now >= s.presence.lifeAt {
		s.handshake.lost(st, s.presence.onSilence(st))
	}
	if st.Now >= s.handshake.deadline() {
		s.handshake.onRetry(st)
	}
	if st.Now >= s.presence.probe.at {
		s.handshake.lost(st, s.presence.onProbeRetry(st))
	}
	if st.Now >= s.down.retry.at {
		s.handshake.lost(st, s.down.onRetry(st))
	}
	if s.announcer.reg != nil && st.Now >= s.announcer.reg.retryAt {
		s.handshake.lost(st, s.announcer.onRegisterRetry(st))
	}
	if st.Now >= s.down.proceedAt {
		s.down.ready()
		s.down.pump(st)
	}
	if st.Now >= s.presence.askAt {
		s.presence.askWhether(st)
	}
	if st.Now >= s.wake.barrier.at {
		s.wake.barrier.giveUp()
		s.down.pump(st)
	}
	s.addr.advance(st)
	s.up.expireWaiting(st)
	s.up.advanceSpool(st)
	s.subs.resubscribeDue(st)
	s.finish(st)
}
