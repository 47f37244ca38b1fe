package session

import (
	"encoding/binary"

	"sngate/gateway/session/dialogue"
)

func (ul *uplink) unspool(st *step, i int) {
	m := &ul.spool.msgs[i]
	if m.number != 0 {
		ul.s.journal.remove(st, RecordSpool, key32(m.number))
	}
	if m.qos == 2 {
		ul.s.journal.remove(st, RecordReleased, key32(m.number)) // it may still be on its way there
	}
	ul.spool.remove(i)
}

func (m *spooled) put(st *step, j *journal) {
	v := binary.BigEndian.AppendUint16(make([]byte, 0, m.size()), m.exchange)
	j.put(st, RecordSpool, key32(m.number), appendMessage(v, m.qos, m.retain, m.topic, m.payload))
}

func (ul *uplink) onSpoolStored(st *step, c *continuation, ok bool) {
	p := &ul.spool
	i := p.find(c.number)
	if i < 0 {
		return
	}
	if ok {
		p.msgs[i].stage = upWaiting
	} else {
		ul.unspool(st, i)
	}
	ul.answerSpooled(st, c, ok)
	ul.sendSpooled(st)
}

// sendSpooled gives the link as many messages of the spool as it may have.
func (ul *uplink) sendSpooled(st *step) {
	p := &ul.spool
	if p.len() == 0 || ul.s.broker.link != linkUp || p.retryAt != Never {
		return
	}
	n, octets := 0, 0
	var before order
	for i := 0; i < len(p.msgs) && n < spoolAtOnce && octets < spoolAtOnceBytes; i++ {
		m := &p.msgs[i]
		if m.stage == upSaving {
			return // the ones behind it have to wait as well
		}
		if m.stage == upWaiting && before.blocks(m) {
			if before.all {
				return
			}
			before.skip(m)
			continue
		}
		if counts := before.pass(m); counts {
			n, octets = n+1, octets+m.size()
		}
		if m.stage != upWaiting {
			continue
		}
		if n > 1 && octets > spoolAtOnceBytes {
			return
		}
		m.stage, m.token = upSent, ul.s.broker.token()
		ul.hand(st, m)
		if m.qos == 0 {
			ul.unspool(st, i)
			i--
		}
	}
}

// onDoubted lets others go before a spooled message.
func (ul *uplink) onDoubted(st *step, t Token) {
	if i := ul.spooledAs(t); i >= 0 {
		ul.spool.msgs[i].doubted = true
		ul.sendSpooled(st)
	}
}

func (ul *uplink) hand(st *step, m *spooled) {
	st.do(Action{
		Kind: ActionPublish, Token: m.token, Topic: m.topic, Payload: m.payload, QoS: m.qos, Retain: m.retain,
		Exchange: m.exchange, Again: m.again, Released: m.released,
	})
	m.again = true
}

// onSpoolPublished takes the broker's acknowledgement of a spooled message.
func (ul *uplink) onSpoolPublished(st *step, t Token) bool {
	i := ul.spooledAs(t)
	if i < 0 {
		return false
	}
	ul.unspool(st, i)
	ul.spool.retryAt = Never
	ul.sendSpooled(st)
	return true
}

// onSpoolFailed takes a spooled message back from the link, or gives it up because
// connections end of it.
func (ul *uplink) onSpoolFailed(st *step, ev *Event) bool {
	i := ul.spooledAs(ev.Token)
	if i < 0 {
		return false
	}
	m := &ul.spool.msgs[i]
	m.stage, m.token = upWaiting, 0
	switch {
	case ev.Congested:
		ul.spool.retryAt = st.Now + spoolRetry
	case ul.s.broker.link != linkUp && ul.s.broker.link != linkDown: // a connect with CleanSession=1 has taken all back
	default:
		if ev.Rejected {
			st.dropOf(ReasonSpoolRejected, m.topic, len(m.payload))
			ul.unspool(st, i)
		}
		ul.sendSpooled(st)
	}
	return true
}

func (ul *uplink) spooledAs(t Token) int {
	return ul.spool.byToken(t)
}

// onReceived takes the broker's PUBREC for a spooled message. Once PUBREL is sent the
// message must not be published again, which a restarted gateway has to know.
func (ul *uplink) onReceived(st *step, t Token) {
	i := ul.spooledAs(t)
	if i < 0 {
		return
	}
	m := &ul.spool.msgs[i]
	if m.released {
		st.do(Action{Kind: ActionRelease, Token: t})
		return
	}
	m.stage = upReceived
	ul.putReleased(st, m)
}

func (ul *uplink) putReleased(st *step, m *spooled) {
	ul.s.journal.put(st, RecordReleased, key32(m.number), nil)
	ul.s.after(st, refuseWhenDown, continuation{kind: thenRelSpooled, number: m.number})
}

func (ul *uplink) onReleasedStored(st *step, number uint32) {
	p := &ul.spool
	i := p.find(number)
	if i < 0 || p.msgs[i].stage != upReceived {
		return // the link has given it back, or begins it anew
	}
	m := &p.msgs[i]
	m.released, m.stage = true, upReleased
	st.do(Action{Kind: ActionRelease, Token: m.token})
	ul.sendSpooled(st)
}

// forgetReleased begins the QoS 2 exchanges anew with a broker that has forgotten them.
func (ul *uplink) forgetReleased(st *step) {
	p := &ul.spool
	for i := range p.msgs {
		m := &p.msgs[i]
		if m.released || m.stage == upReceived {
			m.released = false
			ul.s.journal.remove(st, RecordReleased, key32(m.number))
		}
		m.stage = min(m.stage, upSent)
	}
}

func (ul *uplink) snapshotSpool(st *step) {
	p := &ul.spool
	for i := range p.msgs {
		m := &p.msgs[i]
		if m.number == 0 {
			continue
		}
		m.put(st, &ul.s.journal)
		switch {
		case m.released:
			ul.s.journal.put(st, RecordReleased, key32(m.number), nil)
		case m.stage == upReceived:
			ul.putReleased(st, m)
		}
	}
}

// restoreSpool restores the spool from what Load has read.
func (ul *uplink) restoreSpool(st *step) {
	p := &ul.spool
	for i := range p.msgs {
		p.msgs[i].at = st.Now
	}
	for _, number := range ul.spool.before {
		if i := p.find(number); i >= 0 {
			p.msgs[i].released = true
		} else {
			ul.s.journal.remove(st, RecordReleased, key32(number))
		}
	}
	ul.spool.before = nil
}

// answerSpooled tells the device that its message is safe, or that it is to send it
// again later.
func (ul *uplink) answerSpooled(st *step, c *continuation, ok bool) {
	for i := range ul.window {
		f := &ul.window[i]
		if f.stage != upSaving || f.number != c.number {
			continue
		}
		switch {
		case !ok:
			if !f.old {
				st.drop(ReasonStoreFailed)
				send(st, dialogue.Message{Kind: dialogue.PubAck, TopicID: f.topicID, MsgID: f.msgID, Code: dialogue.Congestion})
			}
			ul.settle(st, i)
		case f.qos == 1:
			if !f.old {
				send(st, dialogue.Message{Kind: dialogue.PubAck, TopicID: f.topicID, MsgID: f.msgID})
			}
			ul.settle(st, i)
		default:
			f.stage = upAnswered
			if !f.old {
				send(st, dialogue.Message{Kind: dialogue.PubRec, MsgID: f.msgID})
			}
		}
		return
	}
	if !ok {
		st.drop(ReasonStoreFailed) // QoS 0, or nobody waits
	}
}
