package gateway

// How a shard stores what its sessions leave to be stored, and takes the store's answers. What
// is committed before what is the session's business.

import (
	"errors"
	"slices"

	"github.com/rs/zerolog"

	"sngate/gateway/oplog"
	"sngate/gateway/persist"
	"sngate/gateway/session"
	"sngate/store"
)

// storeRecords submits the records that a step has left in s.out to the store, as one batch. The
// answer comes back to the session as an event.
func (s *shard) storeRecords(e *entry) {
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
	// was thought to need. That something is removed, as a message that has been delivered, may
	// wait for company if nothing follows from it.
	lazy := token == 0 && !slices.ContainsFunc(o.Records, func(r session.Record) bool { return r.Op == session.PutRecord })
	if !s.gw.keeper.Submit(e.session.ClientID(), o.Records, func() persist.Entry { return s.entryRecord(e) }, done, lazy) {
		s.repairs.add(e.session.ClientID(), 2*s.gw.opts.MaxSessions)
		s.answerStored(e, token, true)
	}
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

// stored takes the store's answer to a batch of e.
func (s *shard) stored(e *entry, token session.Token, err error) {
	if err != nil {
		s.failed(e.session.ClientID(), err)
	}
	if e.gone {
		return
	}
	s.answerStored(e, token, err != nil)
	s.endStep(e)
}

// failed notes that the store has answered a batch of a client with an error. One that no
// store would take says nothing of this one, and would be the same again: its session is
// told, and that is all.
func (s *shard) failed(clientID string, err error) {
	if errors.Is(err, store.ErrInvalid) {
		s.gw.lines.At(oplog.Faults, zerolog.ErrorLevel, clientID, err.Error()).Str("client_id", clientID).Err(err).Msg("storing a session failed: fault of the gateway")
		return
	}
	s.repairs.add(clientID, 2*s.gw.opts.MaxSessions)
}

// repair makes up for what the store has not stored, now that it works again. It leaves half of
// the store's queue to the other sessions, so it continues when what it has put there is
// written.
func (s *shard) repair() {
	for clientID := range s.repairs.clients {
		if s.gw.keeper.Down() {
			return // storeWorks begins again
		}
		if s.gw.keeper.Busy() {
			if !s.gw.keeper.Submit("", nil, nil, func(error) { s.queues.post(s.repair) }, false) {
				s.gw.keeper.Failed()
			}
			return
		}
		s.repairs.remove(clientID)
		e := s.roster.find(clientID)
		if e != nil && e.loading.on { // nothing of it has been changed
			continue
		}
		if e == nil || !e.session.Stored() {
			s.erase(clientID)
			continue
		}
		e.session.Snapshot(s.envFor(e), &s.out)
		s.endStep(e)
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
		s.repairs.add(clientID, 2*s.gw.opts.MaxSessions)
	}
}
