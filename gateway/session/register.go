package session

import (
	"sngate/gateway/session/dialogue"
	"sngate/internal/binrec"
	"sngate/topicreg"
)

// onRegister gives the device a topic id for a name (MQTT-SN 1.2 section 6.5).
func (ti *topicIDs) onRegister(st *step, m *dialogue.Message) {
	answer := dialogue.Message{Kind: dialogue.RegAck, MsgID: m.MsgID}
	id, known := ti.topics.IDOf(m.Name)
	known = known && !ti.topics.Doubtful(id)
	switch {
	case topicreg.ValidName(m.Name) != nil:
		st.drop(ReasonInvalidTopic)
		answer.Code = dialogue.NotSupported
	case ti.refuses(m.Name) != ReasonNone:
		st.drop(ti.refuses(m.Name))
		answer.Code = dialogue.NotSupported
	case known && ti.topics.State(id).Own:
		if ti.s.journal.answer(id, m.MsgID) {
			return
		}
		answer.TopicID = id
	case ti.s.unstorable(st):
		st.drop(ReasonStoreFailed)
		answer.Code = dialogue.Congestion
	case !known && !ti.s.mayGrow(st, len(m.Name)+topicOverhead):
		st.drop(ReasonMemoryLimit)
		answer.Code = dialogue.Congestion
	default:
		fresh := !known
		if known = known && ti.makeOwn(st, id); !known {
			id, known = ti.ownID(st, string(m.Name))
		}
		if known {
			ti.put(st, id, true)
			ti.s.after(st, refuseWhenDown, continuation{kind: thenRegAck, id: id, allots: fresh, owns: !fresh, msgID: m.MsgID})
			return
		}
		st.drop(ReasonTopicsFull)
		answer.Code = dialogue.Congestion
	}
	send(st, answer)
	if answer.TopicID != 0 {
		ti.told(st, answer.TopicID)
	}
}

// refuses tells why the broker takes no messages to a topic.
func (ti *topicIDs) refuses(name []byte) Reason {
	if ti.s.cfg.Limits == nil {
		return ReasonNone
	}
	return ti.s.cfg.Limits.refusesName(ti.s.clientID, string(name), false)
}

func (ti *topicIDs) onRegisterStored(st *step, v *continuation, ok bool) {
	ok = ti.allotted(st, v, ok)
	if !ti.s.connected() {
		return
	}
	if !ok {
		st.drop(ReasonStoreFailed)
		send(st, dialogue.Message{Kind: dialogue.RegAck, MsgID: v.msgID, Code: dialogue.Congestion})
		ti.s.announcer.topicStored(st, v.id)
		return
	}
	send(st, dialogue.Message{Kind: dialogue.RegAck, TopicID: v.id, MsgID: v.msgID})
	ti.told(st, v.id)
}

// allotted ends the way of a topic id into the store. An id that did not get there is
// taken back, and not used for another name either; one that was there before stays what it
// was.
func (ti *topicIDs) allotted(st *step, v *continuation, ok bool) bool {
	id := v.id
	if _, known := ti.topics.Name(id); !known {
		return false // the topic ids have been forgotten meanwhile
	}
	if !ok && v.owns {
		ti.topics.Lend(id)
	}
	if !ok && v.allots {
		ti.remove(st, id)
		if ti.s.announcer.registering(id) {
			ti.s.announcer.suspend()
			ti.s.down.waitForStore(st.Now)
		}
	}
	return ok
}

func (ti *topicIDs) load(k, f *binrec.Reader) error {
	id, bits, name := k.U16(), f.U8(), string(f.Rest())
	state := topicreg.State{
		Allotted: bits&bitAllotted != 0, Told: bits&bitTold != 0, Own: bits&bitLent == 0, Moved: bits&bitMoved != 0,
	}
	if !f.Done() || !k.Done() || ti.topics.Restore(id, name, state) != nil {
		return errRecord
	}
	return nil
}

// told notes that the device knows a topic id: it has been sent it, or has used it. That
// is as good as a REGACK for a REGISTER of that id.
func (ti *topicIDs) told(st *step, id uint16) {
	answers := ti.s.announcer.reg != nil && ti.s.announcer.reg.phase == registering && ti.s.announcer.reg.topicID == id
	if ti.s.announcer.know(id); answers {
		ti.storeTold(st, id)
	}
}
