package session

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// modelStore is a store as sessions see it: batches are committed in order, each as a
// whole, and answered at some time after that.
type modelStore struct {
	records map[string]Record // by kind and key
	batches []modelBatch      // not answered yet, oldest first
}

type modelBatch struct {
	records   []Record
	token     Token
	committed bool
	failed    bool
}

func newModelStore() *modelStore { return &modelStore{records: map[string]Record{}} }

func recordKey(kind RecordKind, key []byte) string { return string(rune(kind)) + string(key) }

// submit takes what a step has put out, as the shell does.
func (m *modelStore) submit(out *Out) {
	if len(out.Records) > 0 || out.Batch != 0 {
		m.batches = append(m.batches, modelBatch{records: slices.Clone(out.Records), token: out.Batch})
	}
}

func (m *modelStore) apply(records []Record) {
	for _, r := range records {
		switch r.Op {
		case PutRecord:
			m.records[recordKey(r.Kind, r.Key)] = Record{Kind: r.Kind, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
		case DeleteRecord:
			delete(m.records, recordKey(r.Kind, r.Key))
		case DeleteRecords:
			for k, old := range m.records {
				if old.Kind == r.Kind {
					delete(m.records, k)
				}
			}
		}
	}
}

// commit decides about the oldest batch that is not decided about; false: there is none.
func (m *modelStore) commit(ok bool) bool {
	for i := range m.batches {
		b := &m.batches[i]
		if b.committed || b.failed {
			continue
		}
		if b.committed, b.failed = ok, !ok; ok {
			m.apply(b.records)
		}
		return true
	}
	return false
}

// answer returns the answer to the oldest batch, which has been decided about.
func (m *modelStore) answer() (ev Event, ok bool) {
	if len(m.batches) == 0 || !m.batches[0].committed && !m.batches[0].failed {
		return Event{}, false
	}
	b := m.batches[0]
	m.batches = m.batches[1:]
	return Event{Kind: EventStored, Token: b.token, Failed: b.failed}, true
}

// list returns the records in the order in which a store yields them.
func (m *modelStore) list() []Record {
	var all []Record
	for _, r := range m.records {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Record) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return bytes.Compare(a.Key, b.Key)
	})
	return all
}

// loaded returns a session as it is after a restart, before Restore.
func (m *modelStore) loaded(tb testing.TB, cfg *Config, firstMsgID uint16) *Session {
	tb.Helper()
	s := newSession(cfg, "dev")
	s.StartMsgIDs(firstMsgID)
	for _, r := range m.list() {
		if err := s.Load(r.Kind, r.Key, r.Value); err != nil {
			tb.Fatalf("loading %s: %v", describeRecord(r), err)
		}
	}
	return s
}

var recordNames = [...]string{"", "session", "subscription", "exchange", "outgoing", "received", "released", "topic", "held", "spool"}

// describeRecord is "+kind" for a put, "-kind" for a removal and "--kind" for one of all.
func describeRecord(r Record) string {
	sign := [...]string{PutRecord: "+", DeleteRecord: "-", DeleteRecords: "--"}[r.Op]
	return sign + recordNames[r.Kind]
}

func describeRecords(records []Record) string {
	var names []string
	for _, r := range records {
		names = append(names, describeRecord(r))
	}
	return strings.Join(names, " ")
}
