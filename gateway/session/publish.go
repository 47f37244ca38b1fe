package session

import (
	"sngate/gateway/session/dialogue"
)

// onPublish relays a PUBLISH of the device (MQTT-SN 1.2 sections 5.4.12 and 6.6).
func (ul *uplink) onPublish(st *step, m *dialogue.Message) {
	topic, code, why := ul.s.ids.topicOf(m.TopicType, m.TopicID)
	news := why == ReasonNone && m.TopicType == dialogue.NormalTopic && !ul.s.ids.settled(m.TopicID)
	if news {
		ul.s.ids.told(st, m.TopicID) // it uses it, so it knows it
	}
	if m.QoS == dialogue.QoSMinusOne {
		ul.onQoSMinusOne(st, topic, why, m)
		return
	}
	if why != ReasonNone {
		ul.refusePublish(st, m, code, why)
		return
	}
	if news {
		ul.s.ids.ownByUse(st, m.TopicID)
	}
	if m.QoS == 0 {
		ul.relayUnanswered(st, topic, ul.s.up.overRate(st.Now, m), m)
		return
	}
	if m.MsgID == 0 {
		ul.refusePublish(st, m, dialogue.NotSupported, ReasonInvalidMessageID)
		return
	}
	if ul.repeated(st, m) {
		return
	}
	ul.msgIDs.published(m.MsgID)
	if why := ul.s.up.overRate(st.Now, m); why != ReasonNone {
		ul.refusePublish(st, m, dialogue.Congestion, why)
		return
	}
	if len(ul.window) >= ul.s.cfg.MaxInFlight && !ul.evict(st) {
		ul.refusePublish(st, m, dialogue.Congestion, ReasonWindowFull)
		return
	}
	if ul.spooling(st, m.QoS) {
		ul.spoolInflight(st, topic, m)
		return
	}
	if ul.spool.backlog() {
		ul.refusePublish(st, m, dialogue.Congestion, ReasonStoreFailed) // it would overtake
		return
	}
	t := ul.s.broker.token()
	ul.begin(inflight{
		waitUntil: st.Now + ul.s.cfg.BrokerWait, token: t, sum: checksum(m), msgID: m.MsgID, topicID: m.TopicID, qos: m.QoS,
	})
	st.do(Action{Kind: ActionPublish, Token: t, Topic: topic, Payload: m.Data, QoS: m.QoS, Retain: m.Retain})
}

// onQoSMinusOne relays a PUBLISH of QoS -1 as QoS 0. An id that the device does not have
// may be the length of a name.
func (ul *uplink) onQoSMinusOne(st *step, topic string, why Reason, m *dialogue.Message) {
	if why == ReasonUnknownTopicID && m.TopicType == dialogue.NormalTopic {
		if name, data, ok := st.dialogue.LongName(*m); ok {
			topic, m.Data, why = string(name), data, ReasonNone
			if !ul.s.cfg.LongNames {
				why = ReasonQoSMinusOneLongName
			}
		}
	}
	switch {
	case !ul.s.cfg.QoSMinusOne:
		why = ReasonQoSMinusOneDisabled
	case why == ReasonNone:
		why = ul.s.up.overRate(st.Now, m)
	}
	ul.relayUnanswered(st, topic, why, m)
}

// relayUnanswered relays QoS 0 and QoS -1. QoS -1 is never answered (section 6.8).
func (ul *uplink) relayUnanswered(st *step, topic string, why Reason, m *dialogue.Message) {
	switch {
	case why != ReasonNone:
		st.drop(why)
	case m.QoS == 0 && ul.spooling(st, 0):
		if _, ok := ul.enqueue(st, topic, m); !ok {
			st.drop(ReasonSpoolFull)
		}
	case ul.mustWait() && ul.waitInMemory(st.Now, topic, m):
	case ul.s.broker.link != linkUp:
		st.drop(ReasonBrokerDown)
	default:
		st.do(Action{Kind: ActionPublish, Topic: topic, Payload: m.Data, Retain: m.Retain})
	}
}

