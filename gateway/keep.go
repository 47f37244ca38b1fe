package gateway

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/gateway/oplog"
	"sngate/gateway/session"
	"sngate/internal/binrec"
	"sngate/store"
)

// This file is the way of sessions' records into the store. Each key begins with the
// client id and a zero octet, which no client id has.

// recordPlace is where records of a kind are: a bucket and, where several kinds share one, a
// letter before the key.
type recordPlace struct {
	bucket store.Bucket
	letter string
}

// places is indexed by session.RecordKind. It is part of the file's format.
var places = [...]recordPlace{
	session.RecordSession:      {store.Sessions, "S"},
	session.RecordSubscription: {store.Sessions, "F"},
	session.RecordExchange:     {store.Sessions, "X"},
	session.RecordOutgoing:     {store.Sessions, "O"},
	session.RecordReceived:     {store.Sessions, "R"},
	session.RecordReleased:     {store.Sessions, "L"},
	session.RecordTopic:        {store.Topics, ""},
	session.RecordHeld:         {store.Held, ""},
	session.RecordSpool:        {store.Spool, ""},
}

// Records that belong to no client: the running time, see Gateway.running, and the digest
// of the predefined topics of the last run.
const (
	clockKey      = "\x00clock"
	predefinedKey = "\x00predefined"
)

// clockEvery is how often it is written: what a crash takes back of it.
const clockEvery = 10 * time.Minute

// keep gives the store the records that a step has left in s.out, as one batch. What
// the store answers comes back to the session as an event.
func (s *shard) keep(e *entry) {
	o := &s.out
	token := o.Batch
	if len(o.Records) == 0 && token == 0 {
		return
	}
	// A batch without records is answered behind those before it, which may have what it
	// was thought to need.
	ops := make([]store.Op, len(o.Records))
	for i := range o.Records {
		ops[i] = s.toOp(e, &o.Records[i])
	}
	done := func(err error) {
		if err != nil || token != 0 {
			s.posted.post(func() { s.stored(e, token, err) })
		}
	}
	if !s.gw.opts.Store.Submit(store.Batch{Ops: ops, Done: done}) {
		s.unsaved(e.session.ClientID())
		s.answered = append(s.answered, answer{token: token, failed: true})
	}
}

// answer is the store's to a batch.
type answer struct {
	token  session.Token
	failed bool
}

func (s *shard) toOp(e *entry, r *session.Record) store.Op {
	at := places[r.Kind]
	op := store.Op{Bucket: at.bucket, Key: keyOf(e.session.ClientID(), at.letter, r.Key), Value: r.Value}
	switch {
	case r.Op == session.DeleteRecord:
		op.Kind = store.Delete
	case r.Op == session.DeleteRecords:
		op.Kind = store.DeletePrefix
	case r.Kind == session.RecordSession:
		at := s.entryRecord(e)
		op.Value = at.append(nil).Octets(r.Value)
	}
	return op
}

func keyOf(clientID, letter string, key []byte) []byte {
	return binrec.New(len(clientID) + 2 + len(key)).Text(clientID).U8(0).Text(letter).Octets(key)
}

// entryRecord is what the shell adds to RecordSession: where the device is, which broker has
// the session, and when the device's connection ended.
type entryRecord struct {
	ended                time.Duration // running time; negative: it has not
	listener, addr, node string
	home                 string // a broker's address
}

func (s *shard) entryRecord(e *entry) entryRecord {
	r := entryRecord{ended: -1, node: e.peer.Node, home: e.homeNow()}
	if e.ended != nil {
		r.ended = s.gw.running(e.endedAt)
	}
	if e.bound {
		r.listener, r.addr = s.gw.opts.Listeners[e.peer.Listener].Address, e.peer.Addr.String()
	}
	return r
}

// append puts the record before that of the session.
func (r *entryRecord) append(b binrec.Writer) binrec.Writer {
	return b.U64(uint64(r.ended)).Text16(r.listener).Text16(r.addr).Text16(r.node).Text16(r.home)
}

var errEntryRecord = errors.New("malformed record of a session")

// parseEntry reads what append has written. rest is the session's record, a part of b.
func parseEntry(b []byte) (r entryRecord, rest []byte, err error) {
	f := binrec.NewReader(b)
	r = entryRecord{ended: time.Duration(f.U64()), listener: f.Text16(), addr: f.Text16(), node: f.Text16(), home: f.Text16()}
	if rest = f.Rest(); f.Malformed() {
		return entryRecord{}, nil, errEntryRecord
	}
	return r, rest, nil
}

