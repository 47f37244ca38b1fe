package session

// SUBSCRIBE and UNSUBSCRIBE as they come, and the list of subscriptions.

import (
	"sngate/gateway/session/dialogue"
	"sngate/topicreg"
)

// onSubscribe handles SUBSCRIBE (MQTT-SN 1.2 sections 5.4.15 and 6.9).
func (sb *subscriptions) onSubscribe(st *step, m *dialogue.Message) {
	filter, code, why := sb.filterOf(m)
	r := request{filter: filter, idType: m.TopicType, id: m.TopicID, msgID: m.MsgID, qos: sb.s.cfg.Limits.QoS(m.QoS)}
	switch {
	case why != ReasonNone:
	case sb.isAsked(st.Now, &r):
		return
	case m.QoS > 2:
		code, why = dialogue.NotSupported, ReasonNotSupported
	case m.MsgID == 0:
		code, why = dialogue.NotSupported, ReasonInvalidMessageID
	case sb.refuses(filter) != ReasonNone:
		code, why = dialogue.NotSupported, sb.refuses(filter)
	case len(filter) > sb.s.journal.longestKey():
		code, why = dialogue.NotSupported, ReasonTooLarge
	case sb.find(filter) < 0 && !sb.hasPlace(filter), !sb.mayAsk(filter):
		code, why = dialogue.Congestion, ReasonSubscriptionsFull
	case m.TopicType == dialogue.NormalTopic && topicreg.NamesTopic(filter) && !sb.hasRoom(filter):
		code, why = dialogue.Congestion, ReasonTopicsFull
	case sb.find(filter) < 0 && !sb.s.mayGrow(st, 2*len(filter)+subscriptionOverhead+topicOverhead):
		code, why = dialogue.Congestion, ReasonMemoryLimit
	case sb.find(filter) < 0 && sb.s.unstorable(st):
		code, why = dialogue.Congestion, ReasonStoreFailed
	}
	if why != ReasonNone {
		st.drop(why)
		send(st, dialogue.Message{Kind: dialogue.SubAck, MsgID: m.MsgID, Code: code})
		return
	}
	sb.ask(st, r)
}

// onUnsubscribe handles UNSUBSCRIBE, which can only be answered with UNSUBACK: there
// is no return code (section 5.4.18).
func (sb *subscriptions) onUnsubscribe(st *step, m *dialogue.Message) {
	filter, _, why := sb.filterOf(m)
	r := request{filter: filter, msgID: m.MsgID, remove: true}
	switch {
	case why != ReasonNone: // such a subscription cannot exist
	case sb.isAsked(st.Now, &r), sb.reuses(st.Now, &r):
		return
	case !sb.mayRemove(filter): // nor does this one, as far as is known
		why = ReasonSubscriptionsFull
	}
	if why != ReasonNone {
		st.drop(why)
		send(st, dialogue.Message{Kind: dialogue.UnsubAck, MsgID: m.MsgID})
		return
	}
	if i := sb.find(filter); i >= 0 {
		sb.unsubscribe(st, i)
	}
	if sb.refuses(filter) != ReasonNone { // the broker has not been asked for it
		sb.answerUnsubscribe(st, &r)
		return
	}
	sb.ask(st, r)
}

// filterOf finds the topic filter a SUBSCRIBE or UNSUBSCRIBE means.
func (sb *subscriptions) filterOf(m *dialogue.Message) (string, dialogue.Code, Reason) {
	switch {
	case m.Fault == dialogue.NoTopic:
		return "", dialogue.NotSupported, ReasonInvalidTopic
	case m.TopicType != dialogue.NormalTopic:
		filter, code, why := sb.s.ids.topicOf(m.TopicType, m.TopicID)
		if why == ReasonInvalidTopic {
			code = dialogue.NotSupported
		}
		return filter, code, why
	case topicreg.ValidFilter(m.Name) != nil:
		return "", dialogue.NotSupported, ReasonInvalidTopic
	}
	return string(m.Name), dialogue.Accepted, ReasonNone
}

// hasPlace reports whether one more filter keeps the bounds on their number, and on
// their octets: see averageName.
func (sb *subscriptions) hasPlace(filter string) bool {
	octets := len(filter) + int(sb.filterOctets)
	asked := 0
	for i := range sb.asked {
		if a := &sb.asked[i]; !a.remove {
			asked++
			octets += len(a.filter)
		}
	}
	return len(sb.list)+asked < sb.s.cfg.MaxSubscriptions && octets <= sb.s.cfg.MaxSubscriptions*averageName
}

// hasRoom reports whether the device can have a topic id for name.
func (sb *subscriptions) hasRoom(name string) bool {
	if id, ok := sb.s.ids.topics.ID(name); ok && sb.s.ids.topics.State(id).Own {
		return true
	}
	n := sb.s.ids.topics.Owned()
	for i := range sb.asked {
		if !sb.asked[i].remove {
			n++
		}
	}
	return n < sb.s.cfg.MaxTopics
}

// note remembers a subscription that the broker has granted, unless the device has taken
// it back meanwhile.
func (sb *subscriptions) note(st *step, r *request) {
	if sb.removing(r.filter) {
		return
	}
	i := sb.find(r.filter)
	switch {
	case i < 0:
		i = len(sb.list)
		sb.list = append(sb.list, subscription{filter: r.filter, qos: r.qos})
		sb.filterOctets += int32(len(r.filter))
	case sb.list[i].qos == r.qos && sb.list[i].askAt == 0:
		return
	default:
		sb.list[i].qos, sb.list[i].askAt, sb.list[i].pause = r.qos, 0, 0
		sb.findResubscribeTime()
	}
	sb.putSubscription(st, &sb.list[i])
}

// unsubscribe forgets a subscription.
func (sb *subscriptions) unsubscribe(st *step, i int) {
	sb.s.journal.remove(st, RecordSubscription, []byte(sb.list[i].filter))
	sb.filterOctets -= int32(len(sb.list[i].filter))
	sb.list = append(sb.list[:i], sb.list[i+1:]...)
	if i < int(sb.resubscription.next) {
		sb.resubscription.next--
	}
	sb.findResubscribeTime()
}

func (sb *subscriptions) putSubscription(st *step, sub *subscription) {
	sb.s.journal.put(st, RecordSubscription, []byte(sub.filter), []byte{sub.qos})
}

func (sb *subscriptions) forget() { *sb = subscriptions{s: sb.s, resubscribeAt: Never} }
