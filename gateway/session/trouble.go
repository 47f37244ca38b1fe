package session

import "sngate/snpacket/sn12"

// What is sent to a device and never answered. A device that says something else meanwhile
// lives, and its session goes on. A message that it does not answer, awake or asleep, in
// this connection or a later one, must not keep the ones behind it from coming.

// tally counts what has been sent for a message without an answer, over the connections of
// the device. The broker repeats a message under another handle, so it is known by its
// content. The counts begin anew with the gateway.
type tally struct {
	sum       uint64
	qos       uint8
	sends     uint8 // of PUBLISH
	registers uint8 // of REGISTER
}

// attempts counts how often one thing has been sent without an answer.
type attempts struct {
	before uint8 // in earlier connections and wakes
	now    uint8 // in this one
	heard  bool  // the device has said something else meanwhile
}

func (t *attempts) count() uint8 { return more(t.before, t.now) }

// end takes this connection to the earlier ones. To a device that was silent all sends
// together count as one: it may not have been there at all.
func (t *attempts) end() uint8 {
	if t.now > 0 && !t.heard {
		t.now = 1
	}
	*t = attempts{before: t.count()}
	return t.before
}

// maxTallies bounds the messages that are counted; the oldest goes.
const maxTallies = 8

// patience is how often PUBLISH, REGISTER or PUBREL is sent for one message without an
// answer, at the most: all repetitions twice, and not fewer than minPatience, because a
// device that is not there for so many connections in a row may still come.
func (c *Config) patience() uint8 { return uint8(max(2*(1+c.RetryCount), minPatience)) }

const minPatience = 8

// more adds without an overflow.
func more(a, b uint8) uint8 { return uint8(min(int(a)+int(b), 255)) }

// tallyOf returns the tally of a message; nil if there is none.
func (s *Session) tallyOf(m *outgoing) *tally {
	if len(s.tallies) == 0 {
		return nil
	}
	sum := contentSum(m.topic, m.payload)
	for i := range s.tallies {
		if t := &s.tallies[i]; t.sum == sum && t.qos == m.qos {
			return t
		}
	}
	return nil
}

// tally returns the tally of a message, made if there is none. It is valid until the next
// call.
func (s *Session) tally(m *outgoing) *tally {
	if t := s.tallyOf(m); t != nil {
		return t
	}
	if len(s.tallies) == maxTallies {
		s.tallies = append(s.tallies[:0], s.tallies[1:]...)
	}
	s.tallies = append(s.tallies, tally{sum: contentSum(m.topic, m.payload), qos: m.qos})
	return &s.tallies[len(s.tallies)-1]
}

// forgetTally ends the count: the device has answered, or the message is given up.
func (s *Session) forgetTally(m *outgoing) {
	t := s.tallyOf(m)
	if t == nil {
		return
	}
	if *t = s.tallies[len(s.tallies)-1]; len(s.tallies) == 1 {
		s.tallies = nil
		return
	}
	s.tallies = s.tallies[:len(s.tallies)-1]
}

// noteReturn notes that the device may have been away, or begun anew, since it was sent
// what it has not answered.
func (s *Session) noteReturn() {
	s.delivery.end()
	if s.reg != nil {
		s.reg.end()
	}
}

// noteLife notes that the device has said something, and not just come back.
func (s *Session) noteLife() {
	s.delivery.heard = true
	if s.reg != nil {
		s.reg.heard = true
	}
}

// askForLife sends PINGREQ with the last repetition to a device that has not been heard
// for as long as the repetitions take: it may have nothing to say.
func (s *Session) askForLife(st *step, tries uint8, heard bool) {
	if int(tries) >= s.cfg.RetryCount && !heard && s.affords(st, pingLen) {
		s.sendPingReq(st)
	}
}

// onRetry sends the unanswered PUBLISH or PUBREL again, or gives it or the device up after
// RetryCount repeats (MQTT-SN 1.2 section 6.13, mirrored for the gateway).
func (s *Session) onRetry(st *step) {
	if !s.retry.again(st.Now, s.cfg) {
		if !s.unanswered(st) {
			s.lose(st, ReasonRetriesExhausted)
		}
		return
	}
	switch {
	case s.delivery.phase == publishing && s.delivery.before >= s.cfg.patience():
		s.giveUp(st, ReasonUnanswered)
		s.pump(st)
	case !s.affords(st, s.delivery.size()):
		s.prove(st)
	default:
		if s.retry.tries == 1 {
			s.delivery.heard = false // it may have been on its way before
		}
		s.repeatDelivery(st)
		s.askForLife(st, s.retry.tries, s.delivery.heard)
	}
}

// await arms the retransmission of a PUBLISH or PUBREL that has just been sent. It takes
// the place of a probe: any answer shows that the device lives.
func (s *Session) await(now Time) {
	s.probe.stop()
	s.delivery.heard = false
	s.retry.start(now, s.cfg)
}

// unanswered goes on when the repetitions of a PUBLISH or PUBREL are used up and the device
// lives. It reports false if the device does not.
func (s *Session) unanswered(st *step) bool {
	d := &s.delivery
	switch {
	case d.phase == idle || !d.heard:
		return false
	case d.phase == releasing:
		s.giveUpRelease(st)
		s.pump(st)
	case d.count() >= s.cfg.patience():
		s.giveUp(st, ReasonUnanswered)
		s.pump(st)
	default:
		d.attempts = attempts{before: d.count()} // once more as often
		s.await(st.Now)
		s.repeatDelivery(st)
	}
	return true
}

// giveUpRelease ends an exchange whose PUBREL the device does not answer. It has the message.
func (s *Session) giveUpRelease(st *step) {
	st.drop(ReasonReleaseUnanswered)
	s.finishDelivery()
	s.forgetOutgoing(st)
}

// abandonMessage gives a message for the device up, and says so: it is somebody's loss.
func (s *Session) abandonMessage(st *step, m *outgoing, why Reason) {
	s.discard(st, m, why)
	s.forgetTally(m)
	if m.qos == 2 && m.msgID != 0 {
		s.lastQoS2 = exchange{}
		s.forgetOutgoing(st)
	}
	st.do(Action{Kind: ActionGivenUp, Reason: why, Topic: m.topic, Payload: m.payload, QoS: m.qos})
}

// confirm notes that the device has answered a PUBLISH.
func (s *Session) confirm(d *delivery) {
	s.forgetTally(&d.msg)
	if d.idType == sn12.TopicIDNormal {
		s.know(d.topicID)
	}
}

// refuseID notes that the device does not know an id. It is told by REGISTER.
func (s *Session) refuseID(id uint16) {
	s.ids.topics.Refuse(id)
	if s.reg != nil && s.reg.tried && s.reg.topicID == id {
		s.reg = nil
	}
}
