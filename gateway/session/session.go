package session

import (
	"sngate/internal/rate"
	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// Session is the gateway's side of one MQTT-SN 1.2 device. All methods are called by
// the one goroutine that owns it. See the package documentation.
type Session struct {
	cfg      *Config
	clientID string
	state    State
	clean    bool
	assigned bool   // the client id is of the shell's making: the device does not know it
	duration uint16 // keep-alive of the last CONNECT, seconds
	sleepFor uint16 // duration of the last DISCONNECT that had one, seconds
	maxSize  uint16 // octets of the longest datagram that the device may be sent

	// The CONNECT that was accepted, coming again, means that the CONNACK was lost if
	// nothing else has been heard since (fresh), and that the network has delivered it
	// twice if it comes before lateBefore. Otherwise the device has restarted.
	fresh      bool
	moved      bool // what comes now is the first from a new address
	mute       bool // the REGISTER sent last has gone unanswered
	accepted   connectParams
	lateBefore Time

	dialogue *dialogue // not nil while a CONNECT is being carried out

	messages, octets rate.Bucket // of Config.MessageRate and ByteRate

	queue     queue         // messages for the device
	delivery  delivery      // the one being delivered
	reg       *registration // of a topic of the queue; nil: none
	tallies   []tally
	lastQoS2  exchange // the last QoS 2 delivery, for its redelivery by the broker
	nextMsgID uint16
	barrier   barrier
	rival     *rival // nil: nobody has contested the session
	reach     *reach // account of an address that is not proven; nil: there is no bound
	link      linkState
	paused    bool // the link has been told to stop reading
	kept      bool // the session outlives its connection (accepted with CleanSession=0)
	parked    bool // the device may be connected elsewhere: see EventParked
	askAt     Time // parked: when the device is asked whether it is here
	askPause  Time // how long that was put off
	journal   journal

	// The parts of the session. Each owns its fields: nobody else assigns to them.
	ids       topicIDs
	subs      subscriptions
	up        uplink
	wills     wills
	closeAs   ActionKind     // how the link is closed when the spool is empty; 0: the device is connected, or nothing is left
	taken     []takenOver    // QoS 2 messages of the broker that are acknowledged, until its PUBREL
	outgoing  outgoingRecord // as in the store; msgID 0: none
	lastHeld  uint32         // number of the newest RecordHeld
	lastToken Token
	lifeAt    Time  // when silence means loss
	retry     retry // of the PUBLISH or PUBREL under way to the device
	probe     retry // of the PINGREQ sent to a device without keep-alive
	resumeAt  Time  // end of the pause after the device's "congestion"
}

// New returns the session of a device that has not connected yet.
func New(cfg *Config, clientID string) *Session {
	s := &Session{cfg: cfg, clientID: clientID}
	s.ids.s, s.subs.s, s.up.s, s.wills.s = s, s, s, s
	s.lifeAt, s.askAt = Never, Never
	s.probe.stop()
	s.retry.stop()
	s.resumeAt = Never
	s.barrier.at = Never
	s.subs.restoreAt = Never
	s.up.spool.retryAt, s.up.spool.packetID = Never, firstPacketID
	s.maxSize = uint16(cfg.packetSize(clientID))
	s.reach = s.unproven()
	return s
}

// ClientID returns the client id the session belongs to.
func (s *Session) ClientID() string { return s.clientID }

// State returns the state of the device.
func (s *Session) State() State { return s.state }

// Held returns how many messages are held for the device, and their size in octets as
// counted against MaxBytes.
func (s *Session) Held() (messages, octets int) {
	messages, octets = s.queue.len(), s.queue.bytes
	if s.delivery.phase != idle {
		messages++
		octets += s.delivery.msg.size()
	}
	return messages, octets
}

// connected reports whether the device has a connection, asleep included.
func (s *Session) connected() bool {
	return s.state == StateActive || s.state == StateAsleep || s.state == StateAwake
}

// listening reports whether the device may be sent what it has not asked for.
func (s *Session) listening() bool {
	return (s.state == StateActive || s.state == StateAwake) && !s.parked && !s.accepting()
}

func (s *Session) enter(st *step, state State, why Reason) {
	s.state = state
	st.do(Action{Kind: ActionState, State: state, Reason: why})
}

func (s *Session) token() Token {
	s.lastToken++
	if s.lastToken == 0 {
		s.lastToken++
	}
	return s.lastToken
}

// Datagram handles one datagram of the device, without any encapsulation. b is not
// kept.
func (s *Session) Datagram(env Env, b []byte, out *Out) {
	st := &step{env, out}
	t, body, err := snpacket.Split(b)
	if err != nil {
		st.drop(ReasonMalformed)
		return
	}
	if why := stray(sn12.Type(t)); why != ReasonNone {
		st.drop(why)
		return
	}
	parked, bounded := s.parked, s.reach != nil
	s.reach.beginStep(st.Out)
	s.reach.credit(len(b))
	switch {
	case sn12.Type(t) == sn12.TypeConnect:
		s.onConnect(st, body)
	case !s.connected():
		s.onUnconnected(st, sn12.Type(t), body)
	case s.fresh && s.accepted.will && (sn12.Type(t) == sn12.TypeWillTopic || sn12.Type(t) == sn12.TypeWillMsg):
		s.heard(st.Now)
		if !s.accepting() {
			send(st, sn12.ConnAck{}) // the last step of the will dialogue again: the CONNACK was lost
		}
	case s.accepting() && s.state == StateActive && sn12.Type(t) != sn12.TypeDisconnect:
		s.heard(st.Now)
		st.drop(ReasonUnexpectedMessage) // too early: nothing comes before the CONNACK
	default:
		s.fresh = false
		s.heard(st.Now)
		s.noteLife()
		if !s.weigh(st, sn12.Type(t), body) {
			s.onConnected(st, sn12.Type(t), body)
		}
	}
	if parked && !s.parked {
		s.resumeDelivery(st)
	}
	s.sendWithheld(st, bounded)
	s.finish(st)
}

// finish ends a step: what is held may have been waiting for what it brought.
func (s *Session) finish(st *step) {
	s.moved = false
	s.pump(st)
	s.regulate(st)
	s.save(st)
	s.reach.charge(st.Out)
}

// heard restarts the supervision of a device that has just spoken: "each time the
// gateway receives a message from a client it restarts the timer" (MQTT-SN 1.2
// section 6.11). A sleeper that speaks without waking has shown that it lives as well.
func (s *Session) heard(now Time) {
	s.parked, s.askAt, s.askPause = false, Never, 0
	s.rival.heard()
	s.probe.stop()
	switch {
	case s.state == StateAsleep || s.state == StateAwake:
		s.lifeAt = now + s.cfg.expiry(s.sleepFor)
	case s.duration > 0:
		s.lifeAt = now + s.cfg.expiry(s.duration)
	case s.cfg.IdleProbe > 0:
		s.lifeAt = now + s.cfg.IdleProbe
	default:
		s.lifeAt = Never
	}
}

// onUnconnected handles what comes while the device has no connection: its part of
// the will dialogue, or a DISCONNECT; anything else is answered with DISCONNECT, so
// that the device knows it has to connect (MQTT-SN 1.2 section 5.4.21).
func (s *Session) onUnconnected(st *step, t sn12.Type, body []byte) {
	switch {
	case t == sn12.TypeWillTopic && s.state == StateWillTopic:
		s.onWillTopic(st, body)
	case t == sn12.TypeWillTopic && s.state == StateWillMsg:
		s.repeatStep(st) // WILLMSGREQ was lost
	case t == sn12.TypeWillMsg && s.state == StateWillMsg:
		s.onWillMsg(st, body)
	case t == sn12.TypeDisconnect:
		s.onDisconnect(st, body)
	case s.dialogue != nil:
		st.drop(ReasonUnexpectedMessage) // too early, or a repeated step of the dialogue
	case s.state == StateDisconnected && (t == sn12.TypeRegAck || t == sn12.TypePubAck || t == sn12.TypePubComp || t == sn12.TypePingResp):
		// An answer that has come behind a goodbye. The device may have sent CONNECT since, and
		// would take DISCONNECT for the answer to that.
		st.drop(ReasonUnexpectedMessage)
	default:
		st.drop(ReasonUnknownSender)
		send(st, sn12.Disconnect{})
	}
}

// onConnected dispatches what a connected device sends.
func (s *Session) onConnected(st *step, t sn12.Type, body []byte) {
	switch t {
	case sn12.TypePublish:
		s.up.onPublish(st, body)
	case sn12.TypePubAck:
		s.onPubAck(st, body)
	case sn12.TypePubRec:
		s.onPubRec(st, body)
	case sn12.TypePubRel:
		s.up.onPubRel(st, body)
	case sn12.TypePubComp:
		s.onPubComp(st, body)
	case sn12.TypeRegister:
		s.ids.onRegister(st, body)
	case sn12.TypeRegAck:
		s.onRegAck(st, body)
	case sn12.TypeSubscribe:
		s.subs.onSubscribe(st, body)
	case sn12.TypeUnsubscribe:
		s.subs.onUnsubscribe(st, body)
	case sn12.TypePingReq:
		s.onPingReq(st, body)
	case sn12.TypePingResp:
		s.onPingResp(st, body)
	case sn12.TypeDisconnect:
		s.onDisconnect(st, body)
	case sn12.TypeWillTopicUpd:
		s.wills.onWillTopicUpd(st, body)
	case sn12.TypeWillMsgUpd:
		s.wills.onWillMsgUpd(st, body)
	case sn12.TypeWillTopic, sn12.TypeWillMsg:
		// A live session whose device has sent CONNECT with Will goes through the
		// dialogue in a state of its own; here it is a repeat that came late.
		st.drop(ReasonUnexpectedMessage)
	}
}

// Upstream handles one event of the upstream link.
func (s *Session) Upstream(env Env, ev *Event, out *Out) {
	st := &step{env, out}
	s.reach.beginStep(st.Out)
	switch ev.Kind {
	case EventConnected:
		s.onBrokerConnected(st, ev)
	case EventRefused:
		s.onBrokerRefused(st, ev)
	case EventDown:
		s.up.dropWaiting(st)
		s.onLinkDown(st)
	case EventUp:
		s.onLinkUp(st, ev)
	case EventParked:
		s.onParked(st.Now)
	case EventPublished:
		if !s.up.onSpoolPublished(st, ev.Token) {
			s.up.onPublished(st, ev.Token)
		}
	case EventPublishFailed:
		if !s.up.onSpoolFailed(st, ev) {
			s.up.onPublishFailed(st, ev)
		}
	case EventReceived:
		s.up.onReceived(st, ev.Token)
	case EventReleased:
		s.onReleased(st, ev.PacketID)
	case EventRepeated:
		s.barrier.rounds = max(s.barrier.rounds, ev.QoS)
	case EventDoubted:
		s.up.onDoubted(st, ev.Token)
	case EventRetracted:
		s.up.onRetracted(st, ev)
	case EventStored:
		s.onStored(st, ev)
	case EventSubscribed:
		s.subs.onSubscribed(st, ev)
	case EventUnsubscribed:
		s.subs.onUnsubscribed(st, ev)
	case EventMessage:
		s.onMessage(st, ev)
	case EventPong:
		s.onPong(st, ev)
	case EventClosed:
		s.onLinkClosed(st)
	}
	s.finish(st)
}

// Deadline is when the session next wants Advance; Never if it waits for nothing.
func (s *Session) Deadline() Time {
	d := min(s.lifeAt, s.dialogueDeadline(), s.probe.at, s.retry.at, s.resumeAt, s.askAt, s.barrier.at, s.addressDeadline(), s.up.spoolDeadline(), s.journal.deadline(), s.subs.restoreDeadline())
	if s.reg != nil {
		d = min(d, s.reg.retryAt)
	}
	for i := range s.up.window {
		d = min(d, s.up.window[i].holdAt)
	}
	for i := range s.subs.asked {
		d = min(d, s.subs.asked[i].holdAt)
	}
	return d
}

// Advance carries out what time has brought. Calling it early is harmless.
func (s *Session) Advance(env Env, out *Out) {
	st := &step{env, out}
	s.reach.beginStep(st.Out)
	if st.Now >= s.lifeAt {
		s.onSilence(st)
	}
	if st.Now >= s.dialogueDeadline() {
		s.onDialogueRetry(st)
	}
	if st.Now >= s.probe.at {
		s.onProbeRetry(st)
	}
	if st.Now >= s.retry.at {
		s.onRetry(st)
	}
	if s.reg != nil && st.Now >= s.reg.retryAt {
		s.onRegisterRetry(st)
	}
	if st.Now >= s.resumeAt {
		s.resumeAt = Never
		s.pump(st)
	}
	if st.Now >= s.askAt {
		s.askWhether(st)
	}
	if st.Now >= s.barrier.at {
		s.barrier.giveUp()
		s.pump(st)
	}
	s.advanceAddress(st)
	s.up.expireHeld(st)
	s.up.advanceSpool(st)
	s.subs.restoreDue(st)
	s.finish(st)
}
