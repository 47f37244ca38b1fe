package session

import (
	"hash/crc32"
	"slices"

	"sngate/snpacket/sn12"
)

// durable is what a session has besides when the gateway has a store. What it puts out
// as records outlives the gateway; what it acknowledges on their strength waits for
// EventStored.
type durable struct {
	known  bool  // there is a RecordSession
	dirty  bool  // it says something else than is so
	saveAt Time  // when it is put out at the latest, while dirty
	state  State // in it
	saving []saving
	last   Token // of the batches

	taken    []takenOver    // QoS 2 messages of the broker that are acknowledged, until its PUBREL
	outgoing outgoingRecord // as in the store; msgID 0: none
	lastHeld uint32         // number of the newest RecordHeld
	spool    spool

	closeAs ActionKind // how the link is closed when the spool is empty; 0: the device is connected, or nothing is left

	accepting bool // CONNACK waits for the store: the device is not sent anything before it
	leaving   bool // as does the answer to its DISCONNECT: the session is not freed before

	// resuming: the first connection to the broker after a restart has neither come nor failed.
	resuming bool

	releasedBefore []uint32 // while loading
}

// maxSaving bounds what of one device waits for the store at once.
const maxSaving = 64

// saving is something that goes on when a batch is in the store.
type saving struct {
	token  Token // of the batch
	kind   savingKind
	msgID  uint16
	id     uint16 // topic id
	number uint32 // of a message
	code   uint8  // granted QoS
	fresh  bool   // a new subscription
	allots bool   // id is new as well
	claims bool   // id is the device's own from now on
	req    request
	answer []byte // a datagram for the device
}

type savingKind uint8

const (
	savingRegister  savingKind = iota + 1 // REGACK
	savingSubscribe                       // SUBACK
	savingAllotment                       // the gateway's own REGISTER
	savingSleep                           // the answer to DISCONNECT with duration
	savingOutgoing                        // the first PUBLISH of QoS 2
	savingReleasing                       // PUBREL to the device, PUBREC to the broker
	savingHeld                            // acknowledgement to the broker
	savingSpool                           // PUBACK or PUBREC to the device
	savingReleased                        // PUBREL to the broker
	savingComplete                        // PUBCOMP to the broker
	savingConnect                         // CONNACK
	savingAnswer                          // another answer to the device
	savingGoodbye                         // the answer to DISCONNECT
)

// takenOver names a QoS 2 message of the broker that the broker has been told about and
// has not released: its redelivery is none.
type takenOver struct {
	packetID uint16
	sum      uint64
}

// outgoingRecord names the QoS 2 delivery to the device that is in progress.
type outgoingRecord struct {
	msgID     uint16
	packetID  uint16 // of the broker; 0: the message is held here
	number    uint32 // of RecordHeld; 0: the message is the broker's
	sum       uint64
	releasing bool
}

// contentSum tells a redelivery from another message with the same packet identifier.
func contentSum(topic string, payload []byte) uint64 {
	return uint64(crc32.ChecksumIEEE([]byte(topic)))<<32 | uint64(crc32.ChecksumIEEE(payload))
}

// storing reports whether there is a store that takes records now.
func (s *Session) storing(st *step) bool {
	return s.durable != nil && st.StoreOK && len(s.durable.saving) < maxSaving
}

// whenStored has v carried out when the records of this step are in the store.
func (s *Session) whenStored(st *step, v saving) {
	if st.Batch == 0 {
		d := s.durable
		if d.last++; d.last == 0 {
			d.last++
		}
		st.Batch = d.last
	}
	v.token = st.Batch
	s.durable.saving = append(s.durable.saving, v)
}

// laziness is how long a change of RecordSession that nothing waits for may take to be
// stored: a device must not cost a commit with each datagram.
const laziness = Time(1e9)

// changed notes that RecordSession is out of date. Before its first accepted CONNECT a
// session has none.
func (s *Session) changed() {
	if d := s.durable; d != nil && d.known && !d.dirty {
		d.dirty, d.saveAt = true, Never
	}
}

