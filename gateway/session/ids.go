package session

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
func (s *Session) ownID(st *step, name string) (uint16, bool) {
	if s.topics.Owned() >= s.cfg.MaxTopics {
		return 0, false
	}
	if id, ok := s.topics.ID(name); ok { // the device may know that by another name
		if s.reg != nil && s.reg.topicID == id {
			s.suspendRegistration()
		}
		s.removeTopic(st, id)
	}
	for s.topics.Len() >= s.cfg.MaxTopics || s.topics.Octets()+len(name) > s.cfg.MaxTopics*averageName {
		old, ok := s.topics.Oldest(Never, s.inUse)
		if !ok {
			break
		}
		s.removeTopic(st, old)
	}
	if s.topics.Octets()+len(name) > s.cfg.MaxTopics*averageName {
		return 0, false
	}
	id, ok := s.allot(name, s.cfg.MaxTopics+spareIDs)
	if ok {
		s.topics.Claim(id)
	}
	return id, ok
}

// lendID finds an id for the name of a message: a new one, or the lent one that has been
// used least recently. There is none only for a while: what was sent with an id may still
// be under way. One long name is let in beyond the bound on octets.
func (s *Session) lendID(st *step, name string) (uint16, bool) {
	limit := max(s.cfg.MaxTopics, s.topics.Owned()+spareIDs)
	octets := s.cfg.MaxTopics*averageName + s.maxPacket(st)
	if !s.mayKeep(st, len(name)+topicOverhead) {
		limit = min(limit, s.topics.Len())
	}
	for s.topics.Len() >= limit || s.topics.Octets()+len(name) > octets {
		old, ok := s.topics.Oldest(st.Now-lateWindow, s.inUse)
		if !ok {
			return 0, false
		}
		if s.topics.Octets()+len(name) <= octets && !s.isPredefined(old) && s.topics.Move(old, name) {
			return old, true
		}
		s.removeTopic(st, old)
	}
	if id, ok := s.allot(name, limit); ok {
		return id, true
	}
	old, ok := s.topics.Oldest(st.Now-lateWindow, func(id uint16) bool { return s.inUse(id) || s.isPredefined(id) })
	return old, ok && s.topics.Move(old, name)
}

// inUse reports whether something is under way with an id.
func (s *Session) inUse(id uint16) bool {
	for i := range s.window {
		if s.window[i].topicID == id {
			return true
		}
	}
	return s.reg != nil && s.reg.topicID == id || s.delivery.phase != idle && s.delivery.topicID == id || s.journal.allotment(id) != nil
}

// removeTopic takes an id back for good.
func (s *Session) removeTopic(st *step, id uint16) {
	s.topics.Remove(id)
	s.journal.remove(st, RecordTopic, key16(id))
}

// claim notes that an id is the device's own, for ever. It reports false if the device has
// as many as it may. While the store takes nothing that is written when it is well again.
func (s *Session) claim(st *step, id uint16) bool {
	switch {
	case s.topics.State(id).Own:
		return true
	case s.topics.Owned() >= s.cfg.MaxTopics:
		return false
	}
	s.topics.Claim(id)
	s.keepTopic(st, id)
	return true
}

// keepTopic notes in the store what the device knows of an id, or it would be told again
// after a restart. A snapshot has it where the store takes nothing now.
func (s *Session) keepTopic(st *step, id uint16) {
	if st.StoreOK {
		s.putTopic(st, id, true)
	}
}

// claimByUse claims an id that the device publishes with. A REGISTER of its name that comes
// meanwhile is answered when that is stored. While the store takes nothing the id is only
// spared: were it the device's own, a REGISTER would be told so, and a restart take it back.
func (s *Session) claimByUse(st *step, id uint16) {
	switch {
	case s.topics.State(id).Own:
	case s.journal.refuses(st), !s.claim(st, id):
		s.topics.Touch(id, st.Now)
	default:
		s.after(st, refuseWhenDown, continuation{kind: thenAllotted, id: id, claims: true})
	}
}

// allot gives a name a new id. A predefined topic keeps its number, and no other topic is
// given a predefined number: the two number spaces are apart, but a device that mistakes
// one for the other still means the same topic.
func (s *Session) allot(name string, limit int) (uint16, bool) {
	if id, ok := s.cfg.Predefined.ID(s.clientID, name); ok && s.topics.Bind(id, name, limit) == nil {
		return id, true
	}
	id, err := s.topics.Add(name, limit, s.isPredefined)
	return id, err == nil
}

func (s *Session) isPredefined(id uint16) bool {
	_, ok := s.cfg.Predefined.Name(s.clientID, id)
	return ok
}
