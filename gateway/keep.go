package gateway

import (
	"errors"
	"net/netip"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/gateway/oplog"
	"sngate/gateway/persist"
	"sngate/gateway/session"
	"sngate/store"
)

// This file is how a shard stores what its sessions leave to be stored, and takes the store's
// answers. What is committed before what is the session's business.

// keep gives the store the records that a step has left in s.out, as one batch. What
// the store answers comes back to the session as an event.
func (s *shard) keep(e *entry) {
	o := &s.out
	token := o.Batch
	if len(o.Records) == 0 && token == 0 {
		return
	}
	done := func(err error) {
		if err != nil || token != 0 {
			s.queues.post(func() { s.stored(e, token, err) })
		}
	}
	// A batch without records is answered behind those before it, which may have what it
	// was thought to need.
	if !s.gw.keeper.Submit(e.session.ClientID(), o.Records, func() persist.Entry { return s.entryRecord(e) }, done) {
		s.unsaved(e.session.ClientID())
		s.answered = append(s.answered, answer{token: token, failed: true})
	}
}

// answer is the store's to a batch.
type answer struct {
	token  session.Token
	failed bool
}

// entryRecord is what the shell adds to the record of e's session.
func (s *shard) entryRecord(e *entry) persist.Entry {
	r := persist.Entry{Ended: -1, Node: e.peer.Node, Home: e.homeNow()}
	if e.ended != nil {
		r.Ended = s.gw.keeper.Running(e.endedAt)
	}
	if e.bound {
		r.Listener, r.Addr = s.gw.opts.Listeners[e.peer.Listener].Address, e.peer.Addr.String()
	}
	return r
}

// peerOf finds where a device was, if that listener is still there.
func (g *Gateway) peerOf(r *persist.Entry) (listen.Peer, bool) {
	addr, err := netip.ParseAddrPort(r.Addr)
	if err != nil {
		return listen.Peer{}, false
	}
	for i := range g.opts.Listeners {
		if g.opts.Listeners[i].Address == r.Listener {
			return listen.Peer{Listener: i, Addr: addr, Node: r.Node}, true
		}
	}
	return listen.Peer{}, false
}

// stored takes the store's answer to a batch of e.
func (s *shard) stored(e *entry, token session.Token, err error) {
	if err != nil {
		s.failed(e.session.ClientID(), err)
	}
	if e.gone {
		return
	}
	s.answered = append(s.answered, answer{token: token, failed: err != nil})
	s.settle(e)
}

// takeAnswers tells e what its link has given back, and what the store has answered.
func (s *shard) takeAnswers(e *entry) {
	for len(s.retracted) > 0 {
		ev := s.retracted[0]
		s.retracted = s.retracted[:copy(s.retracted, s.retracted[1:])]
		e.session.Upstream(s.envFor(e), &ev, &s.out)
		s.carryOut(e)
	}
	for len(s.answered) > 0 {
		a := s.answered[0]
		s.answered = s.answered[:copy(s.answered, s.answered[1:])]
		if a.token != 0 {
			e.session.Upstream(s.envFor(e), &session.Event{Kind: session.EventStored, Token: a.token, Failed: a.failed}, &s.out)
			s.carryOut(e)
		}
	}
}

// failed notes that the store has answered a batch of a client with an error. One that no
// store would take says nothing of this one, and would be the same again: its session is
// told, and that is all.
func (s *shard) failed(clientID string, err error) {
	if errors.Is(err, store.ErrInvalid) {
		s.gw.lines.At(oplog.Faults, zerolog.ErrorLevel, clientID, err.Error()).Str("client_id", clientID).Err(err).Msg("a change to a session cannot be stored: this is a fault of the gateway")
		return
	}
	s.unsaved(clientID)
}

// unsaved notes that the store may not have what it should of a client, and that it
// does not work. The list is bounded by sessions; what does not fit is found again as
// it was when the gateway restarts.
func (s *shard) unsaved(clientID string) {
	s.gw.keeper.Failed()
	if len(s.repairs) < 2*s.gw.opts.MaxSessions {
		s.repairs[clientID] = struct{}{}
		s.unsavedClients.Store(int64(len(s.repairs)))
	}
}

// repair makes up for what the store has not taken, now that it works again. It leaves
// half of the store's queue to the sessions that go on, so it continues when what it has
// put there is written.
func (s *shard) repair() {
	for clientID := range s.repairs {
		if s.gw.keeper.Down() {
			return // storeWorks begins again
		}
		if s.gw.keeper.Busy() {
			if !s.gw.keeper.Submit("", nil, nil, func(error) { s.queues.post(s.repair) }) {
				s.gw.keeper.Failed()
			}
			return
		}
		delete(s.repairs, clientID)
		s.unsavedClients.Store(int64(len(s.repairs)))
		e := s.roster.find(clientID)
		if e == nil || !e.session.Stored() {
			s.erase(clientID)
			continue
		}
		e.session.Snapshot(s.envFor(e), &s.out)
		s.settle(e)
	}
}

// erase removes all that is stored of a client.
func (s *shard) erase(clientID string) {
	done := func(err error) {
		if err != nil {
			s.queues.post(func() { s.failed(clientID, err) })
		}
	}
	if !s.gw.keeper.Erase(clientID, done) {
		s.unsaved(clientID)
	}
}

// envFor says what the session of e has to know for a step. What is stored of a session
// without the rest of it would be rubbish, so one that waits for its repair stores nothing
// before.
func (s *shard) envFor(e *entry) session.Env {
	g, waits := s.gw, false
	if len(s.repairs) > 0 {
		_, waits = s.repairs[e.session.ClientID()]
	}
	return session.Env{
		Now:       s.now,
		StoreOK:   !waits && !g.keeper.Down(),
		SpoolRoom: g.spoolOctets.Load() < g.spoolLimit,
		HeldRoom:  g.heldStore.limit <= 0 || g.heldStore.free() > 0,
		KeepLimit: s.keepLimit(e),
		Allowance: g.budget.free(),
		Overhead:  e.peer.Overhead(),
	}
}
