package session

import (
	"fmt"
	"sngate/gateway/session/dialogue"
	"sngate/internal/binrec"
)

// What outlives the gateway, where it has a store.

// onStored runs the continuations of a batch that the store has answered.
func (s *Session) onStored(st *step, ev *Event) {
	for c, ok := s.journal.next(ev.Token); ok; c, ok = s.journal.next(ev.Token) {
		s.run(st, &c, !ev.Failed)
	}
}

// run runs a continuation. ok: what it has waited for is in the store.
func (s *Session) run(st *step, c *continuation, ok bool) {
	switch c.kind {
	case thenRegAck:
		s.ids.onRegisterStored(st, c, ok)
	case thenSubAck:
		s.subs.onSubscribeStored(st, c, ok)
	case thenAllotted:
		s.ids.allotted(st, c, ok)
		s.announcer.topicStored(st, c.id)
	case thenPublish:
		s.down.onOutgoingStored(st, c)
	case thenRelease:
		s.down.onReleasingStored(st, c)
	case thenAckHeld:
		s.custody.onHeldStored(st, c, ok)
	case thenAckSpooled:
		s.up.onSpoolStored(st, c, ok)
	case thenRelSpooled:
		if ok {
			s.up.onReleasedStored(st, c.number)
		}
	case thenPubComp:
		s.custody.complete(st, c.identity)
	case thenSleep:
		if s.state == StateAsleep { // or it would take it for the end of what it has begun since
			send(st, dialogue.Message{Kind: dialogue.Disconnect})
		}
	case thenConnAck:
		s.handshake.onConnectStored(st)
	case thenUnsubAck:
		send(st, dialogue.Message{Kind: dialogue.UnsubAck, MsgID: c.msgID})
	case thenWillTopicResp:
		send(st, dialogue.Message{Kind: dialogue.WillTopicResp})
	case thenWillMsgResp:
		send(st, dialogue.Message{Kind: dialogue.WillMsgResp})
	case thenGoodbye:
		s.handshake.onGoodbyeStored(st)
	case thenResubscribe:
		s.subs.beginResubscribing(st)
	}
}

// save puts RecordSession out, at the end of a step, where that is due.
func (s *Session) save(st *step) {
	if s.journal.due(st) {
		s.journal.save(st, s.lasting(), s.appendSession())
	}
}

// Save puts out what is still to be stored of the session, because the gateway stops and
// keeps it.
func (s *Session) Save(env Env, out *Out) {
	st := &step{env, out, s.dialogue}
	s.journal.hurry()
	s.save(st)
}

// Snapshot puts out all records of the session, in place of whatever is in the store: after a
// failure of the store nothing else is known of that.
func (s *Session) Snapshot(env Env, out *Out) {
	st := &step{env, out, s.dialogue}
	if !s.journal.known {
		return
	}
	for kind := RecordSession; kind <= RecordSpool; kind++ {
		s.journal.removeAll(st, kind)
	}
	s.journal.put(st, RecordSession, nil, s.appendSession())
	for i := range s.subs.list {
		s.subs.putSubscription(st, &s.subs.list[i])
	}
	for id := range s.ids.topics.All {
		s.ids.put(st, id, s.ids.topics.State(id).Told)
	}
	for i := range s.custody.unreleased {
		s.custody.unreleased[i].put(st, &s.journal)
	}
	if s.custody.outgoing.msgID != 0 {
		s.custody.outgoing.put(st, &s.journal)
	}
	for i := range s.up.window {
		if f := &s.up.window[i]; f.stored {
			s.up.putReceived(st, f)
		}
	}
	if m := &s.down.delivery.msg; m.custodian != brokers {
		m.put(st, &s.journal)
	}
	for i := range s.down.queue.len() {
		if m := s.down.queue.at(i); m.custodian != brokers {
			m.put(st, &s.journal)
		}
	}
	s.up.snapshotSpool(st)
}

// Restore completes the restoring of a session after a restart of the gateway, from the records
// that Load has read. It reports whether there is a session; if not, what is stored of it is
// rubbish. The timers of a connected device start anew, as if it had just spoken.
func (s *Session) Restore(env Env, out *Out) bool {
	st := &step{env, out, s.dialogue}
	if !s.journal.known {
		return false
	}
	s.journal.loaded(s.state)
	s.ids.topics.Distrust(s.cfg.MaxTopics)
	s.addr.reach.beginStep(st.Out)
	s.wills.conform(st)
	s.up.restoreSpool(st)
	s.down.restoreOutgoing()
	if !s.connected() {
		return s.broker.restoreEnded(st)
	}
	s.up.awaitConnect()
	s.broker.reopen(st, len(s.subs.list) == 0 && s.up.spool.len() == 0)
	s.presence.heard(st.Now)
	s.down.proceed(st)
	s.save(st)
	s.addr.reach.charge(st.Out)
	return true
}

