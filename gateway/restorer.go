package gateway

import (
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/oplog"
	"sngate/gateway/persist"
)

// restorer is how a shard restores the sessions of entries that are being loaded: a few at a
// time, while it serves those that are there. Its methods are the shard's to call.
type restorer struct{ *shard }

// loadRetry is the pause before the store is asked again for a client that it could not read.
const loadRetry = time.Second

// more asks the store for the next ones. Each answer asks for more.
func (t restorer) more() {
	if t.gw.stopping.Load() {
		return
	}
	for e := t.loads.next(); e != nil; e = t.loads.next() {
		answer := func(c persist.Client, err error) { t.queues.post(func() { t.answered(e, c, err) }) }
		if !t.gw.keeper.LoadClient(e.session.ClientID(), answer) {
			t.later(e)
		}
	}
}

// answered takes the store's answer. A session that the store cannot read stays as it is, and so
// does one that the gateway stops before: of neither is anything stored or erased.
func (t restorer) answered(e *entry, c persist.Client, err error) {
	if t.gw.stopping.Load() {
		return
	}
	if err == nil {
		t.restore(e, c)
	} else {
		id := e.session.ClientID()
		t.gw.lines.At(oplog.Faults, zerolog.WarnLevel, id, err.Error()).Str("client_id", id).Err(err).Msg("reading a session from the store failed, retrying")
		t.later(e)
	}
	t.more()
}

// later has the store asked again after a pause.
func (t restorer) later(e *entry) {
	t.spares.postpone(e)
	if t.loads.fail(e) {
		time.AfterFunc(loadRetry, func() {
			t.queues.post(func() {
				t.loads.retry()
				t.more()
			})
		})
	}
}

// restore rebuilds a session from its records, and lets it handle what its device has sent
// meanwhile.
func (t restorer) restore(e *entry, c persist.Client) {
	evicted := e.loading.evicted
	waiters := t.loads.loaded(e)
	faults := c.Rest(e.session.Load)
	e.setHome(e.home)
	sessions := 1
	if e.session.Restore(t.envFor(e), &t.out) {
		t.endStep(e)
	} else {
		sessions = 0
		t.out.Reset()
		t.forget(e)
	}
	if evicted && !e.gone {
		e.session.AddressReused(t.envFor(e), &t.out)
		t.endStep(e)
	}
	for i := range waiters {
		t.late(e, &waiters[i])
	}
	t.loads.count.done(sessions, faults)
}

// late handles what has waited for the session of e.
func (t restorer) late(e *entry, w *waiter) {
	if !t.loads.outdated(e, w) {
		t.arrive(&w.arrival)
		return
	}
	t.loads.drop(t.now, e, &w.arrival)
	w.datagram.Recycle()
	if w.connect != nil {
		w.connect.handled()
	}
}
