package session

import (
	"errors"
	"time"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// dialogue is a CONNECT being carried out: the will being asked for, or the broker's
// answer awaited.
type dialogue struct {
	connect  connectParams
	reopen   bool // the broker is to be connected to, with what the CONNECT says
	wake     bool // the device was asleep: it still knows its topic ids
	will     *Will
	willSeen bool  // will replaces the stored one
	retry    retry // of what the device is asked for
}

// lateWindow is how long after a request its duplicates may still arrive: networks that
// deliver a datagram twice do so soon. A repeat by the device itself comes after Tretry,
// and is known by other signs.
const lateWindow = time.Second

// connectParams is what two CONNECTs are compared by.
type connectParams struct {
	clean    bool
	will     bool
	duration uint16
}

// CheckConnect decides what can be decided about a CONNECT before there is a session.
// The code is Accepted, or what the CONNACK has to say, with the reason.
func CheckConnect(cfg *Config, c *sn12.Connect) (sn12.ReturnCode, Reason) {
	switch {
	case c.ProtocolID != sn12.ProtocolID:
		return sn12.RejectedNotSupported, ReasonProtocolID
	case len(c.ClientID) > cfg.MaxClientID || topicreg.ValidText(c.ClientID) != nil:
		return sn12.RejectedNotSupported, ReasonClientID
	case !allowed(cfg.Allow, string(c.ClientID)):
		return sn12.RejectedNotSupported, ReasonClientNotAllowed
	}
	return sn12.Accepted, ReasonNone
}

// CheckAssigned is CheckConnect for a CONNECT without a client id, to which the shell
// assigns one. A session that could not be found again is not kept (CleanSession=0).
func CheckAssigned(cfg *Config, c *sn12.Connect, clientID string) (sn12.ReturnCode, Reason) {
	switch {
	case c.ProtocolID != sn12.ProtocolID:
		return sn12.RejectedNotSupported, ReasonProtocolID
	case clientID == "" || !c.CleanSession:
		return sn12.RejectedNotSupported, ReasonClientID
	case !allowed(cfg.Allow, clientID):
		return sn12.RejectedNotSupported, ReasonClientNotAllowed
	}
	return sn12.Accepted, ReasonNone
}

func allowed(patterns []string, clientID string) bool {
	for _, p := range patterns {
		if topicreg.Match(p, clientID) {
			return true
		}
	}
	return len(patterns) == 0
}

// onConnect handles CONNECT, which CheckConnect has accepted (MQTT-SN 1.2 section 6.2;
// for a connected device see the table in the package documentation).
func (s *Session) onConnect(st *step, body []byte) {
	var c sn12.Connect
	if err := c.Parse(body); err != nil && !(s.assigned && errors.Is(err, sn12.ErrNoClientID)) {
		st.drop(ReasonMalformed)
		return
	}
	p := connectParams{clean: c.CleanSession, will: c.Will, duration: c.Duration}
	switch {
	case s.dialogue != nil && s.dialogue.connect == p:
		s.repeatStep(st)
	case s.dialogue != nil:
		reopen := s.dialogue.reopen || p.clean || s.clean
		s.begin(st, p, &dialogue{connect: p, reopen: reopen, wake: s.dialogue.wake && !reopen})
	case !s.connected():
		s.begin(st, p, &dialogue{connect: p, reopen: true})
	case s.state == StateActive && p == s.accepted && (s.fresh && !p.will || st.Now < s.lateBefore):
		s.heard(st.Now)
		s.noteReturn()
		s.lateBefore = st.Now + lateWindow // this one may have duplicates as well
		if !s.accepting() {
			send(st, sn12.ConnAck{})
		}
	case s.state != StateActive && !s.moved && p.clean == s.clean && (!p.clean || !p.will && !s.accepted.will):
		s.begin(st, p, &dialogue{connect: p, wake: true})
	default:
		s.begin(st, p, &dialogue{connect: p, reopen: p.clean || s.clean})
	}
}

// repeatStep answers a CONNECT that came again while it is being carried out with the
// step that is due.
func (s *Session) repeatStep(st *step) {
	switch s.state {
	case StateWillTopic:
		send(st, sn12.WillTopicReq{})
	case StateWillMsg:
		send(st, sn12.WillMsgReq{})
	}
}

// onDialogueRetry asks again for the will, or gives the CONNECT up.
func (s *Session) onDialogueRetry(st *step) {
	switch again := s.dialogue.retry.again(st.Now, s.cfg); {
	case !again && s.live():
		s.lose(st, ReasonRetriesExhausted)
	case !again:
		s.abandon(st, ReasonWill)
	case s.state == StateWillTopic:
		st.retry(sn12.TypeWillTopicReq)
		s.repeatStep(st)
	default:
		st.retry(sn12.TypeWillMsgReq)
		s.repeatStep(st)
	}
}

// dialogueDeadline is when the device is to be asked again for its will.
func (s *Session) dialogueDeadline() Time {
	if s.dialogue == nil {
		return Never
	}
	return s.dialogue.retry.at
}

// begin starts to carry out a CONNECT: the will is asked for first where there is one.
// A device that does not come from sleep may have restarted: its MsgIds begin anew.
func (s *Session) begin(st *step, p connectParams, d *dialogue) {
	s.dialogue = d
	d.retry.stop()
	if !d.wake {
		s.disown()
		s.up.retire(st)
		s.subs.forgetAsked()
	}
	s.suspendDelivery()
	s.barrier = barrier{at: Never}
	s.resumeAt = Never
	s.lifeAt = Never
	if p.will {
		s.enter(st, StateWillTopic, ReasonNone)
		send(st, sn12.WillTopicReq{})
		d.retry.start(st.Now, s.cfg)
		return
	}
	s.carryOut(st)
}

// onWillTopic takes the answer to WILLTOPICREQ. An empty one deletes the will and ends
// the dialogue (MQTT-SN 1.2 section 5.4.7).
func (s *Session) onWillTopic(st *step, body []byte) {
	var m sn12.WillTopic
	err := m.Parse(body)
	s.dialogue.retry.stop()
	s.dialogue.willSeen = true
	if err == nil && m.Empty {
		s.carryOut(st)
		return
	}
	if err != nil || m.QoS > 2 || topicreg.ValidName(m.Topic) != nil { // err: flags and no topic
		s.refuseConnect(st, sn12.RejectedNotSupported, ReasonWill)
		return
	}
	if code, why := s.wills.refuses(st, len(m.Topic), 0); why != ReasonNone {
		s.refuseConnect(st, code, why)
		return
	}
	s.dialogue.will = &Will{Topic: string(m.Topic), QoS: m.QoS, Retain: m.Retain}
	s.enter(st, StateWillMsg, ReasonNone)
	send(st, sn12.WillMsgReq{})
	s.dialogue.retry.start(st.Now, s.cfg)
}

func (s *Session) onWillMsg(st *step, body []byte) {
	var m sn12.WillMsg
	if m.Parse(body) != nil {
		st.drop(ReasonMalformed)
		return
	}
	s.dialogue.retry.stop()
	if code, why := s.wills.refuses(st, len(s.dialogue.will.Topic), len(m.Message)); why != ReasonNone {
		s.refuseConnect(st, code, why)
		return
	}
	s.dialogue.will.Message = append([]byte(nil), m.Message...)
	s.carryOut(st)
}

// carryOut puts a CONNECT whose will is known into force, connecting to the broker
// where that is needed.
func (s *Session) carryOut(st *step) {
	d := s.dialogue
	clean := d.connect.clean || s.clean // a clean session leaves nothing to the next one either
	switch {
	case d.willSeen:
		s.wills.current = d.will
	case clean && !d.wake:
		s.wills.current = nil // "CleanSession=1, Will=0: no subscriptions and no will" (section 6.3)
	}
	s.duration = d.connect.duration
	if !d.reopen {
		s.dialogue = nil
		s.wills.set(st, s.wills.current)
		s.accept(st, d.connect, d.wake)
		return
	}
	if clean {
		s.forget(st)
	}
	s.clean = d.connect.clean
	s.wills.carried, s.wills.late = s.wills.brokersWill(), false
	s.wills.due = false // the link drops it: the device is back
	s.link = linkOpening
	s.uncomplete()
	s.closeAs = 0
	s.enter(st, StateConnecting, ReasonNone)
	st.do(Action{Kind: ActionConnect, Clean: s.clean, KeepAlive: s.duration, Will: s.wills.carried})
}

// forget drops all that CleanSession=1 drops.
func (s *Session) forget(st *step) {
	s.kept = false
	s.ids.topics.Reset()
	s.reg, s.tallies, s.mute = nil, nil, false
	s.subs.filterOctets = 0
	s.subs.list, s.subs.asked = nil, nil
	s.subs.restore, s.subs.restoreAt = restore{}, Never
	s.up.window = nil
	s.dropHeld(st, ReasonCleanSession)
	s.forgetRecords(st)
}

// accept makes the device active and tells it so.
func (s *Session) accept(st *step, p connectParams, wake bool) {
	if !wake {
		// Whether a device that connects anew still knows its topic ids cannot be told;
		// it is told again before they are used (MQTT-SN 1.2 section 6.10).
		s.ids.topics.ForgetAnnounced()
	}
	s.fresh = true
	s.accepted, s.lateBefore = p, st.Now+lateWindow
	s.kept = !s.clean
	s.enter(st, StateActive, ReasonNone)
	s.journal.begin(s.cfg.Durable)
	s.closeAs, s.up.resuming = 0, false
	s.heard(st.Now)
	s.up.drain(st)
	s.after(st, goOnWhenDown, continuation{kind: thenConnAck})
}

func (s *Session) onBrokerConnected(st *step, ev *Event) {
	if s.link != linkOpening {
		return // the CONNECT was given up meanwhile: EventClosed follows
	}
	s.link = linkUp
	s.resume(st, ev.SessionPresent)
	s.subs.askAgain(st)
	if s.state != StateConnecting {
		s.up.drain(st)
		return // the device has sent another CONNECT meanwhile, and its will is awaited
	}
	d := s.dialogue
	s.dialogue = nil
	s.accept(st, d.connect, d.wake)
}

// resume repeats the subscriptions to a broker that has forgotten them, or may not have
// got them all: a repetition was cut short by the loss of the connection.
func (s *Session) resume(st *step, present bool) {
	forgot := false
	if !present {
		s.lastQoS2 = exchange{}
		forgot = s.forgetTaken(st)
		s.up.forgetReleased(st)
	}
	s.up.resuming = false
	if s.draining() && !s.kept {
		return
	}
	if !present || s.subs.restore.token != 0 {
		s.subs.restoreSubscriptions(st, present && s.subs.restore.due, forgot)
	}
}

// onBrokerRefused maps the broker's answer to a CONNACK: what may pass is
// "congestion", what will not is "not supported"; MQTT-SN has no code for credentials.
// While the broker cannot be reached, a device whose session is known goes on with it
// where there is a spool: what it publishes is safe there.
func (s *Session) onBrokerRefused(st *step, ev *Event) {
	if s.link != linkOpening {
		return // as for EventConnected
	}
	s.link = linkClosed
	switch {
	case s.state != StateConnecting && s.draining():
		s.reopenToDrain(st)
	case s.dialogue == nil: // the broker's session may outlive ours
		s.free(st)
	case s.state != StateConnecting:
	case ev.Refused == NotRefused && s.kept && !s.clean && s.cfg.Spool:
		s.link, s.wills.carried = linkDown, nil
		st.do(Action{Kind: ActionReopen, Clean: s.clean, KeepAlive: s.duration, Will: s.wills.brokersWill()})
		d := s.dialogue
		s.dialogue = nil
		s.accept(st, d.connect, d.wake)
	case ev.Refused == NotRefused:
		s.refuseConnect(st, sn12.RejectedCongestion, ReasonBrokerUnreachable)
	case ev.Refused == RefusedForNow:
		s.refuseConnect(st, sn12.RejectedCongestion, ReasonBrokerRefused)
	default:
		s.refuseConnect(st, sn12.RejectedNotSupported, ReasonBrokerRefused)
	}
}

// refuseConnect answers the CONNECT with code and ends the attempt.
func (s *Session) refuseConnect(st *step, code sn12.ReturnCode, why Reason) {
	send(st, sn12.ConnAck{ReturnCode: code})
	st.drop(why)
	s.abandon(st, why)
}

// HalfOpen reports whether the session is a will dialogue and nothing else: it has never
// been accepted, and has no connection to the broker.
func (s *Session) HalfOpen() bool {
	return (s.state == StateWillTopic || s.state == StateWillMsg) && !s.kept && s.link == linkClosed
}

// GiveWay ends a half-open session without a word, to make room. A device that goes on
// with the dialogue is answered with DISCONNECT, and connects again.
func (s *Session) GiveWay(env Env, out *Out) {
	st := &step{env, out}
	if s.HalfOpen() {
		st.drop(ReasonMaxSessions)
		s.abandon(st, ReasonMaxSessions)
	}
}

// abandon ends a CONNECT that came to nothing. A session that was live before is lost
// with it; one that was kept stays kept; a new one goes.
func (s *Session) abandon(st *step, why Reason) {
	if s.live() {
		s.endLost(st, why)
		return
	}
	s.disown()
	how := ActionCloseClean
	if s.wills.due { // of the connection before
		how = ActionCloseDrain
	}
	s.end(st, StateDisconnected, why, how)
}
