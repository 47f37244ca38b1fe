package session

import (
	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// onRegister gives the device a topic id for a name (MQTT-SN 1.2 section 6.5).
func (s *Session) onRegister(now Time, body []byte, out *Out) {
	var m sn12.Register
	if m.Parse(body) != nil {
		out.drop(ReasonMalformed)
		return
	}
	answer := sn12.RegAck{MsgID: m.MsgID}
	id, known := s.topics.IDOf(m.TopicName)
	known = known && !s.topics.Doubtful(id)
	switch {
	case topicreg.ValidName(m.TopicName) != nil:
		out.drop(ReasonInvalidTopic)
		answer.ReturnCode = sn12.RejectedNotSupported
	case known && s.topics.State(id).Own:
		if s.answerWith(id, m.MsgID) {
			return
		}
		answer.TopicID = id
	case s.durable != nil && !s.storing(out):
		out.drop(ReasonStoreFailed)
		answer.ReturnCode = sn12.RejectedCongestion
	case !known && !s.mayKeep(len(m.TopicName)+topicOverhead, out):
		out.drop(ReasonMemoryLimit)
		answer.ReturnCode = sn12.RejectedCongestion
	default:
		fresh := !known
		if known = known && s.claim(id, out); !known {
			id, known = s.ownID(string(m.TopicName), out)
		}
		switch {
		case !known:
			out.drop(ReasonTopicsFull)
			answer.ReturnCode = sn12.RejectedCongestion
		case s.durable != nil:
			s.putTopic(id, true, out)
			s.whenStored(saving{kind: savingRegister, id: id, allots: fresh, claims: !fresh, msgID: m.MsgID}, out)
			return
		default:
			answer.TopicID = id
		}
	}
	send(out, answer)
	if answer.TopicID != 0 {
		s.told(now, answer.TopicID, out)
	}
}
