package gateway

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"sngate/gateway/listen"
	"sngate/gateway/metrics"
	"sngate/gateway/oplog"
	"sngate/gateway/session"
	"sngate/internal/rate"
	"sngate/snpacket/sn12"
	"sngate/upstream"
)

const (
	turnSize = 32 // datagrams or inputs taken in one turn of the loop
	// idleTurn bounds how long a shard sleeps, so that one that has stopped turning
	// can be told from one that has nothing to do.
	idleTurn = 10 * time.Second
)

// shard owns the sessions of the client ids that hash to it: one goroutine, run, does
// all that is done to them, one datagram or event after the other. Other goroutines
// leave their things in the queues.
type shard struct {
	gw       *Gateway
	index    int
	queues   queues // where other goroutines leave what they have for it
	counters *metrics.Counters
	lastTurn atomic.Int64 // gateway time, ns

	// Gauges, written here and read by metrics.
	byState        []atomic.Int64
	heldMessages   atomic.Int64
	heldOctets     atomic.Int64
	spoolMessages  atomic.Int64
	unsavedClients atomic.Int64 // length of repairs

	// Owned by run.
	roster  roster
	spares  spares
	holders holders
	own     *entry // the gateway's own connection; shard 0 only
	timers  deadlines[*entry]
	now     time.Duration // read once per turn
	out     session.Out
	report  reporter
	// answered is what the store has answered at once to the entry that is being settled.
	answered []answer
	// retracted is what its link has given back to it.
	retracted []session.Event
	repairs   map[string]struct{} // client ids of which the store may not have what it should
	events    []upstream.Event
	frame     []byte // for encapsulation
	replies   rate.Limiter
	strays    rate.Limiter    // QoS -1 without a session
	farewells rate.Limiter    // answers to DISCONNECT where there is no connection
	closing   int             // links whose EventClosed is awaited
	left      chan<- struct{} // Stop waits for closing to become 0; nil: it does not
	frozen    bool            // for good: sessions stay as they are, no deadline of theirs counts
}

func newShard(gw *Gateway, index int) *shard {
	s := &shard{
		gw:       gw,
		index:    index,
		queues:   newQueues(gw.stopped),
		counters: gw.metrics.NewCounters(),
		byState:  make([]atomic.Int64, len(session.StateNames())),
		roster:   newRoster(),
		repairs:  make(map[string]struct{}),

		strays:    rate.NewLimiter(rate.PerSecond(gw.opts.StrayRate, 2*gw.opts.StrayRate)),
		replies:   rate.NewLimiter(rate.PerSecond(repliesPerSecond, replyBurst)),
		farewells: rate.NewLimiter(rate.PerSecond(farewellsPerSecond, farewellBurst)),
	}
	s.report = reporter{
		log: gw.lines, counters: s.counters, roster: &s.roster, quiet: gw.opts.QuietSessions,
		maxClientID: gw.opts.Session.MaxClientID, brokerReady: gw.brokerReady.Load,
		past: oplog.NewPast(), seen: oplog.NewSeen(),
	}
	return s
}

// shardOf picks the shard of a client id, for as long as the gateway runs.
func (g *Gateway) shardOf(clientID []byte) *shard {
	if len(g.shards) == 1 {
		return g.shards[0]
	}
	return g.shards[maphash.Bytes(g.seed, clientID)%uint64(len(g.shards))]
}

// run is the shard's goroutine. It ends when the gateway has stopped. Strangers come one
// in a turn, and whatever else waits then comes before the next one: a flood of them
// delays a known device by one of them.
func (s *shard) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.now = s.gw.now()
		s.lastTurn.Store(int64(s.now))
		for e, ok := s.timers.due(s.now); ok; e, ok = s.timers.due(s.now) {
			s.advance(e)
		}
		s.expire()
		s.relieve()
		timer.Reset(max(min(s.timers.next()-s.now, s.spares.nextExpiry(s.gw.opts.Expiry)-s.now, idleTurn), 0))
		select {
		case a := <-s.queues.arrivals:
			s.now = s.gw.now()
			s.arrive(&a)
			s.takeMore()
		case in := <-s.queues.inputs:
			s.now = s.gw.now()
			s.input(&in)
			s.takeMore()
		case a := <-s.queues.strangers:
			s.now = s.gw.now()
			s.arrive(&a)
			s.takeMore()
		case <-s.queues.posted.wake:
			s.now = s.gw.now()
			for _, f := range s.queues.posted.take() {
				f()
			}
		case <-timer.C:
		case <-s.gw.stopped:
			return
		}
	}
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
	s.settle(in.Owner.(*entry))
}

// advance gives an entry whose deadline has come its turn.
func (s *shard) advance(e *entry) {
	if e.link != nil && s.now >= e.link.Deadline() {
		e.link.Advance(s.now)
		s.noteParked(e) // before the session decides by it
	}
	if e == s.own {
		s.advanceOwn()
	} else if !s.frozen && s.now >= e.session.Deadline() {
		e.session.Advance(s.envFor(e), &s.out)
	}
	s.settle(e)
}

