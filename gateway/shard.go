package gateway

import (
	"slices"
	"sync/atomic"
	"time"

	"sngate/gateway/oplog"
	"sngate/gateway/session"
	"sngate/internal/deadline"
	"sngate/upstream"
)

const (
	turnSize = 32 // datagrams or inputs taken in one turn of the loop
	// idleTurn bounds how long a shard sleeps, so that one that has stopped turning
	// can be told from one that has nothing to do.
	idleTurn = 10 * time.Second
)

func newShard(gw *Gateway, index int, count *loadCount) *shard {
	s := &shard{
		gw:       gw,
		index:    index,
		queues:   newQueues(gw.stopped),
		counters: gw.metrics.NewCounters(),
		gauges:   gauges{limits: gw.limits, byState: make([]atomic.Int64, len(session.StateNames()))},
		roster:   newRoster(),
		loads:    loads{count: count, directory: gw.directory},
		repairs:  repairs{keeper: gw.keeper, clients: make(map[string]struct{})},

		replies: newReplyLimits(),
	}
	s.report = reporter{
		log: gw.lines, counters: s.counters, roster: &s.roster, quiet: gw.opts.QuietSessions,
		maxClientID: gw.opts.Session.MaxClientID, brokerReady: gw.broker.ready.Load,
		past: oplog.NewPast(), seen: oplog.NewSeen(),
	}
	s.loads.report = &s.report
	return s
}

// run is the shard's goroutine, where it has no event loop. It ends when the gateway has
// stopped. Strangers come one in a turn, and whatever else waits then comes before the next
// one: a flood of them delays a known device by one of them.
func (s *shard) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.beginTurn()
		timer.Reset(untilNext(s))
		select {
		case a := <-s.queues.arrivals:
			s.now = s.gw.now()
			s.arrive(&a)
			s.takeMore()
		case in := <-s.queues.inputs:
			s.now = s.gw.now()
			s.input(&in)
			s.takeMore()
		case box := <-s.queues.strangers:
			s.now = s.gw.now()
			a := s.queues.unbox(box)
			s.arrive(&a)
			s.takeMore()
		case <-s.queues.posted.wake:
			s.now = s.gw.now()
			s.queues.posted.run()
		case <-timer.C:
		case <-s.gw.stopped:
			return
		}
	}
}

// beginTurn does what is due.
func (s *shard) beginTurn() {
	s.now = s.gw.now()
	s.lastTurn.Store(int64(s.now))
	for e, ok := s.timers.Due(s.now); ok; e, ok = s.timers.Due(s.now) {
		s.advance(e)
	}
	s.expire()
	s.relieve()
}

// untilNext is how long the shard may wait for something to come.
func untilNext(s *shard) time.Duration {
	return max(min(s.timers.Next()-s.now, s.spares.nextExpiry(s.gw.opts.Expiry)-s.now, idleTurn), 0)
}

// takeMore takes what else is waiting, but for strangers, up to the size of a turn.
func (s *shard) takeMore() {
	for range turnSize {
		select {
		case a := <-s.queues.arrivals:
			s.arrive(&a)
		case in := <-s.queues.inputs:
			s.input(&in)
		default:
			return
		}
	}
}

// input feeds a link with what its connection has read.
func (s *shard) input(in *upstream.Input) {
	in.Link.Input(s.now, in)
	s.endStep(in.Owner.(*entry))
}

// advance gives an entry whose deadline has come its turn.
func (s *shard) advance(e *entry) {
	if e.link != nil && s.now >= e.link.Deadline() {
		e.link.Advance(s.now)
		s.tellEvents(e) // before the session decides by them
	}
	if e.isOwn() {
		s.own.advance()
	} else if !s.frozen && s.now >= e.session.Deadline() {
		e.session.Advance(s.envFor(e), &s.out)
	}
	s.endStep(e)
}

// envFor says what the session of e has to know for a step. What is stored of a session
// without the rest of it would be rubbish, so one that waits for its repair stores nothing
// before.
func (s *shard) envFor(e *entry) session.Env {
	env := session.Env{
		Now:      s.now,
		StoreOK:  !s.repairs.waits(e.session.ClientID()) && !s.gw.keeper.Down(),
		Overhead: e.peer.Overhead(),
	}
	s.gw.limits.admit(&env, e.known(s.now), s.gw.opts.MaxSessions)
	return env
}

// Sessions that are kept for devices that have gone (CleanSession=0) end after
// session.expiry. The list spares.ended is in the order in which they will, so there is
// nothing to search.

// expiryPace is the pause between two expiries in one shard: each is work for the store,
// which devices may be waiting for.
const expiryPace = 100 * time.Millisecond

