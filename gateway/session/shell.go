package session

import "sngate/gateway/session/dialogue"

// What the shell tells a session beside datagrams, events and the passing of time.

// SetAssigned says that the shell has chosen the client id, because the device has none.
// Its address is the only thing the device is known by.
func (s *Session) SetAssigned() { s.assigned = true }

// AddressReused says that the device's address belongs to another device from now on. A
// sleeper that has a client id to be found by stays asleep. Any other device is lost.
func (s *Session) AddressReused(env Env, out *Out) {
	st := &step{env, out, s.dialogue}
	s.journal.mustSave() // or a restart would give it the address back
	s.addr.forget(st)
	switch {
	case s.state == StateActive, s.connected() && s.assigned:
		s.handshake.endLost(st, ReasonAddressReused)
	case s.state == StateAwake:
		s.down.suspend()
		s.wake.end()
		s.enter(st, StateAsleep, ReasonAddressReused)
		s.presence.heard(st.Now)
	case s.handshake.pending != nil:
		s.handshake.abandon(st, ReasonAddressReused)
	}
	s.save(st)
}

// AddressChanged says that what comes next comes from a new address, so that a CONNECT is
// taken neither for a repeat nor for that of a sleeper which stays awake: it has probably
// restarted.
func (s *Session) AddressChanged() {
	s.presence.move()
	s.addr.move()
	s.journal.changed()
}

// StartMsgIDs sets what the identifiers of the gateway's own messages count from: MsgIds
// towards the device, and numbers of exchanges with the broker. A shell
// passes a random one, so that neither takes a new message for one of which it remembers
// an exchange that the gateway has forgotten.
func (s *Session) StartMsgIDs(after uint16) {
	s.down.startMsgIDs(after)
	s.up.startExchanges(after)
}

// Adopt carries out a CONNECT with Will=1 that has come from another address than the
// device's, to which the session has just been moved. from is a session that has held
// the will dialogue there, so that this one could go on meanwhile; the prompts have been
// answered already, and are not sent.
func (s *Session) Adopt(env Env, from *Session, out *Out) {
	d := from.handshake.pending
	if d == nil {
		return
	}
	s.handshake.supersede(d.connect) // of the old address: this CONNECT is no repeat of that one
	said := []dialogue.Message{
		{Kind: dialogue.Connect, Clean: d.connect.clean, Will: d.connect.will, Duration: d.connect.duration, Name: []byte(s.clientID)},
		{Kind: dialogue.WillTopic},
	}
	if w := d.will; w != nil {
		said[1] = dialogue.Message{Kind: dialogue.WillTopic, QoS: w.QoS, Retain: w.Retain, Name: []byte(w.Topic)}
		said = append(said, dialogue.Message{Kind: dialogue.WillMsg, Data: w.Message})
	}
	for i := range said {
		st := &step{env, out, s.dialogue}
		arena, ends := len(out.arena), len(out.ends)
		if s.receive(st, &said[i], st.size(said[i])); i < len(said)-1 {
			out.arena, out.ends = out.arena[:arena], out.ends[:ends]
		}
	}
}

// Yield drops QoS 0 messages, oldest first, until what is held fits in Env.Allowance.
// Messages of QoS 1 and 2 stay: if they alone are too many, the connection to the broker is
// not read until fewer are left.
func (s *Session) Yield(env Env, out *Out) {
	st := &step{env, out, s.dialogue}
	for {
		if _, b := s.Held(); b <= st.Allowance || !s.down.queue.dropOldestQoS0() {
			break
		}
		st.drop(ReasonMemoryLimit)
	}
	s.finish(st) // what is held may not wait for a SUBACK any more
}

// GiveWay ends a half-open session without a word, to make room. A device that goes on
// with the dialogue is answered with DISCONNECT, and connects again.
func (s *Session) GiveWay(env Env, out *Out) {
	st := &step{env, out, s.dialogue}
	if s.HalfOpen() {
		st.drop(ReasonMaxSessions)
		s.handshake.abandon(st, ReasonMaxSessions)
	}
}

// Expire ends a session that is kept for a device that has gone, for good: ActionFree
// follows, at once or when the connection to the broker has ended. The broker is not
// told. It could only be told in the name of the device (MQTT 3.1.1 section 3.1.2.4),
// which may be connected through another gateway by now, and would be cut off.
//
// It reports false, and does nothing, for a session that is in use, be it for messages
// of the device that the broker has not got yet.
func (s *Session) Expire(env Env, out *Out) bool {
	st := &step{env, out, s.dialogue}
	if s.connected() || s.handshake.pending != nil || s.broker.draining() {
		return false
	}
	s.handshake.forget(st)
	s.handshake.expire()
	s.wills.forget()
	if s.broker.link == linkClosed {
		s.handshake.free(st)
	}
	return true
}

// Stop ends the session because the gateway stops: the device is told, and the
// connection to the broker ends without the will.
func (s *Session) Stop(env Env, out *Out) {
	st := &step{env, out, s.dialogue}
	if s.listening() {
		send(st, dialogue.Message{Kind: dialogue.Disconnect})
	}
	s.journal.dropAnswers()
	s.handshake.end(st, StateDisconnected, ReasonGatewayStop, ActionCloseClean)
	s.save(st)
}

// Unreachable says that the network has reported the device's address unreachable. That
// can be forged, and is believed of an address only that is not proven: then nothing is
// sent there that was not asked for, until somebody speaks from there again.
func (s *Session) Unreachable(env Env, out *Out) {
	st := &step{env, out, s.dialogue}
	if s.addr.unreachable(st) {
		s.finish(st)
	}
}

// RestartMsgIDs sets what MsgIds towards the device count from. A shell passes a random
// number whenever the device may be somebody else than before: one that has had the
// session at another address knows which MsgIds come next.
func (s *Session) RestartMsgIDs(after uint16) { s.down.startMsgIDs(after) }

// Resubscribe has the subscriptions repeated when the broker is next connected to, though it
// has the session: an earlier process did not get to the end of that.
func (s *Session) Resubscribe() { s.subs.resubscribeNextTime() }

// Contested says that a CONNECT has come from another address than the device's. It
// reports whether the session may be moved there, because the device was asked before
// and has not answered in the time of a request and its repeats. Otherwise the device is
// asked, if it is active: one that sleeps could not answer. It keeps its session if it has
// proven its address; otherwise anybody could lock out a device by a forged address for as
// long as a sleep may last. CONNECTs that go on coming have a device that answers asked no
// more often than one that does not.
func (s *Session) Contested(env Env, out *Out) bool {
	return s.addr.contested(&step{env, out, s.dialogue})
}
