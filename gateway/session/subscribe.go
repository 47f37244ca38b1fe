package session

import (
	"sngate/gateway/session/dialogue"
	"sngate/topicreg"
)

// onSubscribe handles SUBSCRIBE (MQTT-SN 1.2 sections 5.4.15 and 6.9).
func (sb *subscriptions) onSubscribe(st *step, m *dialogue.Message) {
	filter, code, why := sb.filterOf(m)
	r := request{filter: filter, idType: m.TopicType, id: m.TopicID, msgID: m.MsgID, qos: m.QoS}
	switch {
	case why != ReasonNone:
	case sb.isAsked(st.Now, &r):
		return
	case m.QoS > 2:
		code, why = dialogue.NotSupported, ReasonNotSupported
	case m.MsgID == 0:
		code, why = dialogue.NotSupported, ReasonInvalidMessageID
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

func (sb *subscriptions) onSubscribed(st *step, ev *Event) {
	if ev.Token != 0 && ev.Token == sb.resubscription.token {
		sb.onResubscribed(st, ev)
		return
	}
	r, ok := sb.answered(st, ev)
	switch {
	case !ok:
		return
	case ev.Refused != NotRefused:
		sb.onSubscriptionRefused(st, &r, ev.Rejected)
	case r.quiet:
		sb.note(st, &r)
	default:
		sb.granted(st, &r, ev.Granted)
	}
}

// onSubscriptionRefused takes the broker's answer, or its end of connections for one.
func (sb *subscriptions) onSubscriptionRefused(st *step, r *request, closes bool) {
	st.dropOf(ReasonSubscriptionRefused, r.filter, 0)
	switch i := sb.find(r.filter); {
	case i < 0 || !r.presumed:
	case closes: // the device counts on it
		sb.list[i].postpone(st.Now)
		sb.findResubscribeTime()
		sb.noteResubscription()
	default:
		sb.unsubscribe(st, i)
	}
	if !r.quiet {
		send(st, dialogue.Message{Kind: dialogue.SubAck, MsgID: r.msgID, Code: dialogue.NotSupported})
	}
}

// granted answers a SUBSCRIBE that the broker has accepted, with a topic id where the
// filter is a name.
func (sb *subscriptions) granted(st *step, r *request, qos uint8) {
	answer := dialogue.Message{Kind: dialogue.SubAck, QoS: qos, MsgID: r.msgID}
	fresh, allots, owns := sb.find(r.filter) < 0, false, false
	if r.idType == dialogue.NormalTopic && topicreg.NamesTopic(r.filter) {
		id, ok := sb.s.ids.topics.ID(r.filter)
		owns = ok && !sb.s.ids.topics.State(id).Own
		if !ok || sb.s.ids.topics.Doubtful(id) || !sb.s.ids.makeOwn(st, id) {
			id, ok = sb.s.ids.ownID(st, r.filter)
			allots = ok
		}
		if !ok {
			st.dropOf(ReasonTopicsFull, r.filter, 0)
			st.do(Action{Kind: ActionUnsubscribe, Topic: r.filter})
			send(st, dialogue.Message{Kind: dialogue.SubAck, MsgID: r.msgID, Code: dialogue.Congestion})
			return
		}
		if allots || fresh && !sb.s.ids.topics.Announced(id) {
			sb.s.ids.put(st, id, true)
		}
		answer.TopicID = id
	}
	sb.note(st, r)
	sb.s.after(st, refuseWhenDown, continuation{kind: thenSubAck, id: answer.TopicID, granted: qos, fresh: fresh, allots: allots, owns: owns && !allots, req: *r})
}

// answerSubscribe sends SUBACK. A short name is returned as it came: the field is not
// relevant there (section 5.4.16), but there are clients that take 0x0000 for a refusal.
func (sb *subscriptions) answerSubscribe(st *step, r *request, answer dialogue.Message) {
	if r.idType != dialogue.NormalTopic {
		answer.TopicID = r.id
	}
	send(st, answer)
	if r.idType == dialogue.NormalTopic && answer.TopicID != 0 {
		sb.s.ids.told(st, answer.TopicID)
	}
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

func (sb *subscriptions) onUnsubscribed(st *step, ev *Event) {
	if r, ok := sb.answered(st, ev); ok {
		sb.answerUnsubscribe(st, &r)
	}
}

func (sb *subscriptions) onSubscribeStored(st *step, v *continuation, ok bool) {
	r := &v.req
	if v.id != 0 {
		ok = sb.s.ids.allotted(st, v, ok)
	}
	switch {
	case !ok && !sb.s.connected():
	case !ok:
		st.drop(ReasonStoreFailed)
		if i := sb.find(r.filter); i >= 0 && v.fresh {
			sb.unsubscribe(st, i)
			st.do(Action{Kind: ActionUnsubscribe, Topic: r.filter})
		}
		if !r.quiet {
			send(st, dialogue.Message{Kind: dialogue.SubAck, MsgID: r.msgID, Code: dialogue.Congestion})
		}
	case !r.quiet:
		sb.answerSubscribe(st, r, dialogue.Message{Kind: dialogue.SubAck, QoS: v.granted, MsgID: r.msgID, TopicID: v.id})
	}
	sb.s.announcer.topicStored(st, v.id)
}

func (sb *subscriptions) putSubscription(st *step, sub *subscription) {
	sb.s.journal.put(st, RecordSubscription, []byte(sub.filter), []byte{sub.qos})
}

func (sb *subscriptions) forget() { *sb = subscriptions{s: sb.s, resubscribeAt: Never} }
