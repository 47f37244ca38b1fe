package session

import (
	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// onRegister gives the device a topic id for a name (MQTT-SN 1.2 section 6.5).
func (ti *topicIDs) onRegister(st *step, body []byte) {
	var m sn12.Register
	if m.Parse(body) != nil {
		st.drop(ReasonMalformed)
		return
	}
	answer := sn12.RegAck{MsgID: m.MsgID}
	id, known := ti.topics.IDOf(m.TopicName)
	known = known && !ti.topics.Doubtful(id)
	switch {
	case topicreg.ValidName(m.TopicName) != nil:
		st.drop(ReasonInvalidTopic)
		answer.ReturnCode = sn12.RejectedNotSupported
	case known && ti.topics.State(id).Own:
		if ti.s.journal.answer(id, m.MsgID) {
			return
		}
		answer.TopicID = id
	case ti.s.journal.refuses(st):
		st.drop(ReasonStoreFailed)
		answer.ReturnCode = sn12.RejectedCongestion
	case !known && !ti.s.mayKeep(st, len(m.TopicName)+topicOverhead):
		st.drop(ReasonMemoryLimit)
		answer.ReturnCode = sn12.RejectedCongestion
	default:
		fresh := !known
		if known = known && ti.claim(st, id); !known {
			id, known = ti.ownID(st, string(m.TopicName))
		}
		if known {
			ti.put(st, id, true)
			ti.s.after(st, refuseWhenDown, continuation{kind: thenRegAck, id: id, allots: fresh, claims: !fresh, msgID: m.MsgID})
			return
		}
		st.drop(ReasonTopicsFull)
		answer.ReturnCode = sn12.RejectedCongestion
	}
	send(st, answer)
	if answer.TopicID != 0 {
		ti.told(st, answer.TopicID)
	}
}
