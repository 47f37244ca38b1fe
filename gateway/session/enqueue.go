package session

import "sngate/gateway/session/dialogue"

// The way of what the device publishes into the spool.

// spooling reports whether a message of the device goes through the spool.
func (ul *uplink) spooling(st *step, qos uint8) bool {
	if !ul.spools(st) || qos == 0 && !ul.s.cfg.SpoolQoS0 {
		return false
	}
	return qos == 2 || ul.s.broker.link != linkUp || ul.spool.backlog()
}

// spools reports whether the spool takes messages.
func (ul *uplink) spools(st *step) bool { return ul.s.cfg.Spool && ul.s.journal.accepts(st) }

// enqueue puts a message into the spool; the device is answered when it is in the store.
func (ul *uplink) enqueue(st *step, topic string, m *dialogue.Message) (uint32, bool) {
	p := &ul.spool
	v := spooled{at: st.Now, topic: topic, payload: append([]byte(nil), m.Data...), qos: m.QoS, retain: m.Retain, stage: upSaving}
	if !ul.makeRoom(st, v.size()) || v.qos == 2 && p.len() >= maxSpooledQoS2 {
		return 0, false
	}
	v.number = p.last + 1
	if v.qos == 2 {
		v.exchange = p.newExchange()
	}
	p.push(v)
	v.put(st, &ul.s.journal)
	ul.s.after(st, refuseWhenDown, continuation{kind: thenAckSpooled, number: v.number})
	return v.number, true
}

// makeRoom keeps the bounds of the spool.
func (ul *uplink) makeRoom(st *step, size int) bool {
	p := &ul.spool
	if size > ul.s.cfg.SpoolBytes {
		return false // nothing that is dropped would help
	}
	before := p.octets
	for p.len() >= ul.s.cfg.SpoolMessages || p.octets+size > ul.s.cfg.SpoolBytes || !st.SpoolRoom && before-p.octets < size {
		if !ul.s.cfg.SpoolDropOldest || !ul.dropSpooled(st, ReasonSpoolFull) {
			return false
		}
	}
	return true
}

// dropSpooled drops the oldest message that the link has not got.
func (ul *uplink) dropSpooled(st *step, why Reason) bool {
	p := &ul.spool
	for i := range p.msgs {
		if p.msgs[i].stage == upWaiting {
			st.drop(why)
			ul.unspool(st, i)
			return true
		}
	}
	return false
}

// spoolInflight takes a QoS 1 or 2 PUBLISH of the device into the spool.
func (ul *uplink) spoolInflight(st *step, topic string, m *dialogue.Message) {
	number, ok := ul.enqueue(st, topic, m)
	if !ok {
		ul.refusePublish(st, m, dialogue.Congestion, ReasonSpoolFull)
		return
	}
	f := inflight{waitUntil: Never, sum: checksum(m), msgID: m.MsgID, topicID: m.TopicID, qos: m.QoS, number: number, stage: upSaving}
	if f.qos == 2 {
		f.stored = true
		ul.putReceived(st, &f)
	}
	ul.begin(f)
}

// patience is how long a QoS 1 PUBLISH waits for the broker before its repetition is
// taken into the spool: a connection may be dead long before that shows.
const patience = Time(5e9)

// overdue reports whether a PUBLISH that the device repeats is better taken into the
// spool than left with the link.
func (ul *uplink) overdue(st *step, f *inflight) bool {
	if f.qos != 1 || f.stage != upRelaying && f.stage != upRefused || !ul.spools(st) {
		return false
	}
	return ul.s.broker.link != linkUp || f.stage == upRefused || st.Now >= f.waitUntil-ul.s.cfg.BrokerWait+patience
}

// retract takes the QoS 1 PUBLISHes that wait for the broker back from the link, all of
// them and in order, to put them into the spool: there is no telling when the broker
// answers.
func (ul *uplink) retract(st *step) {
	if !ul.spools(st) {
		return
	}
	for i := range ul.window {
		if f := &ul.window[i]; f.qos == 1 && f.stage == upRelaying && !f.old {
			st.do(Action{Kind: ActionRetract, Token: f.token})
		}
	}
}

