package session

import (
	"sngate/gateway/session/dialogue"
	"sngate/internal/binrec"
	"sngate/topicreg"
)

// The topic ids of a device: those it has asked for or used are its own; the others the
// gateway has lent to names of messages.

// averageName bounds the octets of all names of a device together, as so many times
// their greatest number: a name by itself may have 65,535.
const averageName = 256

// spareIDs is how many ids there are at least for messages, also where the device itself
// has as many as it may.
const spareIDs = 4

// ownID gives the device an id for a name it has asked for: one that was never used, as
// its answer may get lost, and the device go on with another meaning. Lent ids make room.
func (ti *topicIDs) ownID(st *step, name string) (uint16, bool) {
	if ti.topics.Owned() >= ti.s.cfg.MaxTopics {
		return 0, false
	}
	if id, ok := ti.topics.ID(name); ok { // the device may know that by another name
		if ti.s.announcer.reg != nil && ti.s.announcer.reg.topicID == id {
			ti.s.announcer.suspend()
		}
		ti.remove(st, id)
	}
	for ti.topics.Len() >= ti.s.cfg.MaxTopics || ti.topics.Octets()+len(name) > ti.s.cfg.MaxTopics*averageName {
		old, ok := ti.topics.Oldest(Never, ti.inUse)
		if !ok {
			break
		}
		ti.remove(st, old)
	}
	if ti.topics.Octets()+len(name) > ti.s.cfg.MaxTopics*averageName {
		return 0, false
	}
	id, ok := ti.allot(name, ti.s.cfg.MaxTopics+spareIDs)
	if ok {
		ti.topics.Own(id)
	}
	return id, ok
}

// lendID finds an id for the name of a message: a new one, or the lent one that has been
// used least recently. There is none only for a while: what was sent with an id may still
// be under way. One long name is let in beyond the bound on octets.
func (ti *topicIDs) lendID(st *step, name string) (uint16, bool) {
	limit := max(ti.s.cfg.MaxTopics, ti.topics.Owned()+spareIDs)
	octets := ti.s.cfg.MaxTopics*averageName + ti.s.down.maxPacket(st)
	if !ti.s.mayGrow(st, len(name)+topicOverhead) {
		limit = min(limit, ti.topics.Len())
	}
	for ti.topics.Len() >= limit || ti.topics.Octets()+len(name) > octets {
		old, ok := ti.topics.Oldest(st.Now-lateWindow, ti.inUse)
		if !ok {
			return 0, false
		}
		if ti.topics.Octets()+len(name) <= octets && !ti.isPredefined(old) && ti.topics.Move(old, name) {
			return old, true
		}
		ti.remove(st, old)
	}
	if id, ok := ti.allot(name, limit); ok {
		return id, true
	}
	old, ok := ti.topics.Oldest(st.Now-lateWindow, func(id uint16) bool { return ti.inUse(id) || ti.isPredefined(id) })
	return old, ok && ti.topics.Move(old, name)
}

// inUse reports whether something is under way with an id.
func (ti *topicIDs) inUse(id uint16) bool {
	for i := range ti.s.up.window {
		if ti.s.up.window[i].topicID == id {
			return true
		}
	}
	return ti.s.announcer.reg != nil && ti.s.announcer.reg.topicID == id || ti.s.down.delivery.phase != idle && ti.s.down.delivery.topicID == id || ti.s.journal.allotment(id) != nil
}

// removeTopic takes an id back for good.
func (ti *topicIDs) remove(st *step, id uint16) {
	ti.topics.Remove(id)
	ti.s.journal.remove(st, RecordTopic, key16(id))
}

// makeOwn makes an id the device's own, for ever. It reports false if the device has as many
// as it may. While the store is down a snapshot has to write that later.
func (ti *topicIDs) makeOwn(st *step, id uint16) bool {
	switch {
	case ti.topics.State(id).Own:
		return true
	case ti.topics.Owned() >= ti.s.cfg.MaxTopics:
		return false
	}
	ti.topics.Own(id)
	ti.storeTold(st, id)
	return true
}

// storeTold stores that the device has been told an id, or it would be told again after a
// restart. While the store is down a snapshot has to write that later.
func (ti *topicIDs) storeTold(st *step, id uint16) {
	if ti.s.journal.works(st) {
		ti.put(st, id, true)
	}
}

// settled reports whether the use of an id says nothing new.
func (ti *topicIDs) settled(id uint16) bool {
	return ti.s.announcer.reg == nil && ti.topics.Settled(id)
}

// ownByUse makes an id that the device publishes with its own. A REGISTER of its name that
// comes meanwhile is answered when that is stored. While the store takes nothing the id is only
// spared: were it the device's own, a REGISTER would be told so, and a restart take it back.
func (ti *topicIDs) ownByUse(st *step, id uint16) {
	switch {
	case ti.topics.State(id).Own:
	case ti.s.unstorable(st), !ti.makeOwn(st, id):
		ti.topics.Touch(id, st.Now)
	default:
		ti.s.after(st, refuseWhenDown, continuation{kind: thenAllotted, id: id, owns: true})
	}
}

// allot gives a name a new id. A predefined topic keeps its number, and no other topic is
// given a predefined number: the two number spaces are apart, but a device that mistakes
// one for the other still means the same topic.
func (ti *topicIDs) allot(name string, limit int) (uint16, bool) {
	if id, ok := ti.s.cfg.Predefined.ID(ti.s.clientID, name); ok && ti.topics.Bind(id, name, limit) == nil {
		return id, true
	}
	id, err := ti.topics.Add(name, limit, ti.isPredefined)
	return id, err == nil
}

func (ti *topicIDs) isPredefined(id uint16) bool {
	_, ok := ti.s.cfg.Predefined.Name(ti.s.clientID, id)
	return ok
}

// topicOf finds the topic name a PUBLISH, SUBSCRIBE or UNSUBSCRIBE means by an id or a
// short name.
func (ti *topicIDs) topicOf(t dialogue.TopicType, id uint16) (string, dialogue.Code, Reason) {
	var name string
	var ok bool
	switch t {
	case dialogue.NormalTopic:
		name, ok = ti.topics.Meant(id)
	case dialogue.PredefinedTopic:
		name, ok = ti.s.cfg.Predefined.Name(ti.s.clientID, id)
	case dialogue.ShortTopic:
		short := dialogue.ShortName(id)
		if topicreg.ValidShort(short) != nil {
			return "", dialogue.InvalidTopicID, ReasonInvalidTopic
		}
		return string(short[:]), dialogue.Accepted, ReasonNone
	default:
		return "", dialogue.NotSupported, ReasonInvalidTopic
	}
	if !ok {
		return "", dialogue.InvalidTopicID, ReasonUnknownTopicID
	}
	return name, dialogue.Accepted, ReasonNone
}

// putTopic keeps a topic id. told: the device knows it, or asks until it does.
func (ti *topicIDs) put(st *step, id uint16, told bool) {
	if name, ok := ti.topics.Name(id); ok {
		state := ti.topics.State(id)
		bits := bit(state.Allotted, bitAllotted) | bit(told, bitTold) | bit(!state.Own, bitLent) | bit(state.Moved, bitMoved)
		ti.s.journal.put(st, RecordTopic, key16(id), binrec.New(1+len(name)).U8(bits).Text(name))
	}
}