// mustSave is changed, for what is stored at once: that a session begins, sleeps or ends.
func (s *Session) mustSave() {
	if s.changed(); s.durable != nil {
		s.durable.saveAt = 0
	}
}

// save puts RecordSession out, at the end of a step, if it says something else than is
// so and has waited for long enough, or if the step stores something anyway.
func (s *Session) save(st *step) {
	d := s.durable
	if d == nil || !d.dirty {
		return
	}
	if d.saveAt == Never {
		d.saveAt = st.Now + laziness
	}
	if st.Now < d.saveAt && len(st.Records) == 0 {
		return
	}
	d.dirty = false
	d.state = s.lasting()
	st.put(RecordSession, nil, s.appendSession())
}

// Save puts out what is still to be stored of the session, because the gateway stops and
// keeps it.
func (s *Session) Save(env Env, out *Out) {
	st := &step{env, out}
	if s.durable != nil && s.durable.dirty {
		s.durable.saveAt = 0
		s.save(st)
	}
}

// saveDeadline is when save wants to be called.
func (s *Session) saveDeadline() Time {
	if s.durable == nil || !s.durable.dirty {
		return Never
	}
	return s.durable.saveAt
}

// Stored reports whether anything of the session may be in the store.
func (s *Session) Stored() bool { return s.durable != nil && s.durable.known }

// onStored goes on with what waited for a batch.
func (s *Session) onStored(st *step, ev *Event) {
	d := s.durable
	if d == nil {
		return
	}
	var due []saving
	rest := d.saving[:0]
	for _, v := range d.saving {
		if v.token == ev.Token {
			due = append(due, v)
		} else {
			rest = append(rest, v)
		}
	}
	if d.saving = rest; len(rest) == 0 {
		d.saving = nil
	}
	for i := range due {
		s.goOn(st, &due[i], !ev.Failed)
	}
}

func (s *Session) goOn(st *step, v *saving, ok bool) {
	switch v.kind {
	case savingRegister:
		s.onRegisterStored(st, v, ok)
	case savingSubscribe:
		s.onSubscribeStored(st, v, ok)
	case savingAllotment:
		s.allotted(st, v, ok)
		s.goOnRegistering(st, v.id)
		s.pump(st)
	case savingSleep:
		if s.state == StateAsleep { // or it would take it for the end of what it has begun since
			send(st, sn12.Disconnect{})
		}
	case savingConnect:
		s.onConnectStored(st)
	case savingAnswer:
		st.raw(v.answer)
	case savingGoodbye:
		s.onGoodbyeStored(st)
	case savingComplete:
		s.complete(st, v.id)
		s.pump(st)
	case savingOutgoing:
		s.onOutgoingStored(st, v)
	case savingReleasing:
		s.onReleasingStored(st, v)
	case savingHeld:
		s.onHeldStored(st, v, ok)
	case savingSpool:
		s.onSpoolStored(st, v, ok)
	case savingReleased:
		if ok {
			s.onReleasedStored(st, v.number)
		}
	}
}

// Snapshot puts out all that is to be kept of the session, in place of whatever is in
// the store: after a failure of the store nothing else is known of that.
func (s *Session) Snapshot(env Env, out *Out) {
	st := &step{env, out}
	d := s.durable
	if d == nil || !d.known {
		return
	}
	for kind := RecordSession; kind <= RecordSpool; kind++ {
		st.removeAll(kind)
	}
	st.put(RecordSession, nil, s.appendSession())
	for i := range s.subs {
		s.putSubscription(st, &s.subs[i])
	}
	for id := range s.topics.All {
		s.putTopic(st, id, s.topics.State(id).Told)
	}
	for i := range d.taken {
		d.taken[i].put(st)
	}
	if d.outgoing.msgID != 0 {
		d.outgoing.put(st)
	}
	for i := range s.window {
		if f := &s.window[i]; f.kept {
			s.putReceived(st, f)
		}
	}
	if m := &s.delivery.msg; m.number != 0 {
		m.put(st)
	}
	for i := s.queue.head; i < len(s.queue.msgs); i++ {
		if m := &s.queue.msgs[i]; m.number != 0 {
			m.put(st)
		}
	}
	s.snapshotSpool(st)
}