func (ul *uplink) onRetracted(st *step, ev *Event) {
	i := ul.inflightOf(ev.Token)
	if i < 0 || ul.window[i].stage != upRelaying {
		return
	}
	f := &ul.window[i]
	why := ReasonBrokerDown
	if !ev.Failed {
		m := dialogue.Message{Kind: dialogue.Publish, QoS: f.qos, Retain: ev.Retain, Data: ev.Payload}
		if number, ok := ul.enqueue(st, ev.Topic, &m); ok {
			p := &ul.spool
			p.msgs[len(p.msgs)-1].again = ev.Dup
			f.stage, f.waitUntil, f.token, f.number = upSaving, Never, 0, number
			return
		}
		why = ReasonSpoolFull
	}
	ul.refusePublish(st, &dialogue.Message{Kind: dialogue.Publish, TopicID: f.topicID, MsgID: f.msgID}, dialogue.Congestion, why)
	ul.settle(st, i)
}

// mustWait reports whether a QoS 0 message has to take its turn behind what the broker is
// being sent from the spool, or to wait for the first connection after a restart: that
// may be opened only because of it.
func (ul *uplink) mustWait() bool {
	return ul.awaitsConnect || ul.s.broker.link == linkUp && ul.spool.backlog()
}

// waitInMemory has a QoS 0 message wait without going to the store.
func (ul *uplink) waitInMemory(now Time, topic string, m *dialogue.Message) bool {
	v := spooled{at: now, topic: topic, payload: append([]byte(nil), m.Data...), retain: m.Retain, stage: upWaiting}
	p := &ul.spool
	if p.len() >= ul.s.cfg.SpoolMessages || p.octets+v.size() > ul.s.cfg.SpoolBytes {
		return false
	}
	p.push(v)
	return true
}

// dropWaiting gives up the QoS 0 messages that wait in memory: the connection they
// waited for has not come about, or has gone.
func (ul *uplink) dropWaiting(st *step) {
	ul.connectAnswered()
	p := &ul.spool
	for i := len(p.msgs) - 1; i >= 0; i-- {
		if p.msgs[i].number == 0 {
			st.drop(ReasonBrokerDown)
			p.remove(i)
		}
	}
}

// spoolDeadline is when the spool next wants attention.
func (ul *uplink) spoolDeadline() Time {
	at := ul.spool.retryAt
	for i := range ul.spool.msgs {
		if m := &ul.spool.msgs[i]; ul.mayExpire(m) {
			return min(at, m.at+ul.s.cfg.SpoolAge)
		}
	}
	return at
}

// mayExpire reports whether a message waits for the broker: also one that the link has,
// while there is no connection, or while connections end of it. An exchange of QoS 2 is
// finished once PUBREC has come, however long that takes: the broker has the message.
func (ul *uplink) mayExpire(m *spooled) bool {
	return m.stage == upWaiting || m.stage == upSent && (m.qos < 2 && ul.s.broker.link != linkUp || m.doubted)
}

// advanceSpool drops what has waited for too long, and asks the link again.
func (ul *uplink) advanceSpool(st *step) {
	if st.Now < ul.spoolDeadline() {
		return
	}
	p := &ul.spool
	for i := 0; i < len(p.msgs); i++ {
		m := &p.msgs[i]
		if !ul.mayExpire(m) || st.Now < m.at+ul.s.cfg.SpoolAge {
			continue
		}
		if m.stage > upWaiting {
			st.do(Action{Kind: ActionRetract, Token: m.token})
		}
		st.dropOf(ReasonSpoolExpired, m.topic, len(m.payload))
		ul.unspool(st, i)
		i--
	}
	if st.Now >= p.retryAt {
		p.retryAt = Never
	}
	ul.sendSpooled(st)
}