// repeated handles a PUBLISH whose MsgId is in flight. It is a new message all the same
// if its QoS or content is another one, or if it comes without DUP and the MsgId is free
// for it: it is of an earlier connection and the device has started to count anew, or the
// exchange is complete. Of a device that counts, the latter can only be a duplicate that
// the network has delivered late.
func (ul *uplink) repeated(st *step, m *dialogue.Message) bool {
	for i := range ul.window {
		f := &ul.window[i]
		if f.msgID != m.MsgID {
			continue
		}
		if f.qos != m.QoS || !m.Dup && (f.old || f.stage == upFinished && !ul.msgIDs.counts) || f.sum != checksum(m) {
			ul.settle(st, i)
			return false
		}
		f.old = false
		switch {
		case f.stage == upSaving:
		case ul.overdue(st, f):
			f.stage, f.waitUntil = upRelaying, st.Now+ul.s.cfg.BrokerWait
			ul.retract(st)
		case f.stage == upAnswered || f.stage == upFinished:
			send(st, dialogue.Message{Kind: dialogue.PubRec, MsgID: f.msgID})
		case f.waitUntil == Never: // refused, or of an earlier connection: the device waits again
			f.stage = upRelaying
			f.waitUntil = st.Now + ul.s.cfg.BrokerWait
			st.do(Action{Kind: ActionAwait, Token: f.token, Awaited: true})
		}
		return true
	}
	return false
}

// onPublished acknowledges a message the broker has now (and not before).
func (ul *uplink) onPublished(st *step, t Token) {
	i := ul.inflightOf(t)
	if i < 0 {
		return
	}
	f := &ul.window[i]
	answer := f.stage == upRelaying && !f.old
	if f.qos == 1 {
		if answer {
			send(st, dialogue.Message{Kind: dialogue.PubAck, TopicID: f.topicID, MsgID: f.msgID})
		}
		ul.settle(st, i)
		return
	}
	if f.stage == upRefused {
		f.old = true // it may be repeated with DUP, or be given up: evictable
	}
	f.stage = upAnswered
	f.waitUntil = Never
	if answer {
		send(st, dialogue.Message{Kind: dialogue.PubRec, MsgID: f.msgID})
	}
}

// onPublishFailed refuses a message the link has not sent and will not send.
func (ul *uplink) onPublishFailed(st *step, ev *Event) {
	i := ul.inflightOf(ev.Token)
	if i < 0 {
		return
	}
	why, code := ReasonBrokerCongested, dialogue.Congestion
	if ev.Rejected {
		why, code = ReasonPublishRejected, dialogue.NotSupported
	}
	if f := &ul.window[i]; f.stage == upRelaying && !f.old {
		st.drop(why)
		send(st, dialogue.Message{Kind: dialogue.PubAck, TopicID: f.topicID, MsgID: f.msgID, Code: code})
	} else if ev.Rejected {
		st.drop(why)
	}
	ul.settle(st, i)
}

// expireWaiting refuses what has waited for the broker for BrokerWait.
func (ul *uplink) expireWaiting(st *step) {
	for i := 0; i < len(ul.window); i++ {
		f := &ul.window[i]
		if st.Now < f.waitUntil {
			continue
		}
		if f.stage == upFinished {
			ul.settle(st, i)
			i--
			continue
		}
		if f.qos == 1 && ul.spools(st) {
			f.waitUntil = st.Now + ul.s.cfg.BrokerWait
			ul.retract(st)
			continue
		}
		f.waitUntil = Never
		f.stage = upRefused
		st.drop(ReasonBrokerDown)
		send(st, dialogue.Message{Kind: dialogue.PubAck, TopicID: f.topicID, MsgID: f.msgID, Code: dialogue.Congestion})
		st.do(Action{Kind: ActionAwait, Token: f.token})
	}
	ul.s.subs.expireAsked(st)
}

// onPubRel ends a QoS 2 exchange. It is answered also when the exchange is not known:
// the PUBCOMP may have been lost.
func (ul *uplink) onPubRel(st *step, m *dialogue.Message) {
	for i := range ul.window {
		f := &ul.window[i]
		if f.msgID != m.MsgID || f.qos != 2 {
			continue
		}
		if f.stage != upAnswered && f.stage != upFinished {
			st.drop(ReasonUnexpectedMessage) // PUBREL without PUBREC: the message is not safe yet
			return
		}
		if f.stored {
			f.stored = false
			ul.s.journal.remove(st, RecordReceived, key16(f.msgID))
		}
		f.stage, f.waitUntil = upFinished, st.Now+lateWindow
		break
	}
	send(st, dialogue.Message{Kind: dialogue.PubComp, MsgID: m.MsgID})
}

// startExchanges sets what the numbers of exchanges count from. The broker may remember those
// of messages that have been given up.
func (ul *uplink) startExchanges(after uint16) { ul.spool.exchange = after }
