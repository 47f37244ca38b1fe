package session

// The answers to SUBSCRIBE and UNSUBSCRIBE: the broker's, and what the device is told of it.

import (
	"sngate/gateway/session/dialogue"
	"sngate/topicreg"
)

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

// presume answers a SUBSCRIBE as granted. The broker's answer is awaited all the same.
func (sb *subscriptions) presume(st *step, r *request) {
	early := *r
	r.quiet, r.presumed = true, true
	sb.granted(st, &early, early.qos)
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

func (sb *subscriptions) onUnsubscribed(st *step, ev *Event) {
	if r, ok := sb.answered(st, ev); ok {
		sb.answerUnsubscribe(st, &r)
	}
}
