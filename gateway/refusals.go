package gateway

import (
	"github.com/rs/zerolog"

	"sngate/gateway/oplog"
	"sngate/gateway/session"
	"sngate/upstream"
)

// cause is what a session is being fed with: it tells what was dropped.
type cause struct {
	datagram []byte
	event    *upstream.Event
}

// noteDrops counts what a step of e's session has dropped or refused, and logs the first
// of each reason and minute.
func (s *shard) noteDrops(e *entry) {
	for i, why := range s.out.Drops {
		s.counters.Drop(why)
		s.noteRefusal(e, why, s.out.About(i))
	}
}

func (s *shard) refusalsOf(e *entry) *oplog.Refusals {
	if e.refusals == nil {
		e.refusals = oplog.NewRefusals()
	}
	return e.refusals
}

// remember is noteRefusal without a line in the log.
func (s *shard) remember(e *entry, why session.Reason) {
	f, _ := s.refusalsOf(e).Note(s.now, why)
	f.Explanation = oplog.Explanation{Advice: oplog.Advice(why)}
	f.Untold()
}

// noteRefusal logs what was dropped or refused of a device or for it, if it is the first of
// its reason and minute, and keeps it for who asks.
func (s *shard) noteRefusal(e *entry, why session.Reason, about session.About) {
	f, fresh := s.refusalsOf(e).Note(s.now, why)
	if !fresh {
		return
	}
	if ev := s.cause.event; ev != nil && s.cause.datagram == nil && about.Topic == "" {
		about = session.About{Topic: ev.Topic, Octets: len(ev.Payload)}
	}
	f.Explanation = s.gw.lines.Explain(e.session, why, s.cause.datagram, about)
	kind := oplog.Strangers
	if e.accepted {
		kind = oplog.Devices
	}
	if why == session.ReasonBrokerRefused || why == session.ReasonBrokerUnreachable {
		f.Untold()
		return // logLink has told it
	}
	level := zerolog.InfoLevel
	if why == session.ReasonDuplicate { // the broker's, and no loss
		level = zerolog.DebugLevel
	}
	s.gw.lines.Refusal(kind, level, e.session.ClientID(), e.peer, why, &f.Explanation, f.Untold())
}

// refusedWithout notes what was refused to somebody who has no session here, or not that
// of the client id that they name: there it shows.
func (s *shard) refusedWithout(a *arrival, why session.Reason) {
	s.counters.Drop(why)
	id, x := s.gw.lines.Stranger(s.strangersSeen, s.now, a.peer, a.body, why)
	if x == nil || id == "" || len(id) > s.gw.opts.Session.MaxClientID {
		return
	}
	var r *oplog.Refusals
	if e := s.clients[id]; e != nil {
		r = s.refusalsOf(e)
	} else if r = s.past.Find(id); r == nil {
		r = oplog.NewRefusals()
		s.past.Put(id, r)
	}
	f, _ := r.Note(s.now, why)
	f.Explanation = *x
}
