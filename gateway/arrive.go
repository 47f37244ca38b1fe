package gateway

import (
	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/gateway/session/dialogue"
)

// arrive finds the session of a datagram and lets it handle it.
func (s *shard) arrive(a *arrival) {
	if a.kind == byAddress && s.passOn(a) {
		return
	}
	defer func() {
		if a.datagram != nil {
			a.datagram.Recycle()
		}
	}()
	if s.gw.stopping.Load() {
		s.counters.Drop(session.ReasonStopping)
		return
	}
	switch a.kind {
	case byConnect:
		s.arriveConnect(a)
		if a.connect != nil {
			a.connect.handled()
		}
	case byWake:
		s.arriveWake(a)
	case byTopic:
		s.own.publish(a)
	default:
		s.arriveAddress(a)
	}
}

// passOn gives QoS -1 of an address whose session has ended, or has not begun, to the
// shard that relays it without a session.
func (s *shard) passOn(a *arrival) bool {
	e := a.entry
	if e == nil || !unsolicited(a.frame) || !e.gone && e.bound && e.peer == a.peer && connected(e.session.State()) {
		return false
	}
	a.kind, a.entry = byTopic, nil
	if first := s.gw.shards[0]; first != s {
		if !first.queues.offerStranger(a) {
			s.counters.Drop(session.ReasonStrangersFull)
			a.datagram.Recycle()
		}
		return true
	}
	return false
}

// arriveAddress handles what is found by its address. Between the reader's look and now
// that may have changed hands, or come into the hands of a device whose CONNECT was before
// this in the queue.
func (s *shard) arriveAddress(a *arrival) {
	if a.connect != nil {
		if e := s.roster.find(a.connect.awaits); e != nil && e.loading.on {
			s.loads.await(s.now, e, a)
			return
		}
	}
	e := a.entry
	if e == nil || e.gone || !e.bound || e.peer != a.peer {
		e = s.gw.directory.find(a.peer)
	}
	switch {
	case e == nil:
		s.refuseStranger(a, session.ReasonUnknownSender)
	case e.shard != s:
		s.handOver(e, a)
	case e.gone || !e.bound || e.peer != a.peer:
		s.refuseStranger(a, session.ReasonUnknownSender)
	case e.loading.on:
		s.loads.await(s.now, e, a)
	case !live(e.session.State()) && a.message().Kind == dialogue.Disconnect && !s.replies.farewells.Allow(s.now):
		s.counters.Drop(session.ReasonRateLimited) // as for strangers: see farewellsPerSecond
		s.report.remember(s.now, e, session.ReasonRateLimited)
	default:
		s.handle(e, a)
	}
}

// handOver gives what belongs to a session of another shard to that one.
func (s *shard) handOver(e *entry, a *arrival) {
	b := arrival{datagram: a.datagram, frame: a.frame, peer: a.peer, entry: e}
	if !e.shard.queues.offer(b) {
		s.counters.Drop(session.ReasonShardFull)
		return
	}
	a.datagram = nil // the other shard's to recycle
}

// handle lets the session of e handle the datagram.
func (s *shard) handle(e *entry, a *arrival) {
	if e.link != nil {
		e.link.Nudge(s.now)
	}
	e.heardAt = s.now
	e.session.Frame(s.envFor(e), a.frame, &s.out)
	s.report.cause.datagram = a.frame.Message
	s.carryOut(e)
	s.report.cause.datagram = nil
	if s.endStep(e); e.claim {
		s.grant(e, a)
	}
}

// refuseStranger answers a sender without a session with DISCONNECT (MQTT-SN 1.2 section
// 5.4.21), within a rate for all: the sender may be forged.
func (s *shard) refuseStranger(a *arrival, why session.Reason) {
	s.report.refusedWithout(s.now, a, why)
	s.reply(a.peer, dialogue.Message{Kind: dialogue.Disconnect})
}

// reply answers somebody who has no session, within the rate.
func (s *shard) reply(p listen.Peer, m dialogue.Message) {
	if !s.replies.all.Allow(s.now) {
		return
	}
	if b, err := spoken().Append(nil, m); err == nil {
		s.sendTo(p, b)
	}
}

// arriveWake handles PINGREQ with a client id. A sleeper's may come from a new address,
// because it loses its NAT binding; an active device has to connect again.
func (s *shard) arriveWake(a *arrival) {
	m := a.message()
	e := s.roster.byID[string(m.Name)]
	switch {
	case e == nil:
		s.refuseStranger(a, session.ReasonUnknownSender)
		return
	case e.loading.on:
		s.loads.await(s.now, e, a)
		return
	case s.isAt(e, a.peer): // also while its CONNECT is being carried out
	case !connected(e.session.State()):
		s.refuseStranger(a, session.ReasonUnknownSender)
		return
	case s.gw.opts.AddressChange != AddressChangeAllow, e.session.State() == session.StateActive:
		s.refuseStranger(a, session.ReasonAddressChange)
		return
	}
	s.bind(e, a.peer)
	s.handle(e, a)
}

// isAt reports whether p is the address of e: the shard says so, and no other shard's session has
// been bound to it, which evict has yet to tell.
func (s *shard) isAt(e *entry, p listen.Peer) bool {
	return e.bound && e.peer == p && s.gw.directory.find(p) == e
}

// bind makes p the address of e. The session that had the address before is told that
// it has none any more.
func (s *shard) bind(e *entry, p listen.Peer) {
	if s.isAt(e, p) {
		return
	}
	if e.bound {
		s.gw.directory.unbind(e.peer, e)
	}
	if e.peer != p {
		e.session.AddressChanged()
		e.session.RestartMsgIDs(s.gw.opts.FirstMsgID())
	}
	e.peer, e.bound = p, true
	if before := s.gw.directory.bind(p, e); before != nil {
		if before.shard == s {
			s.evict(before, p)
		} else {
			before.shard.queues.post(func() { before.shard.evict(before, p) })
		}
	}
}

// evict tells e that the address p, which it had, belongs to another session now,
// unless it has got it back meanwhile.
func (s *shard) evict(e *entry, p listen.Peer) {
	if s.frozen || e.gone || !e.bound || e.peer != p || s.gw.directory.find(p) == e {
		return
	}
	e.bound = false
	if e.loading.on {
		e.loading.evicted = true // it is told when it is loaded
		return
	}
	e.session.AddressReused(s.envFor(e), &s.out)
	s.endStep(e)
}

func (s *shard) unbind(e *entry) {
	if e.bound {
		s.gw.directory.unbind(e.peer, e)
		e.bound = false
	}
}

func (s *shard) markUnreachable(e *entry, p listen.Peer) {
	if e.gone || s.frozen || e.loading.on || !s.isAt(e, p) { // nothing has been sent to one that is being loaded
		return
	}
	e.session.Unreachable(s.envFor(e), &s.out)
	s.endStep(e)
}
