package session

import (
	"bytes"
	"testing"

	"sngate/snpacket/sn12"
	"sngate/topicreg"
)

// loadScript feeds Load the records of script: kind, length of the key, length of the
// value, key, value. Of RecordSession there are all versions. It returns the session, and whether there is one.
func loadScript(script []byte) (s *Session, out Out, known bool) {
	cfg := testConfig()
	cfg.Durable, cfg.Spool, cfg.SpoolMessages, cfg.SpoolBytes, cfg.SpoolAge = true, true, 100, 1<<20, 1e12
	s = newSession(cfg, "dev")
	for len(script) >= 3 {
		kind, k, v := RecordKind(script[0]%12), int(script[1]), int(script[2])
		script = script[3:]
		k = min(k, len(script))
		key := script[:k]
		v = min(v, len(script)-k)
		value := script[k : k+v]
		for _, migrate := range []Migration{MigrateFrom1, MigrateFrom2} {
			if migrated, err := migrate(kind, key, value); err == nil {
				value = migrated
			}
		}
		_ = s.Load(kind, key, value)
		script = script[k+v:]
	}
	known = s.Restore(envAt(epoch), &out)
	return s, out, known
}

func appendScript(script []byte, records []Record) []byte {
	for _, r := range records {
		script = append(script, byte(r.Kind), byte(len(r.Key)), byte(len(r.Value)))
		script = append(append(script, r.Key...), r.Value...)
	}
	return script
}

// FuzzLoad takes records from anybody: Load does not panic, what it has taken can be
// gone on with, and what Snapshot makes of it is taken back as it was.
func FuzzLoad(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendScript(nil, richRecords(f)))
	f.Add(appendScript(nil, goldenRecords(f, 1)))
	f.Add(appendScript(nil, goldenRecords(f, 2)))
	f.Fuzz(func(t *testing.T, script []byte) {
		s, out, known := loadScript(script[:min(len(script), 4096)])
		if !known {
			return
		}
		useSession(s, &out)
		// The first restart may settle what is due, as a will; the second changes nothing.
		once, known := restarted(t, s)
		if !known {
			return // lost meanwhile, and not to be kept
		}
		twice, known := restarted(t, once)
		if !known {
			t.Fatal("gone with the second restart")
		}
		sameRecords(t, snapshot(once), snapshot(twice))
	})
}

func snapshot(s *Session) []Record {
	var out Out
	s.Snapshot(envAt(epoch), &out)
	m := newModelStore()
	m.apply(out.Records)
	return m.list()
}

func restarted(t *testing.T, s *Session) (after *Session, known bool) {
	t.Helper()
	var out Out
	s.Snapshot(envAt(epoch), &out)
	m := newModelStore()
	m.apply(out.Records)
	after = m.loaded(t, s.cfg, 0)
	out.Reset()
	return after, after.Restore(envAt(epoch), &out)
}

// useSession uses a session as the shell would.
func useSession(s *Session, out *Out) {
	step := func(f func()) {
		out.Reset()
		f()
	}
	step(func() { s.Upstream(envAt(epoch), &Event{Kind: EventUp, SessionPresent: true}, out) })
	ping, _ := sn12.PingReq{ClientID: []byte("dev")}.Append(nil)
	step(func() { s.Datagram(envAt(epoch), ping, out) })
	for range 8 {
		if token := out.Batch; token != 0 {
			step(func() { s.Upstream(envAt(epoch), &Event{Kind: EventStored, Token: token}, out) })
		}
	}
	if at := s.Deadline(); at != Never {
		step(func() { s.Advance(envAt(max(at, epoch)), out) })
	}
	for len(s.journal.waiting) > 0 {
		token := s.journal.waiting[0].batch
		step(func() { s.Upstream(envAt(epoch), &Event{Kind: EventStored, Token: token}, out) })
	}
}

func sameRecords(t *testing.T, a, b []Record) {
	t.Helper()
	same := len(a) == len(b)
	for i := 0; same && i < len(a); i++ {
		same = a[i].Kind == b[i].Kind && bytes.Equal(a[i].Key, b[i].Key) && bytes.Equal(a[i].Value, b[i].Value)
	}
	if !same {
		t.Errorf("%s\nbecomes\n%s", describeRecords(a), describeRecords(b))
	}
}

// richRecords has one record of each kind.
func richRecords(tb testing.TB) []Record {
	tb.Helper()
	var out Out
	s := newSession(durableConfig(), "dev")
	s.state, s.kept, s.presence.duration, s.presence.sleepFor = StateAsleep, true, 60, 600
	s.presence.accepted = connectParams{will: true, duration: 60}
	s.wills.current = &Will{Topic: "w", Message: []byte("gone"), QoS: 1, Retain: true}
	s.journal.known = true
	s.subs.list = []subscription{{filter: "a/+", qos: 2}}
	if s.ids.topics.Restore(3, "a/b", topicreg.State{Allotted: true, Told: true, Own: true}) != nil ||
		s.ids.topics.Restore(7, "p/q", topicreg.State{Told: true, Own: true}) != nil {
		tb.Fatal("topic ids")
	}
	s.custody.unreleased = []unreleased{{slot: 9, identity: Identity{0, 9, 0, 0, 1}}}
	s.custody.outgoing = outgoingRecord{msgID: 5, identity: Identity{0, 9}, number: 2}
	s.up.window = []inflight{{msgID: 4, topicID: 3, sum: 77, qos: 2, stage: upAnswered, stored: true, waitUntil: Never}}
	s.down.queue.push(outgoing{number: 2, custodian: ours, qos: 2, topic: "a/b", payload: []byte("down"), retain: true})
	s.up.spool.push(spooled{number: 6, exchange: 4, qos: 2, topic: "a/b", payload: []byte("up"), stage: upReleased, released: true})
	s.up.spool.push(spooled{number: 8, qos: 1, topic: "a/b", stage: upWaiting})
	s.Snapshot(envAt(epoch), &out)
	m := newModelStore()
	m.apply(out.Records)
	if got := len(m.list()); got != 11 {
		tb.Fatalf("%d records, want 11: %s", got, describeRecords(m.list()))
	}
	return m.list()
}

func TestSnapshotIsTakenBackAsItWas(t *testing.T) {
	records := richRecords(t)
	m := newModelStore()
	m.apply(records)
	s := m.loaded(t, durableConfig(), 0)
	var out Out
	if !s.Restore(envAt(epoch), &out) || s.State() != StateAsleep {
		t.Fatalf("state %v", s.State())
	}
	sameRecords(t, records, snapshot(s))
}

// A record that makes no sense, of every kind and cut at every octet, changes nothing.
func TestMalformedRecordsChangeNothing(t *testing.T) {
	for _, r := range richRecords(t) {
		for cut := range len(r.Value) {
			s := newSession(durableConfig(), "dev")
			if s.Load(r.Kind, r.Key, r.Value[:cut]) == nil {
				continue // a payload, a will or a name may be shorter
			}
			if s.journal.known || len(s.subs.list)+len(s.up.window)+s.down.queue.len()+s.up.spool.len()+len(s.custody.unreleased)+s.ids.topics.Len() > 0 {
				t.Errorf("%s cut to %d octets is refused and taken all the same", describeRecord(r), cut)
			}
		}
		if len(r.Key) == 0 || r.Kind == RecordSubscription {
			continue
		}
		if s := newSession(durableConfig(), "dev"); s.Load(r.Kind, r.Key[1:], r.Value) == nil {
			t.Errorf("%s with a short key is taken", describeRecord(r))
		}
	}
}
