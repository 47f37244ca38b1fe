package session

// The way into the spool, up to the answer to the device.

import "sngate/gateway/session/dialogue"

// spooling reports whether a message of the device goes through the spool.
func (ul *uplink) spooling(st *step, qos uint8) bool {
	if !ul.spools(st) || qos == 0 && !ul.s.cfg.SpoolQoS0 {
		return false
	}
	return qos == 2 || ul.s.broker.link != linkUp || ul.spool.backlog()
}

// enqueue puts a message into the spool; the device is answered when it is in the store.
func (ul *uplink) enqueue(st *step, topic string, m *dialogue.Message) (uint32, bool) {
	p := &ul.spool
	v := spooled{
		at: st.Now, topic: topic, payload: append([]byte(nil), m.Data...), qos: ul.s.cfg.Limits.QoS(m.QoS), retain: m.Retain, stage: upSaving,
	}
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

// awaitConnect begins to wait for the first connection to the broker after a restart.
func (ul *uplink) awaitConnect() { ul.awaitsConnect = true }

// connectAnswered ends that wait: the connection is up, or has failed.
func (ul *uplink) connectAnswered() { ul.awaitsConnect = false }
