package gateway

import (
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/oplog"
	"sngate/gateway/session"
)

// drops counts what a step of e's session has dropped or refused, and logs the first of each
// reason and minute.
func (r *reporter) drops(now time.Duration, e *entry, out *session.Out) {
	for i, why := range out.Drops {
		r.counters.Drop(why)
		r.refusal(now, e, why, out.About(i))
	}
}

// refusalsOf returns what is remembered of the device of e.
func (e *entry) refusalsOf() *oplog.Refusals {
	if e.refusals == nil {
		e.refusals = oplog.NewRefusals()
	}
	return e.refusals
}

// remember is refusal without a line in the log.
func (r *reporter) remember(now time.Duration, e *entry, why session.Reason) {
	f, _ := e.refusalsOf().Note(now, why)
	f.Explanation = oplog.Explanation{Advice: oplog.Advice(why)}
	f.Untold()
}

// refusal logs what was dropped or refused of a device or for it, if it is the first of
// its reason and minute, and keeps it for who asks.
func (r *reporter) refusal(now time.Duration, e *entry, why session.Reason, about session.About) {
	f, fresh := e.refusalsOf().Note(now, why)
	if !fresh {
		return
	}
	if ev := r.cause.event; ev != nil && r.cause.datagram == nil && about.Topic == "" {
		about = session.About{Topic: ev.Topic, Octets: len(ev.Payload)}
	}
	f.Explanation = r.log.Explain(e.session, why, r.cause.datagram, about)
	kind := oplog.Strangers
	if e.accepted {
		kind = oplog.Devices
	}
	if why == session.ReasonBrokerRefused || why == session.ReasonBrokerUnreachable || why == session.ReasonNoCredentials {
		f.Untold()
		return // link has told it
	}
	r.log.Refusal(kind, zerolog.InfoLevel, e.session.ClientID(), e.peer, why, &f.Explanation, f.Untold())
}

// refusedWithout notes what was refused to somebody who has no session here, or not that
// of the client id that they name: there it shows.
func (r *reporter) refusedWithout(now time.Duration, a *arrival, why session.Reason) {
	r.counters.Drop(why)
	id, x := r.log.Stranger(r.seen, now, a.peer, a.frame.Message, why)
	if x == nil || id == "" || len(id) > r.maxClientID {
		return
	}
	var refusals *oplog.Refusals
	if e := r.roster.find(id); e != nil {
		refusals = e.refusalsOf()
	} else if refusals = r.past.Find(id); refusals == nil {
		refusals = oplog.NewRefusals()
		r.past.Put(id, refusals)
	}
	f, _ := refusals.Note(now, why)
	f.Explanation = *x
}