// peerOf finds where a device was, if that listener is still there.
func (g *Gateway) peerOf(r *entryRecord) (listen.Peer, bool) {
	addr, err := netip.ParseAddrPort(r.addr)
	if err != nil {
		return listen.Peer{}, false
	}
	for i := range g.opts.Listeners {
		if g.opts.Listeners[i].Address == r.listener {
			return listen.Peer{Listener: i, Addr: addr, Node: r.node}, true
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
	s.gw.storeDown.Store(true)
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
		if s.gw.storeDown.Load() {
			return // storeWorks begins again
		}
		if s.gw.storeBusy() {
			if !s.gw.opts.Store.Submit(store.Batch{Done: func(error) { s.posted.post(s.repair) }}) {
				s.gw.storeDown.Store(true)
			}
			return
		}
		delete(s.repairs, clientID)
		s.unsavedClients.Store(int64(len(s.repairs)))
		e := s.clients[clientID]
		if e == nil || !e.session.Stored() {
			s.erase(clientID)
			continue
		}
		e.session.Snapshot(s.envFor(e), &s.out)
		s.settle(e)
	}
}

// storeBusy reports whether the store's queue is more than half full.
func (g *Gateway) storeBusy() bool {
	stats := g.opts.Store.Stats()
	return stats.Queued > store.DefaultQueueBatches/2 || stats.QueuedBytes > store.DefaultQueueBytes/2
}

// erase removes all that is stored of a client.
func (s *shard) erase(clientID string) {
	var ops []store.Op
	for b := store.Sessions; b <= store.Spool; b++ {
		ops = append(ops, store.Op{Bucket: b, Kind: store.DeletePrefix, Key: keyOf(clientID, "", nil)})
	}
	done := func(err error) {
		if err != nil {
			s.posted.post(func() { s.failed(clientID, err) })
		}
	}
	if !s.gw.opts.Store.Submit(store.Batch{Ops: ops, Done: done}) {
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
		StoreOK:   !waits && !g.storeDown.Load(),
		SpoolRoom: g.spoolOctets.Load() < g.spoolLimit,
		HeldRoom:  g.heldStore.limit <= 0 || g.heldStore.free() > 0,
		KeepLimit: s.keepLimit(e),
		Allowance: g.budget.free(),
		Overhead:  e.peer.Overhead(),
	}
}

// running is the time for which the gateway has been running at now, all its lives
// together: what is to last longer than a process is measured by it. A wall clock may
// jump by years on a machine that has no clock of its own.
func (g *Gateway) running(now time.Duration) time.Duration { return g.lived + now }

func (g *Gateway) saveClock() {
	g.saveOwn(clockKey, binrec.New(8).U64(uint64(g.running(g.now()))))
}

// saveOwn stores a record of the gateway's own. If that fails, storeWorks does it again.
func (g *Gateway) saveOwn(key string, value []byte) {
	done := func(err error) {
		if err != nil {
			g.storeDown.Store(true)
		}
	}
	if !g.opts.Store.Submit(store.Batch{Ops: []store.Op{{Bucket: store.Sessions, Key: []byte(key), Value: value}}, Done: done}) {
		g.storeDown.Store(true)
	}
}

// storeWorks lets sessions use the store again after a failure.
func (g *Gateway) storeWorks() {
	if g.storeDown.Swap(false) {
		g.saveBroker()
		g.savePredefined()
		for _, s := range g.shards {
			s.posted.post(s.repair)
		}
	}
}

// splitKey takes a key of the store apart.
func splitKey(b store.Bucket, key []byte) (clientID []byte, kind session.RecordKind, rest []byte, ok bool) {
	i := bytes.IndexByte(key, 0)
	if i <= 0 {
		return nil, 0, nil, false
	}
	clientID, rest = key[:i], key[i+1:]
	for kind := session.RecordSession; int(kind) < len(places); kind++ {
		if p := places[kind]; p.bucket == b && bytes.HasPrefix(rest, []byte(p.letter)) {
			return clientID, kind, rest[len(p.letter):], true
		}
	}
	return nil, 0, nil, false
}
