package session

import (
	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// maxAsked is how many SUBSCRIBE and UNSUBSCRIBE of one device may wait for the broker
// at once. The specification allows a device one (section 6.9); a few more do no harm.
const maxAsked = 4

// maxStoredFilter bounds, in octets, a filter that has to go into the store: it is part of
// a key there.
const maxStoredFilter = 30_000

// subscription is what the broker has granted; it is asked for again when the broker
// has forgotten it.
type subscription struct {
	filter string
	qos    uint8 // as requested
}

// request is a SUBSCRIBE or UNSUBSCRIBE waiting for the broker.
type request struct {
	holdAt Time
	token  Token // 0: not asked yet
	filter string
	idType sn12.TopicIDType
	id     uint16 // predefined id
	msgID  uint16
	qos    uint8
	remove bool // UNSUBSCRIBE
	quiet  bool // the device does not wait for the answer any more
}

// onSubscribe handles SUBSCRIBE (MQTT-SN 1.2 sections 5.4.15 and 6.9).
func (s *Session) onSubscribe(now Time, body []byte, out *Out) {
	var m sn12.Subscribe
	if m.Parse(body) != nil {
		out.drop(ReasonMalformed)
		return
	}
	filter, code, why := s.filterOf(m.TopicIDType, m.TopicName, m.TopicID)
	r := request{filter: filter, idType: m.TopicIDType, id: m.TopicID, msgID: m.MsgID, qos: m.QoS}
	switch {
	case why != ReasonNone:
	case s.isAsked(&r):
		return
	case m.QoS > 2:
		code, why = sn12.RejectedNotSupported, ReasonNotSupported
	case m.MsgID == 0:
		code, why = sn12.RejectedNotSupported, ReasonInvalidMessageID
	case s.durable != nil && len(filter) > maxStoredFilter:
		code, why = sn12.RejectedNotSupported, ReasonTooLarge
	case s.subscribed(filter) < 0 && !s.hasPlace(filter), len(s.asked) >= maxAsked:
		code, why = sn12.RejectedCongestion, ReasonSubscriptionsFull
	case m.TopicIDType == sn12.TopicIDNormal && !topicreg.HasWildcard(filter) && !s.hasRoom(filter):
		code, why = sn12.RejectedCongestion, ReasonTopicsFull
	case s.subscribed(filter) < 0 && !s.mayKeep(2*len(filter)+subscriptionOverhead+topicOverhead, out):
		code, why = sn12.RejectedCongestion, ReasonMemoryLimit
	case s.durable != nil && s.subscribed(filter) < 0 && !s.storing(out):
		code, why = sn12.RejectedCongestion, ReasonStoreFailed
	}
	if why != ReasonNone {
		out.drop(why)
		send(out, sn12.SubAck{MsgID: m.MsgID, ReturnCode: code})
		return
	}
	s.ask(now, r, out)
}

// onUnsubscribe handles UNSUBSCRIBE, which can only be answered with UNSUBACK: there
// is no return code (section 5.4.18).
func (s *Session) onUnsubscribe(now Time, body []byte, out *Out) {
	var m sn12.Unsubscribe
	if m.Parse(body) != nil {
		out.drop(ReasonMalformed)
		return
	}
	filter, _, why := s.filterOf(m.TopicIDType, m.TopicName, m.TopicID)
	r := request{filter: filter, msgID: m.MsgID, remove: true}
	if why == ReasonNone && s.isAsked(&r) {
		return
	}
	if why == ReasonNone && len(s.asked) >= maxAsked {
		out.drop(ReasonSubscriptionsFull) // unanswered: the device asks again
		return
	}
	if why != ReasonNone {
		out.drop(why)
		send(out, sn12.UnsubAck{MsgID: m.MsgID}) // such a subscription cannot exist
		return
	}
	if i := s.subscribed(filter); i >= 0 {
		s.unsubscribe(i, out)
	}
	s.ask(now, r, out)
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
	octets := len(filter)
	for i := range s.subs {
		octets += len(s.subs[i].filter)
	}
	for i := range s.asked {
		octets += len(s.asked[i].filter)
	}
	return len(s.subs)+len(s.asked) < s.cfg.MaxSubscriptions && octets <= s.cfg.MaxSubscriptions*averageName
}

// hasRoom reports whether a topic id can be had for name.
func (s *Session) hasRoom(name string) bool {
	if _, ok := s.topics.ID(name); ok {
		return true
	}
	return s.topics.Len()+len(s.asked) < s.cfg.MaxTopics
}

func (s *Session) subscribed(filter string) int {
	for i := range s.subs {
		if s.subs[i].filter == filter {
			return i
		}
	}
	return -1
}

// isAsked reports whether r is waiting for the broker already. The device does not wait
// any more for another request under the same MsgId, but the broker has to know.
func (s *Session) isAsked(r *request) bool {
	for i := range s.asked {
		a := &s.asked[i]
		if a.msgID != r.msgID {
			continue
		}
		if a.filter == r.filter && a.remove == r.remove && a.qos == r.qos {
			a.quiet = false
			return true
		}
		a.quiet = true
	}
	return false
}

// ask sends r to the broker, now or when it is back.
func (s *Session) ask(now Time, r request, out *Out) {
	r.holdAt = now + s.cfg.Hold
	s.asked = append(s.asked, r)
	if s.link == linkUp {
		s.submit(&s.asked[len(s.asked)-1], out)
	}
}

func (s *Session) submit(r *request, out *Out) {
	r.token = s.token()
	kind := ActionSubscribe
	if r.remove {
		kind = ActionUnsubscribe
	}
	out.do(Action{Kind: kind, Token: r.token, Topic: r.filter, QoS: r.qos})
}

// askAgain repeats what was asked while the broker was away.
func (s *Session) askAgain(out *Out) {
	for i := range s.asked {
		s.submit(&s.asked[i], out)
	}
}

// restore is the repetition of all subscriptions to a broker that has none of them, a
// few at a time.
type restore struct {
	token Token // of all its requests
	next  int   // index of the next subscription
	open  int   // requests not answered
}

const restoreAtOnce = 16

func (s *Session) restoreSubscriptions(out *Out) {
	s.noteRestoring()
	if s.restore = (restore{}); len(s.subs) > 0 {
		s.restore.token = s.token()
		s.restoreMore(out)
	}
}

// noteRestoring has RecordSession written when a restoration begins and when it is
// complete: what the shell adds to it says which broker has the session.
func (s *Session) noteRestoring() {
	if !s.clean {
		s.mustSave()
	}
}

// Restoring reports whether the subscriptions are being repeated: no broker has the
// whole session then.
func (s *Session) Restoring() bool { return s.restore.token != 0 }

// Restore has the subscriptions repeated at the next connection, though the broker has the
// session: an earlier process did not get to the end of it.
func (s *Session) Restore() { s.restore.token = s.token() }

func (s *Session) restoreMore(out *Out) {
	for r := &s.restore; r.open < restoreAtOnce && r.next < len(s.subs); r.next++ {
		sub := &s.subs[r.next]
		out.do(Action{Kind: ActionSubscribe, Token: r.token, Topic: sub.filter, QoS: sub.qos})
		r.open++
	}
	if s.restore.open == 0 {
		s.restore = restore{} // complete
		s.noteRestoring()
	}
}

// onRestored goes on with the restoration. When the link is down it begins anew once it
// is up.
func (s *Session) onRestored(ev *Event, out *Out) {
	s.restore.open--
	switch {
	case ev.Failed:
		if s.link == linkUp {
			out.drop(ReasonBrokerCongested)
		}
		return
	case ev.Code > 2:
		out.drop(ReasonSubscriptionRefused)
	}
	s.restoreMore(out)
}

// answered removes the request that ev answers. One whose connection went away first
// stays for askAgain.
func (s *Session) answered(ev *Event) (request, bool) {
	for i := range s.asked {
		r := s.asked[i]
		if ev.Token == 0 || r.token != ev.Token {
			continue
		}
		if ev.Failed {
			return request{}, false
		}
		s.asked = append(s.asked[:i], s.asked[i+1:]...)
		if len(s.asked) == 0 {
			s.asked = nil
		}
		return r, true
	}
	return request{}, false
}

func (s *Session) onSubscribed(ev *Event, out *Out) {
	if ev.Token != 0 && ev.Token == s.restore.token {
		s.onRestored(ev, out)
		return
	}
	r, ok := s.answered(ev)
	if !ok {
		return
	}
	if ev.Code > 2 {
		out.drop(ReasonSubscriptionRefused)
		if !r.quiet {
			send(out, sn12.SubAck{MsgID: r.msgID, ReturnCode: sn12.RejectedNotSupported})
		}
		return
	}
	if r.quiet {
		s.note(&r, out)
		return
	}
	s.granted(&r, ev.Code, out)
}

// granted answers a SUBSCRIBE that the broker has accepted, with a topic id where the
// filter is a name.
func (s *Session) granted(r *request, qos uint8, out *Out) {
	answer := sn12.SubAck{QoS: qos, MsgID: r.msgID}
	allots := false
	if r.idType == sn12.TopicIDNormal && !topicreg.HasWildcard(r.filter) {
		id, ok := s.topics.ID(r.filter)
		if !ok {
			if id, ok = s.newID(r.filter); ok && s.durable != nil {
				s.putTopic(id, true, out)
				allots = true
			}
		}
		if !ok {
			out.drop(ReasonTopicsFull)
			out.do(Action{Kind: ActionUnsubscribe, Topic: r.filter})
			send(out, sn12.SubAck{MsgID: r.msgID, ReturnCode: sn12.RejectedCongestion})
			return
		}
		answer.TopicID = id
	}
	fresh := s.subscribed(r.filter) < 0
	s.note(r, out)
	if s.durable != nil {
		s.whenStored(saving{kind: savingSubscribe, id: answer.TopicID, code: qos, fresh: fresh, allots: allots, req: *r}, out)
		return
	}
	s.answerSubscribe(r, answer, out)
}

func (s *Session) answerSubscribe(r *request, answer sn12.SubAck, out *Out) {
	switch {
	case r.idType == sn12.TopicIDPredefined:
		answer.TopicID = r.id
	case answer.TopicID != 0:
		s.topics.SetAnnounced(answer.TopicID, true)
	}
	send(out, answer)
}

// unsubscribe forgets a subscription.
func (s *Session) unsubscribe(i int, out *Out) {
	if s.durable != nil {
		out.remove(RecordSubscription, []byte(s.subs[i].filter))
	}
	s.filterOctets -= int32(len(s.subs[i].filter))
	s.subs = append(s.subs[:i], s.subs[i+1:]...)
	if i < s.restore.next {
		s.restore.next--
	}
}

// note remembers a subscription that the broker has granted.
func (s *Session) note(r *request, out *Out) {
	i := s.subscribed(r.filter)
	switch {
	case i < 0:
		i = len(s.subs)
		s.subs = append(s.subs, subscription{filter: r.filter, qos: r.qos})
		s.filterOctets += int32(len(r.filter))
	case s.subs[i].qos == r.qos:
		return
	default:
		s.subs[i].qos = r.qos
	}
	if s.durable != nil {
		s.putSubscription(&s.subs[i], out)
	}
}

func (s *Session) onUnsubscribed(ev *Event, out *Out) {
	if r, ok := s.answered(ev); ok && !r.quiet {
		answerStored(s, sn12.UnsubAck{MsgID: r.msgID}, out)
	}
}

// expireAsked gives up what has waited for the broker for as long as Hold allows: the
// device is told "congestion" where there is a code for it.
func (s *Session) expireAsked(now Time, out *Out) {
	kept := s.asked[:0]
	for _, r := range s.asked {
		if now < r.holdAt {
			kept = append(kept, r)
			continue
		}
		out.drop(ReasonBrokerDown)
		if !r.remove && !r.quiet {
			send(out, sn12.SubAck{MsgID: r.msgID, ReturnCode: sn12.RejectedCongestion})
		}
	}
	if len(kept) == 0 {
		kept = nil
	}
	s.asked = kept
}