// appendSession writes RecordSession. Of times it has durations only: what silence
// means is counted anew after a restart.
func (s *Session) appendSession() []byte {
	bits := bit(s.clean, bitClean) | bit(s.kept, bitKept) | bit(s.presence.accepted.will, bitWill) | bit(s.wills.current != nil, bitHasWill) |
		bit(s.wills.due, bitWillDue) | bit(s.assigned, bitAssigned) | bit(s.Proven(), bitProven)
	b := binrec.New(64).U8(recordVersion, protocolSN12, bits, byte(s.lasting())).U16(s.presence.duration).U16(s.presence.sleepFor).U16(s.presence.accepted.duration)
	if w := s.wills.current; w != nil {
		b = b.U8(w.QoS, bit(w.Retain, bitRetain)).Text32(w.Topic).Octets(w.Message)
	}
	return b
}

// lasting is the state as it is stored: what a restart interrupts is not.
func (s *Session) lasting() State {
	switch s.state {
	case StateAwake:
		return StateAsleep
	case StateActive, StateAsleep, StateDisconnected, StateLost:
		return s.state
	}
	return s.journal.state
}

func (s *Session) loadSession(value []byte) error {
	f := binrec.NewReader(value)
	if version := f.U8(); version != recordVersion && !f.Malformed() {
		return fmt.Errorf("%w: it has version %d, this program reads %d", ErrRecordVersion, version, recordVersion)
	}
	protocol, bits, state := f.U8(), f.U8(), State(f.U8())
	duration, sleepFor, accepted := f.U16(), f.U16(), f.U16()
	var w *Will
	if bits&bitHasWill != 0 {
		w = &Will{QoS: f.U8(), Retain: f.U8()&bitRetain != 0, Topic: f.Text32(), Message: copyOf(f.Rest())}
		f.Check(w.QoS <= 2)
	}
	switch state {
	case StateActive, StateAsleep, StateDisconnected, StateLost:
	default:
		f.Check(false)
	}
	if !f.Done() || protocol != protocolSN12 {
		return errRecord
	}
	s.clean, s.kept, s.assigned, s.state = bits&bitClean != 0, bits&bitKept != 0, bits&bitAssigned != 0, state
	s.presence.load(connectParams{clean: s.clean, will: bits&bitWill != 0, duration: accepted}, duration, sleepFor)
	s.wills.load(w, bits&bitWillDue != 0)
	if bits&bitProven != 0 {
		s.addr.loadProven()
	}
	s.journal.found()
	return nil
}

// Load reads one record of the session. Records may come in any order, those of a kind in the
// order of their keys. key and value are the caller's. Restore is called after the last one. A
// corrupt record is an error, and leaves the session as it is; so is one of another version,
// [ErrRecordVersion].
func (s *Session) Load(kind RecordKind, key, value []byte) error {
	k, f := binrec.NewReader(key), binrec.NewReader(value)
	var take func()
	switch kind {
	case RecordSession:
		return s.loadSession(value)
	case RecordSubscription:
		sub := subscription{filter: string(k.Rest()), qos: f.U8()}
		f.Check(sub.filter != "" && sub.qos <= 2)
		take = func() {
			s.subs.list = append(s.subs.list, sub)
			s.subs.filterOctets += int32(len(sub.filter))
		}
	case RecordTopic:
		return s.ids.load(&k, &f)
	case RecordExchange:
		v := unreleased{slot: k.U16(), identity: readIdentity(&f)}
		take = func() { s.custody.load(v) }
	case RecordOutgoing:
		var v outgoingRecord
		v.load(&f)
		take = func() { s.custody.outgoing = v }
	case RecordReceived:
		v := inflight{waitUntil: Never, msgID: k.U16(), sum: f.U32(), topicID: f.U16(), qos: 2, stage: upAnswered, stored: true, old: true}
		take = func() { s.up.window = append(s.up.window, v) }
	case RecordReleased:
		number := k.U32()
		take = func() { s.up.spool.before = append(s.up.spool.before, number) }
	case RecordHeld:
		m := outgoing{number: k.U32(), custodian: ours}
		m.qos, m.retain, m.topic, m.payload = readMessage(&f)
		f.Check(m.qos != 0 && m.number != 0)
		take = func() {
			m.topic = s.ids.known(m.topic)
			s.down.queue.push(m)
			s.custody.lastHeld = m.number
		}
	case RecordSpool:
		m := spooled{number: k.U32(), exchange: f.U16(), stage: upWaiting, again: true}
		m.qos, m.retain, m.topic, m.payload = readMessage(&f)
		f.Check(m.number != 0 && m.exchange <= MaxExchanges && (m.qos != 2 || m.exchange != 0))
		take = func() { s.up.spool.push(m) }
	default:
		return errRecord
	}
	if !k.Done() || !f.Done() {
		return errRecord
	}
	take()
	return nil
}