// expire gives up the session that has been kept longest, if its time has come.
func (s *shard) expire() {
	if s.now < s.spares.nextExpiry(s.gw.opts.Expiry) {
		return
	}
	s.spares.expireAt = s.now + expiryPace
	if s.gw.stopping.Load() {
		return
	}
	e := s.spares.oldestEnded()
	if e.loading.on { // its turn comes again, and nobody's before
		s.loads.hurry(e)
		return
	}
	s.spares.noteEnded(e, false, s.now)
	if !e.session.Expire(s.envFor(e), &s.out) { // the spool is not empty: it stays for another period
		s.spares.noteEnded(e, true, s.now)
		return
	}
	s.counters.Drop(session.ReasonSessionExpired)
	s.report.remember(s.now, e, session.ReasonSessionExpired)
	s.report.expired(e)
	s.endStep(e)
}

// relief bounds how many devices one turn of a shard takes messages from.
const relief = 32

// relieve drops QoS 0 messages of those who hold more than is free.
func (s *shard) relieve() {
	for range relief {
		e := s.holders.biggest()
		if e == nil || e.counted.heldOctets <= s.gw.limits.memory.free() {
			return
		}
		e.session.Yield(s.envFor(e), &s.out)
		s.endStep(e)
	}
}

// endStep ends a step of an entry: it carries out what the session has asked for, tells it what
// that has brought on the link, until there is nothing more, and notes when the entry next
// wants its turn.
func (s *shard) endStep(e *entry) {
	s.carryOut(e)
	s.tell()
	if e.link != nil {
		s.tellEvents(e)
		e.link.Flush(s.now)
	}
	s.noteClosed()
	if e.gone {
		return
	}
	at := deadline.Never
	if e.link != nil {
		at = deadline.Coarse(e.link.Deadline(), s.now)
	}
	if e.isOwn() {
		at = min(at, s.own.retryAt)
	} else {
		if !s.frozen {
			at = min(at, e.session.ExactDeadline(), deadline.Coarse(e.session.Deadline(), s.now))
		}
		s.countHeld(e)
	}
	s.timers.Update(e, at)
}

// tellEvents tells the session of e what its link reports, and what that has brought on the
// link, until there is nothing more.
func (s *shard) tellEvents(e *entry) {
	for {
		// The session handles all of these before the link is asked again, which takes it so.
		s.events = e.link.AppendEvents(s.events[:0])
		if len(s.events) == 0 {
			return
		}
		for i := range s.events {
			if s.events[i].Kind == upstream.EventClosed {
				s.closing--
			}
			if e.isOwn() {
				s.own.event(&s.events[i])
				continue
			}
			s.report.link(s.now, e, &s.events[i])
			if s.events[i].Kind == upstream.EventBadPacket {
				continue
			}
			s.report.cause.event = &s.events[i]
			ev := toEvent(&s.events[i])
			e.session.Upstream(s.envFor(e), &ev, &s.out)
			s.carryOut(e)
			s.report.cause.event = nil
			s.tell()
		}
		clear(s.events)
	}
}

// answer has e told an event when its step is over.
func (s *shard) answer(e *entry, ev session.Event) { s.answers = append(s.answers, answer{e, ev}) }

// answerStored has e told what has become of a batch. Nobody waits for one without a token.
func (s *shard) answerStored(e *entry, token session.Token, failed bool) {
	if token != 0 {
		s.answer(e, session.Event{Kind: session.EventStored, Token: token, Failed: failed})
	}
}

// tell tells the sessions what they have been answered.
func (s *shard) tell() {
	for len(s.answers) > 0 {
		a := s.answers[0]
		s.answers = slices.Delete(s.answers, 0, 1)
		a.entry.session.Upstream(s.envFor(a.entry), &a.event, &s.out)
		s.carryOut(a.entry)
	}
}

// stop ends all sessions of the shard, or lets time pass without them from now on. left
// is told when their links are closed.
func (s *shard) stop(left chan<- struct{}) {
	wills := 0
	s.frozen = s.gw.opts.OnStop == StopKeep
	s.loads.abandon()
	for _, e := range s.roster.byID {
		if e.loading.on {
			continue
		}
		if s.frozen {
			e.session.Save(s.envFor(e), &s.out)
		} else {
			e.session.Stop(s.envFor(e), &s.out)
		}
		s.carryOut(e)
		switch {
		case e.session.WillDue() != nil:
			wills++
			s.close(e, upstream.CloseDrain)
		case e.link != nil:
			s.close(e, upstream.CloseGraceful)
		}
		s.endStep(e)
	}
	if wills > 0 && !s.gw.opts.Store.Durable() {
		s.gw.opts.Log.Warn().Int("wills", wills).Msg("stopping with unpublished wills: dropped if the broker does not answer, as there is no store")
	}
	if s.own != nil {
		s.own.stop()
	}
	s.left = left
	s.noteClosed()
}

// noteClosed tells a Stop in progress when all links are closed.
func (s *shard) noteClosed() {
	if s.left != nil && s.closing == 0 {
		s.left <- struct{}{}
		s.left = nil
	}
}

// close closes the link of e; its EventClosed comes exactly once.
func (s *shard) close(e *entry, mode upstream.CloseMode) {
	s.closing++
	e.link.Close(s.now, mode)
}
