package session

import (
	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// onRegister gives the device a topic id for a name (MQTT-SN 1.2 section 6.5).
func (s *Session) onRegister(st *step, body []byte) {
	var m sn12.Register
	if m.Parse(body) != nil {
		st.drop(ReasonMalformed)
		return
	}
	answer := sn12.RegAck{MsgID: m.MsgID}
	id, known := s.topics.IDOf(m.TopicName)
	known = known && !s.topics.Doubtful(id)
	switch {
	case topicreg.ValidName(m.TopicName) != nil:
		st.drop(ReasonInvalidTopic)
		answer.ReturnCode = sn12.RejectedNotSupported
	case known && s.topics.State(id).Own:
		if s.journal.answer(id, m.MsgID) {
			return
		}
		answer.TopicID = id
	case s.journal.refuses(st):
		st.drop(ReasonStoreFailed)
		answer.ReturnCode = sn12.RejectedCongestion
	case !known && !s.mayKeep(st, len(m.TopicName)+topicOverhead):
		st.drop(ReasonMemoryLimit)
		answer.ReturnCode = sn12.RejectedCongestion
	default:
		fresh := !known
		if known = known && s.claim(st, id); !known {
			id, known = s.ownID(st, string(m.TopicName))
		}
		if known {
			s.putTopic(st, id, true)
			s.after(st, refuseWhenDown, continuation{kind: thenRegAck, id: id, allots: fresh, claims: !fresh, msgID: m.MsgID})
			return
		}
		st.drop(ReasonTopicsFull)
		answer.ReturnCode = sn12.RejectedCongestion
	}
	send(st, answer)
	if answer.TopicID != 0 {
		s.told(st, answer.TopicID)
	}
}