// settle ends a step of an entry: carries out what the session has asked for, tells it
// what that has brought on the link, until there is nothing more, and notes when the
// entry next wants its turn.
func (s *shard) settle(e *entry) {
	s.carryOut(e)
	s.takeAnswers(e)
	for e.link != nil {
		s.events = e.link.AppendEvents(s.events[:0])
		if len(s.events) == 0 {
			break
		}
		for i := range s.events {
			if s.events[i].Kind == upstream.EventClosed {
				s.closing--
			}
			if e == s.own {
				s.ownEvent(&s.events[i])
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
			s.takeAnswers(e)
		}
		clear(s.events)
	}
	if e.link != nil {
		s.noteParked(e)
		s.takeAnswers(e)
		e.link.Flush(s.now)
	}
	s.noteClosed()
	if e.gone {
		return
	}
	at := never
	if e.link != nil {
		at = e.link.Deadline()
	}
	if e == s.own {
		at = min(at, s.gw.own.retryAt)
	} else {
		if !s.frozen {
			at = min(at, e.session.Deadline())
		}
		s.countHeld(e)
	}
	s.timers.update(e, at)
}

// noteParked tells the session when its link waits for the device to speak, and the link
// whether there are messages for the broker.
func (s *shard) noteParked(e *entry) {
	if e != s.own {
		e.link.Want(s.now, e.session.Delivering())
	}
	parked := e.link.Parked()
	switch {
	case !parked || e.parked:
	case e == s.own:
		s.ownParked()
	default:
		s.report.parked(e)
		e.session.Upstream(s.envFor(e), &session.Event{Kind: session.EventParked}, &s.out)
		s.carryOut(e)
	}
	e.parked = parked
}

// carryOut does what a step of e's session has left in s.out.
func (s *shard) carryOut(e *entry) {
	o := &s.out
	for i := range o.Datagrams() {
		s.send(e, o.Datagram(i))
	}
	if len(o.Drops) > 0 {
		s.report.drops(s.now, e, o)
	}
	for _, t := range o.Retries {
		s.counters.Retransmit(byte(t))
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
	if s.keep(e); free {
		s.forget(e) // after its records, which go with it
	}
	o.Reset()
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
		_, err = s.gw.listeners[p.Listener].Conn.WriteTo(frame, p.Addr)
	}
	if err != nil {
		s.counters.Drop(session.ReasonSendFailed)
		return false
	}
	s.gw.tracer.Datagram(true, p, datagram)
	s.counters.Sent(messageType(datagram), len(frame))
	if p.Node != "" {
		s.counters.Sent(byte(sn12.TypeEncapsulated), 0)
	}
	return true
}

// countHeld brings what the gauges count of e up to date. Most steps change none of it,
// and shards share some of them.
func (s *shard) countHeld(e *entry) {
	s.noteKept(e)
	n, b := e.session.Held()
	if n != e.heldMessages || b != e.heldOctets {
		s.heldMessages.Add(int64(n - e.heldMessages))
		s.heldOctets.Add(int64(b - e.heldOctets))
		s.gw.budget.add(b - e.heldOctets)
		s.gw.heldStore.add(b - e.heldOctets)
		e.heldMessages, e.heldOctets = n, b
	}
	if !e.session.Sheddable() {
		s.holders.note(e, 0)
	} else {
		s.holders.note(e, b)
	}
	if n, b = e.session.Spooled(); n != e.spoolMessages || b != e.spoolOctets {
		s.spoolMessages.Add(int64(n - e.spoolMessages))
		s.gw.spoolOctets.Add(int64(b - e.spoolOctets))
		s.gw.budget.add(b - e.spoolOctets)
		e.spoolMessages, e.spoolOctets = n, b
	}
}

// forget removes an entry whose session is over.
func (s *shard) forget(e *entry) {
	if e.gone {
		return
	}
	e.gone = true
	if e.counted {
		s.byState[e.state].Add(-1)
	}
	s.heldMessages.Add(int64(-e.heldMessages))
	s.heldOctets.Add(int64(-e.heldOctets))
	s.gw.budget.add(-e.heldOctets - e.spoolOctets)
	s.gw.heldStore.add(-e.heldOctets)
	s.countKept(e, 0)
	s.holders.note(e, 0)
	s.spoolMessages.Add(int64(-e.spoolMessages))
	s.gw.spoolOctets.Add(int64(-e.spoolOctets))
	if e.session.Stored() {
		s.erase(e.session.ClientID())
	}
	s.spares.noteEnded(e, false, s.now)
	s.unbind(e)
	s.timers.remove(e)
	s.report.past.Put(e.session.ClientID(), e.refusals)
	if s.forgetClaim(e) {
		return
	}
	s.roster.remove(e)
	s.gw.sessions.Add(-1)
}
