package session

import (
	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// averageName bounds the octets of all names of a device together, as so many times
// their greatest number: a name by itself may have 65,535.
const averageName = 256

// onRegister gives the device a topic id for a name (MQTT-SN 1.2 section 6.5).
func (s *Session) onRegister(now Time, body []byte, out *Out) {
	var m sn12.Register
	if m.Parse(body) != nil {
		out.drop(ReasonMalformed)
		return
	}
	answer := sn12.RegAck{MsgID: m.MsgID}
	if topicreg.ValidName(m.TopicName) != nil {
		out.drop(ReasonInvalidTopic)
		answer.ReturnCode = sn12.RejectedNotSupported
	} else if id, ok := s.topics.IDOf(m.TopicName); ok {
		if s.answerWith(id, m.MsgID) {
			return
		}
		answer.TopicID = id
	} else if s.durable != nil && !s.storing(out) {
		out.drop(ReasonStoreFailed)
		answer.ReturnCode = sn12.RejectedCongestion
	} else if !s.mayKeep(len(m.TopicName)+topicOverhead, out) {
		out.drop(ReasonMemoryLimit)
		answer.ReturnCode = sn12.RejectedCongestion
	} else if id, ok := s.newID(string(m.TopicName)); ok {
		if s.durable != nil {
			s.putTopic(id, true, out)
			s.whenStored(saving{kind: savingRegister, id: id, allots: true, msgID: m.MsgID}, out)
			return
		}
		answer.TopicID = id
	} else {
		out.drop(ReasonTopicsFull)
		answer.ReturnCode = sn12.RejectedCongestion
	}
	send(out, answer)
	if answer.TopicID != 0 {
		s.told(now, answer.TopicID, out)
	}
}

// newID allots a topic id. A predefined topic keeps its number, and no other topic is
// given a predefined number: the two number spaces are apart, but a device that
// mistakes one for the other still means the same topic.
func (s *Session) newID(name string) (uint16, bool) {
	if int(s.topicOctets)+len(name) > s.cfg.MaxTopics*averageName {
		return 0, false
	}
	id, ok := s.allot(name)
	if ok {
		s.topicOctets += int32(len(name))
	}
	return id, ok
}

func (s *Session) allot(name string) (uint16, bool) {
	if id, ok := s.cfg.Predefined.ID(s.clientID, name); ok && s.topics.Bind(id, name, s.cfg.MaxTopics) == nil {
		return id, true
	}
	id, err := s.topics.Add(name, s.cfg.MaxTopics, s.isPredefined)
	return id, err == nil
}

func (s *Session) isPredefined(id uint16) bool {
	_, ok := s.cfg.Predefined.Name(s.clientID, id)
	return ok
}
