package session

import (
	"errors"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// subscription is what the broker has granted; it is asked for again when the broker
// has forgotten it.
type subscription struct {
	filter string
	qos    uint8 // as requested

	// Connections have ended of it: when it is asked for again, and the pause before.
	askAt, pause Time
}

// onSubscribe handles SUBSCRIBE (MQTT-SN 1.2 sections 5.4.15 and 6.9).
func (s *Session) onSubscribe(st *step, body []byte) {
	var m sn12.Subscribe
	filter, code, why := "", sn12.RejectedNotSupported, ReasonInvalidTopic
	switch err := m.Parse(body); {
	case err == nil:
		filter, code, why = s.filterOf(m.TopicIDType, m.TopicName, m.TopicID)
	case !errors.Is(err, sn12.ErrTopicField):
		st.drop(ReasonMalformed)
		return
	}
	r := request{filter: filter, idType: m.TopicIDType, id: m.TopicID, msgID: m.MsgID, qos: m.QoS}
	switch {
	case why != ReasonNone:
	case s.isAsked(st.Now, &r):
		return
	case m.QoS > 2:
		code, why = sn12.RejectedNotSupported, ReasonNotSupported
	case m.MsgID == 0:
		code, why = sn12.RejectedNotSupported, ReasonInvalidMessageID
	case len(filter) > s.journal.longestKey():
		code, why = sn12.RejectedNotSupported, ReasonTooLarge
	case s.subscribed(filter) < 0 && !s.hasPlace(filter), !s.mayAsk(filter):
		code, why = sn12.RejectedCongestion, ReasonSubscriptionsFull
	case m.TopicIDType == sn12.TopicIDNormal && topicreg.NamesTopic(filter) && !s.hasRoom(filter):
		code, why = sn12.RejectedCongestion, ReasonTopicsFull
	case s.subscribed(filter) < 0 && !s.mayKeep(st, 2*len(filter)+subscriptionOverhead+topicOverhead):
		code, why = sn12.RejectedCongestion, ReasonMemoryLimit
	case s.subscribed(filter) < 0 && s.journal.refuses(st):
		code, why = sn12.RejectedCongestion, ReasonStoreFailed
	}
	if why != ReasonNone {
		st.drop(why)
		send(st, sn12.SubAck{MsgID: m.MsgID, ReturnCode: code})
		return
	}
	s.ask(st, r)
}

// onUnsubscribe handles UNSUBSCRIBE, which can only be answered with UNSUBACK: there
// is no return code (section 5.4.18).
func (s *Session) onUnsubscribe(st *step, body []byte) {
	var m sn12.Unsubscribe
	filter, why := "", ReasonInvalidTopic
	switch err := m.Parse(body); {
	case err == nil:
		filter, _, why = s.filterOf(m.TopicIDType, m.TopicName, m.TopicID)
	case !errors.Is(err, sn12.ErrTopicField):
		st.drop(ReasonMalformed)
		return
	}
	r := request{filter: filter, msgID: m.MsgID, remove: true}
	switch {
	case why != ReasonNone: // such a subscription cannot exist
	case s.isAsked(st.Now, &r), s.takesUp(st.Now, &r):
		return
	case !s.mayRemove(filter): // nor does this one, as far as is known
		why = ReasonSubscriptionsFull
	}
	if why != ReasonNone {
		st.drop(why)
		send(st, sn12.UnsubAck{MsgID: m.MsgID})
		return
	}
	if i := s.subscribed(filter); i >= 0 {
		s.unsubscribe(st, i)
	}
	s.ask(st, r)
}

// filterOf finds the topic filter a SUBSCRIBE or UNSUBSCRIBE means.
func (s *Session) filterOf(t sn12.TopicIDType, name []byte, id uint16) (string, sn12.ReturnCode, Reason) {
	if t != sn12.TopicIDNormal {
		filter, code, why := s.topicOf(t, id)
		if why == ReasonInvalidTopic {
			code = sn12.RejectedNotSupported
		}
		return filter, code, why
	}
	if topicreg.ValidFilter(name) != nil {
		return "", sn12.RejectedNotSupported, ReasonInvalidTopic
	}
	return string(name), sn12.Accepted, ReasonNone
}

// hasPlace reports whether one more filter keeps the bounds on their number, and on
// their octets: see averageName.
func (s *Session) hasPlace(filter string) bool {
	octets := len(filter) + int(s.filterOctets)
	asked := 0
	for i := range s.asked {
		if a := &s.asked[i]; !a.remove {
			asked++
			octets += len(a.filter)
		}
	}
	return len(s.subs)+asked < s.cfg.MaxSubscriptions && octets <= s.cfg.MaxSubscriptions*averageName
}

// hasRoom reports whether the device can have a topic id for name.
func (s *Session) hasRoom(name string) bool {
	if id, ok := s.topics.ID(name); ok && s.topics.State(id).Own {
		return true
	}
	n := s.topics.Owned()
	for i := range s.asked {
		if !s.asked[i].remove {
			n++
		}
	}
	return n < s.cfg.MaxTopics
}

func (s *Session) subscribed(filter string) int {
	for i := range s.subs {
		if s.subs[i].filter == filter {
			return i
		}
	}
	return -1
}

func (s *Session) onSubscribed(st *step, ev *Event) {
	if ev.Token != 0 && ev.Token == s.restore.token {
		s.onRestored(st, ev)
		return
	}
	r, ok := s.answered(st, ev)
	switch {
	case !ok:
		return
	case ev.Refused != NotRefused:
		s.onSubscriptionRefused(st, &r, ev.Rejected)
	case r.quiet:
		s.note(st, &r)
	default:
		s.granted(st, &r, ev.Code)
	}
}

// onSubscriptionRefused takes the broker's answer, or its end of connections for one.
func (s *Session) onSubscriptionRefused(st *step, r *request, closes bool) {
	st.dropOf(ReasonSubscriptionRefused, r.filter, 0)
	switch i := s.subscribed(r.filter); {
	case i < 0 || !r.presumed:
	case closes: // the device counts on it
		s.subs[i].postpone(st.Now)
		s.findRestoreTime()
		s.noteRestoring()
	default:
		s.unsubscribe(st, i)
	}
	if !r.quiet {
		send(st, sn12.SubAck{MsgID: r.msgID, ReturnCode: sn12.RejectedNotSupported})
	}
}

// granted answers a SUBSCRIBE that the broker has accepted, with a topic id where the
// filter is a name.
func (s *Session) granted(st *step, r *request, qos uint8) {
	answer := sn12.SubAck{QoS: qos, MsgID: r.msgID}
	fresh, allots, claims := s.subscribed(r.filter) < 0, false, false
	if r.idType == sn12.TopicIDNormal && topicreg.NamesTopic(r.filter) {
		id, ok := s.topics.ID(r.filter)
		claims = ok && !s.topics.State(id).Own
		if !ok || s.topics.Doubtful(id) || !s.claim(st, id) {
			id, ok = s.ownID(st, r.filter)
			allots = ok
		}
		if !ok {
			st.dropOf(ReasonTopicsFull, r.filter, 0)
			st.do(Action{Kind: ActionUnsubscribe, Topic: r.filter})
			send(st, sn12.SubAck{MsgID: r.msgID, ReturnCode: sn12.RejectedCongestion})
			return
		}
		if allots || fresh && !s.topics.Announced(id) {
			s.putTopic(st, id, true)
		}
		answer.TopicID = id
	}
	s.note(st, r)
	s.after(st, refuseWhenDown, continuation{kind: thenSubAck, id: answer.TopicID, code: qos, fresh: fresh, allots: allots, claims: claims && !allots, req: *r})
}

// answerSubscribe sends SUBACK. A short name is returned as it came: the field is not
// relevant there (section 5.4.16), but there are clients that take 0x0000 for a refusal.
func (s *Session) answerSubscribe(st *step, r *request, answer sn12.SubAck) {
	if r.idType != sn12.TopicIDNormal {
		answer.TopicID = r.id
	}
	send(st, answer)
	if r.idType == sn12.TopicIDNormal && answer.TopicID != 0 {
		s.told(st, answer.TopicID)
	}
}

// unsubscribe forgets a subscription.
func (s *Session) unsubscribe(st *step, i int) {
	s.journal.remove(st, RecordSubscription, []byte(s.subs[i].filter))
	s.filterOctets -= int32(len(s.subs[i].filter))
	s.subs = append(s.subs[:i], s.subs[i+1:]...)
	if i < int(s.restore.next) {
		s.restore.next--
	}
	s.findRestoreTime()
}

// note remembers a subscription that the broker has granted, unless the device has taken
// it back meanwhile.
func (s *Session) note(st *step, r *request) {
	if s.removing(r.filter) {
		return
	}
	i := s.subscribed(r.filter)
	switch {
	case i < 0:
		i = len(s.subs)
		s.subs = append(s.subs, subscription{filter: r.filter, qos: r.qos})
		s.filterOctets += int32(len(r.filter))
	case s.subs[i].qos == r.qos && s.subs[i].askAt == 0:
		return
	default:
		s.subs[i].qos, s.subs[i].askAt, s.subs[i].pause = r.qos, 0, 0
		s.findRestoreTime()
	}
	s.putSubscription(st, &s.subs[i])
}

func (s *Session) onUnsubscribed(st *step, ev *Event) {
	if r, ok := s.answered(st, ev); ok {
		s.answerUnsubscribe(st, &r)
	}
}
