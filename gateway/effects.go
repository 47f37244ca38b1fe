package gateway

// What a step of a session has asked for is carried out here.

import (
	"sngate/gateway/listen"
	"sngate/gateway/session"
)

// carryOut does what a step of e's session has left in s.out.
func (s *shard) carryOut(e *entry) {
	o := &s.out
	for i := range o.Datagrams() {
		s.send(e, o.Datagram(i))
	}
	if len(o.Drops) > 0 {
		s.report.drops(s.now, e, o)
	}
	for _, k := range o.Retries {
		s.counters.Retransmit(k)
	}
	free := false
	for i := range o.Actions {
		switch a := &o.Actions[i]; a.Kind {
		case session.ActionState:
			s.entered(e, a)
		case session.ActionFree:
			free = true
		case session.ActionGivenUp:
			s.report.givenUp(e, a)
		default:
			e.do(s, a)
		}
	}
	if s.storeRecords(e); free {
		s.forget(e) // after its records, which go with it
	}
	o.Reset()
}

// entered notes a change of state for the metrics and the log.
func (s *shard) entered(e *entry, a *session.Action) {
	if e.claim { // the session it claims is the one that is counted
		return
	}
	from := e.counted.state
	s.gauges.state(&e.counted, a.State)
	if live(from) && !live(a.State) {
		s.counters.End(a.Reason)
	}
	s.spares.noteEnded(e, !live(a.State), s.now)
	s.spares.noteHalfOpen(e)
	s.report.state(e, from, a, s.out.Drops)
	if !e.accepted && a.State == session.StateActive {
		e.accepted, e.acceptedAt = true, s.now
	}
}

// send sends a datagram to where the device is.
func (s *shard) send(e *entry, datagram []byte) {
	if !e.bound {
		s.counters.Drop(session.ReasonNoAddress)
		s.report.refusal(s.now, e, session.ReasonNoAddress, session.About{})
		return
	}
	if !s.sendTo(e.peer, datagram) {
		s.report.refusal(s.now, e, session.ReasonSendFailed, session.About{})
	}
}

// sendTo reports whether the system has taken the datagram.
func (s *shard) sendTo(p listen.Peer, datagram []byte) bool {
	frame, err := p.Wrap(s.frame, datagram)
	if err == nil {
		if p.Node != "" {
			s.frame = frame
		}
		if s.loop != nil {
			err = s.loop.sockets[p.Listener].Send(frame, p.Addr)
		} else {
			_, err = s.gw.listeners[p.Listener].Conn.WriteTo(frame, p.Addr)
		}
	}
	if err != nil {
		s.counters.Drop(session.ReasonSendFailed)
		return false
	}
	s.gw.tracer.Datagram(true, p, datagram)
	s.counters.Sent(messageType(datagram), len(frame))
	if p.Node != "" {
		s.counters.Sent(encapsulated, 0)
	}
	return true
}

// countHeld brings what is counted of e up to date, and its place among those that hold most.
func (s *shard) countHeld(e *entry) {
	s.gauges.count(&e.counted, e.session, len(e.peer.Node))
	if octets := e.counted.heldOctets; e.session.Sheddable() {
		s.holders.note(e, octets)
	} else {
		s.holders.note(e, 0)
	}
}

// forget removes an entry whose session is over.
func (s *shard) forget(e *entry) {
	if e.gone {
		return
	}
	e.gone = true
	s.gauges.drop(&e.counted)
	s.holders.note(e, 0)
	if e.session.Stored() {
		s.erase(e.session.ClientID())
	}
	s.spares.noteEnded(e, false, s.now)
	s.unbind(e)
	s.timers.Remove(e)
	s.report.past.Put(e.session.ClientID(), e.refusals)
	if s.forgetClaim(e) {
		return
	}
	s.roster.remove(e)
	s.gw.limits.sessions.Add(-1)
}
