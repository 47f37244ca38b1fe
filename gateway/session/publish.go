package session

// A PUBLISH of the device, and which way it goes: to the link, into the spool, or back.

import "sngate/gateway/session/dialogue"

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
	if m.QoS > 0 && m.MsgID != 0 && ul.repeated(st, m) {
		return // though the limits may be others than when it came first
	}
	if why := ul.beyondLimits(topic, m); why != ReasonNone {
		ul.refusePublish(st, m, dialogue.NotSupported, why)
		return
	}
	if m.QoS == 0 {
		ul.relayUnanswered(st, topic, ul.s.up.overRate(st.Now, m), m)
		return
	}
	if m.MsgID == 0 {
		ul.refusePublish(st, m, dialogue.NotSupported, ReasonInvalidMessageID)
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
	ul.relay(st, topic, m)
}

// relay gives the link a PUBLISH of QoS 1 or 2. The exchange with the device is of the device's
// QoS, that with the broker of one that the broker takes. At QoS 0 the link waits for nothing.
func (ul *uplink) relay(st *step, topic string, m *dialogue.Message) {
	qos := ul.s.cfg.Limits.QoS(m.QoS)
	if qos == 0 && ul.s.broker.link != linkUp {
		ul.refusePublish(st, m, dialogue.Congestion, ReasonBrokerDown)
		return
	}
	t := ul.s.broker.token()
	ul.begin(inflight{
		waitUntil: st.Now + ul.s.cfg.BrokerWait, token: t, sum: checksum(m), msgID: m.MsgID, topicID: m.TopicID, qos: m.QoS,
	})
	st.do(Action{Kind: ActionPublish, Token: t, Topic: topic, Payload: m.Data, QoS: qos, Retain: m.Retain})
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
		if why = ul.beyondLimits(topic, m); why == ReasonNone {
			why = ul.s.up.overRate(st.Now, m)
		}
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

// overRate tells why a PUBLISH is beyond what the device may send. A repeat of an
// exchange in progress is not asked about: it is no new message.
func (ul *uplink) overRate(now Time, m *dialogue.Message) Reason {
	switch {
	case !ul.messages.Take(ul.s.cfg.MessageRate, now, 1):
		return ReasonMessageRate
	case !ul.octets.Take(ul.s.cfg.ByteRate, now, len(m.Data)):
		return ReasonByteRate
	}
	return ReasonNone
}

// beyondLimits tells why a PUBLISH of the device is not for the broker. One that is, is left with
// the RETAIN that the broker takes; its QoS stays the device's. Most brokers take everything.
func (ul *uplink) beyondLimits(topic string, m *dialogue.Message) Reason {
	if ul.s.cfg.Limits == nil {
		return ReasonNone
	}
	return ul.compare(topic, m)
}

// compare is beyondLimits for a broker that has some.
func (ul *uplink) compare(topic string, m *dialogue.Message) Reason {
	l, qos := ul.s.cfg.Limits, m.QoS
	if qos == dialogue.QoSMinusOne {
		qos = 0
	}
	why := l.Refuses(ul.s.clientID, topic, len(m.Data), qos, m.Retain)
	m.Retain = l.Retain(m.Retain)
	return why
}