// disown drops the answers to the device that wait for the store: it has disconnected,
// or begins anew and counts its MsgIds from the start.
func (s *Session) disown() {
	d := s.durable
	if d == nil {
		return
	}
	d.accepting, d.leaving = false, false
	d.saving = slices.DeleteFunc(d.saving, func(v saving) bool { return v.kind >= savingConnect })
	for i := range d.saving {
		switch v := &d.saving[i]; v.kind {
		case savingRegister:
			v.kind = savingAllotment
		case savingSubscribe:
			v.req.quiet = true
		}
	}
}

// noteAccepted begins what is kept of the session.
func (s *Session) noteAccepted() {
	if s.durable != nil {
		s.durable.known, s.durable.closeAs, s.durable.resuming = true, 0, false
		s.mustSave()
	}
}

// forgetRecords removes all that CleanSession=1 drops. What the spool has stays: the
// device has been told that it is safe.
func (s *Session) forgetRecords(st *step) {
	d := s.durable
	if d == nil || !d.known {
		return
	}
	d.taken, d.outgoing = nil, outgoingRecord{}
	d.accepting, d.leaving = false, false
	d.saving = slices.DeleteFunc(d.saving, func(v saving) bool { return v.kind != savingSpool && v.kind != savingReleased })
	for _, kind := range []RecordKind{RecordSubscription, RecordExchange, RecordOutgoing, RecordReceived, RecordTopic, RecordHeld} {
		st.removeAll(kind)
	}
}

// live reports whether the device was connected before the CONNECT that is being
// carried out.
func (s *Session) live() bool {
	return (s.link == linkUp || s.link == linkDown) && !s.draining()
}

// Resume goes on after a restart of the gateway, with what Load has taken back. It
// reports whether there is a session; if not, what is stored of it is rubbish. A
// connected device has as long as after a word of it to speak.
func (s *Session) Resume(env Env, out *Out) bool {
	st := &step{env, out}
	d := s.durable
	if !d.known {
		return false
	}
	d.state = s.state
	s.topics.Distrust(s.cfg.MaxTopics)
	s.reach.beginStep(st.Out)
	s.resumeSpool(st)
	s.resumeOutgoing()
	if !s.connected() {
		return s.resumeEnd(st)
	}
	s.link, d.resuming = linkDown, true
	lazy := len(s.subs) == 0 && d.spool.len() == 0
	st.do(Action{Kind: ActionReopen, Clean: s.clean, KeepAlive: s.duration, Will: s.brokersWill(), Lazy: lazy})
	s.heard(st.Now)
	s.resumeDelivery(st)
	s.save(st)
	s.reach.charge(st.Out)
	return true
}

// resumeEnd goes on with what the end of a session had left to do: to publish the will,
// and what is in the spool.
func (s *Session) resumeEnd(st *step) bool {
	how := ActionCloseClean
	if s.willDue = s.willDue && s.will != nil; s.willDue {
		s.reopenToDrain(st)
		how = ActionCloseDrain
	}
	if s.willDue || s.durable.spool.len() > 0 {
		s.closeLink(st, how)
		return true
	}
	return s.kept
}

// resumeOutgoing goes back to the QoS 2 delivery that the restart interrupted. If its
// message is held it comes first, as it did: there is one record of its MsgId, and the next
// delivery of QoS 2 overwrites that.
func (s *Session) resumeOutgoing() {
	o := &s.durable.outgoing
	switch {
	case o.msgID == 0:
		return
	case o.releasing:
		s.delivery = delivery{phase: releasing, msgID: o.msgID}
		return
	case o.number != 0:
		for i := range s.queue.len() {
			if s.queue.at(i).number == o.number {
				m := s.queue.take(i)
				m.msgID = o.msgID
				s.queue.unpop(m)
				s.lastQoS2.msgID = o.msgID
				return
			}
		}
	}
	s.lastQoS2 = exchange{packetID: o.packetID, msgID: o.msgID}
}
