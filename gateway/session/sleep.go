package session

import "sngate/snpacket/sn12"

// barrier makes sure that what the broker releases because of the acknowledgements of
// a wake is delivered in the same wake: MQTT answers PINGREQ in order, so its PINGRESP
// comes after those messages.
type barrier struct {
	at    Time  // when it is given up
	token Token // of the PINGREQ on its way; 0: none
	done  bool  // no more barriers in this wake

	// rounds is how many PINGREQs what has been acknowledged since the last wake takes, and
	// what the broker could not send because its connection was not read: QoS 1 one, QoS 2
	// two, because there the broker goes on at PUBCOMP. It is sent in answer to the
	// PUBREL which the first PINGRESP comes behind.
	rounds uint8
	sent   int // deliveries begun in this wake
}

// giveUp ends the wake without waiting for the broker.
func (b *barrier) giveUp() {
	b.at, b.token, b.done = Never, 0, true
}

// wakeFactor bounds a wake, as so many times the messages that are held at most: a
// steady stream of messages must not keep a device awake for ever.
const wakeFactor = 10

// tired reports whether the device has been sent so much in this wake that the rest
// waits for the next one.
func (s *Session) tired() bool {
	return s.state == StateAwake && s.barrier.sent >= wakeFactor*s.cfg.MaxMessages
}

// onDisconnect ends the connection, or puts the device to sleep when there is a
// duration (MQTT-SN 1.2 sections 5.4.21, 6.12 and 6.14). Either is answered with
// DISCONNECT without duration, however often it comes. A duration of 0 is none.
func (s *Session) onDisconnect(st *step, body []byte) {
	var m sn12.Disconnect
	if m.Parse(body) != nil {
		st.drop(ReasonMalformed)
		return
	}
	switch {
	case !s.connected() && s.dialogue == nil:
		send(st, sn12.Disconnect{})
	case s.connected() && m.Duration > 0:
		s.sleepFor = m.Duration
		s.suspendDelivery()
		s.barrier = barrier{at: Never}
		s.enter(st, StateAsleep, ReasonNone)
		s.heard(st.Now)
		s.journal.mustSave()
		s.after(st, goOnWhenDown, continuation{kind: thenSleep}) // or a restart could find it awake
		s.holdDurably(st)
	default:
		s.goodbye(st)
	}
}

// onPingReq answers an active device, and wakes a sleeping one (section 6.14). While it
// is awake the PINGREQ is a repeat: its PINGRESP comes when all is delivered.
func (s *Session) onPingReq(st *step, body []byte) {
	var m sn12.PingReq
	if m.Parse(body) != nil {
		st.drop(ReasonMalformed)
		return
	}
	switch s.state {
	case StateActive:
		send(st, sn12.PingResp{})
	case StateAsleep:
		s.enter(st, StateAwake, ReasonNone)
		s.barrier = barrier{at: Never, rounds: s.barrier.rounds}
		if len(s.subs.list)+len(s.subs.asked) > 0 || !s.clean { // the broker may know of more than SUBACK has told
			s.barrier.rounds = max(s.barrier.rounds, 1) // a message may be on its way from the broker
		}
		s.resumeAt = Never
		s.resumeDelivery(st)
	}
}

func (s *Session) onPingResp(st *step, body []byte) {
	var m sn12.PingResp
	if m.Parse(body) != nil {
		st.drop(ReasonMalformed)
		return
	}
	s.pinged(st)
}

// finishWake sends a device back to sleep when nothing is left for it, behind a
// barrier if the broker may have more for it.
func (s *Session) finishWake(st *step) {
	switch {
	case s.barrier.token != 0 && !s.tired(): // its answer may be behind messages that are not read
		return
	case s.completing() && !s.barrier.done && !s.tired(): // the broker goes on behind PUBCOMP
		s.barrier.at = min(s.barrier.at, st.Now+s.cfg.BarrierTimeout)
		return
	case s.gated(st) && !s.barrier.done && s.resumeAt == Never && !s.tired():
		s.barrier.at = min(s.barrier.at, st.Now+s.cfg.BarrierTimeout) // for the SUBACK
		return
	case (s.barrier.rounds > 0 || s.paused) && !s.barrier.done && s.link == linkUp && s.resumeAt == Never && !s.tired():
		s.barrier.at, s.barrier.token = st.Now+s.cfg.BarrierTimeout, s.token()
		s.barrier.rounds -= min(s.barrier.rounds, 1)
		st.do(Action{Kind: ActionPing, Token: s.barrier.token})
		return
	}
	s.barrier = barrier{at: Never}
	s.suspendRegistration()
	send(st, sn12.PingResp{})
	s.enter(st, StateAsleep, ReasonNone)
	s.heard(st.Now)
}

func (s *Session) onPong(st *step, ev *Event) {
	if ev.Token == 0 || ev.Token != s.barrier.token {
		return
	}
	s.barrier.token = 0
	s.barrier.at = Never
	s.barrier.done = ev.Failed
	s.pump(st)
}
