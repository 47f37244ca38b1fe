package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sngate/store"
)

// records is a store's content: bucket, a slash, the key.
type records map[string]string

func dump(t testing.TB, s store.Store) records {
	t.Helper()
	got := make(records)
	err := s.Load(func(b store.Bucket, key, value []byte) error {
		got[b.String()+"/"+string(key)] = string(value)
		return nil
	})
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return got
}

func open(t testing.TB, path string, opts Options) (*fileStore, *Report) {
	t.Helper()
	s, rep, err := Open(path, opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*fileStore), rep
}

func newStore(t testing.TB) (*fileStore, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sngate.db")
	s, _ := open(t, path, Options{Version: "test"})
	return s, path
}

// write submits ops as one batch and waits for the answer.
func write(t testing.TB, s store.Store, ops ...store.Op) error {
	t.Helper()
	answer := make(chan error, 1)
	if !s.Submit(store.Batch{Ops: ops, Done: func(err error) { answer <- err }}) {
		t.Fatal("submit: refused")
	}
	return <-answer
}

func mustWrite(t testing.TB, s store.Store, ops ...store.Op) {
	t.Helper()
	if err := write(t, s, ops...); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func put(b store.Bucket, key, value string) store.Op {
	return store.Op{Bucket: b, Key: []byte(key), Value: []byte(value)}
}

func del(b store.Bucket, key string) store.Op {
	return store.Op{Bucket: b, Kind: store.Delete, Key: []byte(key)}
}

func delPrefix(b store.Bucket, key string) store.Op {
	return store.Op{Bucket: b, Kind: store.DeletePrefix, Key: []byte(key)}
}

func closeStore(t testing.TB, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func TestOperations(t *testing.T) {
	tests := []struct {
		name string
		ops  []store.Op
		want records
	}{
		{"nothing", nil, records{}},
		{"put", []store.Op{put(store.Sessions, "a", "1")}, records{"sessions/a": "1"}},
		{"buckets are apart", []store.Op{put(store.Sessions, "a", "1"), put(store.Topics, "a", "2"), put(store.Held, "a", "3"), put(store.Spool, "a", "4"), del(store.Held, "a")},
			records{"sessions/a": "1", "topics/a": "2", "spool/a": "4"}},
		{"empty value", []store.Op{put(store.Held, "a", ""), {Bucket: store.Held, Key: []byte("b")}}, records{"held/a": "", "held/b": ""}},
		{"nil value replaced at once", []store.Op{{Bucket: store.Held, Key: []byte("b")}, put(store.Held, "b", "x")}, records{"held/b": "x"}},
		{"replace", []store.Op{put(store.Held, "a", "1"), put(store.Held, "a", "22")}, records{"held/a": "22"}},
		{"delete", []store.Op{put(store.Held, "a", "1"), del(store.Held, "a")}, records{}},
		{"delete what is not there", []store.Op{del(store.Held, "a")}, records{}},
		{"order within a batch", []store.Op{del(store.Held, "a"), put(store.Held, "a", "1")}, records{"held/a": "1"}},
		{"prefix", []store.Op{put(store.Held, "a", ""), put(store.Held, "a1", ""), put(store.Held, "a2", ""), put(store.Held, "b", ""), delPrefix(store.Held, "a")},
			records{"held/b": ""}},
		{"prefix of one bucket only", []store.Op{put(store.Held, "a", ""), put(store.Spool, "a", ""), delPrefix(store.Held, "a")}, records{"spool/a": ""}},
		{"prefix is not a key", []store.Op{put(store.Held, "a", ""), put(store.Held, "c", ""), delPrefix(store.Held, "b")}, records{"held/a": "", "held/c": ""}},
		{"prefix of 0xFF", []store.Op{put(store.Held, "\xff\xff", ""), put(store.Held, "\xfe", ""), delPrefix(store.Held, "\xff")}, records{"held/\xfe": ""}},
		{"empty prefix", []store.Op{put(store.Held, "a", ""), put(store.Held, "b", ""), put(store.Topics, "a", ""), delPrefix(store.Held, "")}, records{"topics/a": ""}},
		{"prefix, then put", []store.Op{put(store.Held, "a1", ""), delPrefix(store.Held, "a"), put(store.Held, "a2", "")}, records{"held/a2": ""}},
		{"value over many pages", []store.Op{put(store.Held, "a", strings.Repeat("x", 70000))}, records{"held/a": strings.Repeat("x", 70000)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, path := newStore(t)
			mustWrite(t, s, tt.ops...)
			if diff := cmp.Diff(tt.want, dump(t, s)); diff != "" {
				t.Errorf("before closing (-want +got):\n%s", diff)
			}
			closeStore(t, s)
			s, rep := open(t, path, Options{})
			if diff := cmp.Diff(tt.want, dump(t, s)); diff != "" {
				t.Errorf("after opening (-want +got):\n%s", diff)
			}
			if rep.Lost() || rep.Created || rep.Records != len(tt.want) {
				t.Errorf("report: %v", rep)
			}
		})
	}
}

func TestDeletePrefixOverManyPages(t *testing.T) {
	s, path := newStore(t)
	var ops []store.Op
	want := make(records)
	for i := range 5000 {
		key := fmt.Sprintf("%c/%05d", 'a'+i%3, i)
		ops = append(ops, put(store.Held, key, strings.Repeat("v", 50)))
		if i%3 != 1 {
			want["held/"+key] = strings.Repeat("v", 50)
		}
	}
	mustWrite(t, s, ops...)
	mustWrite(t, s, delPrefix(store.Held, "b/"))
	closeStore(t, s)
	s, rep := open(t, path, Options{})
	if diff := cmp.Diff(want, dump(t, s)); diff != "" {
		t.Error(diff)
	}
	if rep.Lost() {
		t.Error(rep)
	}
}

func TestLoadIsInOrderAndStopsAtAnError(t *testing.T) {
	s, _ := newStore(t)
	mustWrite(t, s, put(store.Spool, "b", ""), put(store.Spool, "a", ""), put(store.Sessions, "z", ""), put(store.Held, "y", ""), put(store.Topics, "x", ""))
	var order []string
	stop := errors.New("enough")
	err := s.Load(func(b store.Bucket, key, _ []byte) error {
		order = append(order, fmt.Sprintf("%v/%s", b, key))
		if len(order) == 4 {
			return stop
		}
		return nil
	})
	if err != stop {
		t.Errorf("err = %v", err)
	}
	if diff := cmp.Diff([]string{"sessions/z", "topics/x", "held/y", "spool/a"}, order); diff != "" {
		t.Error(diff)
	}
}

func TestAPanicOfYieldReachesItsCaller(t *testing.T) {
	s, _ := newStore(t)
	mustWrite(t, s, put(store.Spool, "b", ""))
	func() {
		defer func() {
			if p := recover(); p != "mine" {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = s.Load(func(store.Bucket, []byte, []byte) error { panic("mine") })
	}()
	mustWrite(t, s, put(store.Spool, "c", "")) // no lock is left behind
}

func TestInvalidBatchesFailAlone(t *testing.T) {
	long := make([]byte, store.MaxKey+1)
	bad := map[string]store.Op{
		"no bucket":        {Key: []byte("k")},
		"unknown bucket":   {Bucket: 9, Key: []byte("k")},
		"unknown kind":     {Bucket: store.Held, Kind: 9, Key: []byte("k")},
		"no key":           {Bucket: store.Held},
		"delete no key":    {Bucket: store.Held, Kind: store.Delete},
		"key too long":     {Bucket: store.Held, Key: long},
		"prefix too long":  {Bucket: store.Held, Kind: store.DeletePrefix, Key: long},
		"value too long":   {Bucket: store.Held, Key: []byte("k"), Value: make([]byte, store.MaxValue+1)},
		"longest key is 1": {Bucket: store.Held, Key: long[:store.MaxKey]},
	}
	s, _, err := Open(filepath.Join(t.TempDir(), "db"), Options{QueueBytes: store.MaxValue * 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, s := range []store.Store{s, store.InMemory()} {
		for name, op := range bad {
			t.Run(fmt.Sprintf("%s/durable=%t", name, s.Durable()), func(t *testing.T) {
				if err := write(t, s, put(store.Held, "good", ""), op); errors.Is(err, store.ErrInvalid) == strings.HasPrefix(name, "longest") {
					t.Errorf("err = %v", err)
				}
			})
		}
		if err := s.Health(); err != nil {
			t.Errorf("health: %v", err)
		}
	}
}

func TestStatsCount(t *testing.T) {
	s, path := newStore(t)
	mustWrite(t, s, put(store.Held, "key", "value"), del(store.Held, "x"))
	_ = write(t, s, store.Op{})
	st := s.Stats()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.LastCommit <= 0 || st.Written < 3*pageSize || st.Written%pageSize != 0 || st.FileBytes != info.Size() {
		t.Errorf("%+v, file has %d bytes", st, info.Size())
	}
	st.LastCommit, st.Written, st.FileBytes, st.FreeBytes = 0, 0, 0, 0
	if diff := cmp.Diff(store.Stats{Commits: 1, Batches: 1, Ops: 2, Bytes: 9, Failed: 1}, st); diff != "" {
		t.Error(diff)
	}
}

func TestInMemoryAnswersAtOnceAndKeepsNothing(t *testing.T) {
	s := store.InMemory()
	answered := false
	if s.Durable() || !s.Submit(store.Batch{Ops: []store.Op{put(store.Held, "k", "v")}, Done: func(err error) { answered = err == nil }}) || !answered {
		t.Error("not answered inside Submit")
	}
	if n := len(dump(t, s)); n != 0 {
		t.Errorf("%d records", n)
	}
	if diff := cmp.Diff(store.Stats{Batches: 1, Ops: 1, Bytes: 2}, s.Stats()); diff != "" {
		t.Error(diff)
	}
	closeStore(t, s)
	if s.Submit(store.Batch{}) {
		t.Error("accepted after Close")
	}
}

func TestNamesOfBuckets(t *testing.T) {
	// The names stand in files.
	got := []string{store.Sessions.String(), store.Topics.String(), store.Held.String(), store.Spool.String(), store.Bucket(0).String(), store.Bucket(5).String()}
	if diff := cmp.Diff([]string{"sessions", "topics", "held", "spool", "bucket(0)", "bucket(5)"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestRandomOperationsMatchAModel compares the store with a map, reopening in between.
func TestRandomOperationsMatchAModel(t *testing.T) {
	s, path := newStore(t)
	model := make(records)
	next := uint32(1)
	random := func(n int) int { // a plain generator, so that a failure can be repeated
		next = next*1664525 + 1013904223
		return int(next>>8) % n
	}
	for round := range 60 {
		var ops []store.Op
		for range random(60) {
			b := store.Sessions + store.Bucket(random(bucketCount))
			key := fmt.Sprintf("%02d/%02d", random(20), random(20))
			switch random(8) {
			case 0:
				ops = append(ops, del(b, key))
				delete(model, b.String()+"/"+key)
			case 1:
				ops = append(ops, delPrefix(b, key[:3]))
				maps.DeleteFunc(model, func(k, _ string) bool { return strings.HasPrefix(k, b.String()+"/"+key[:3]) })
			default:
				value := string(bytes.Repeat([]byte{byte(round)}, random(400)))
				ops = append(ops, put(b, key, value))
				model[b.String()+"/"+key] = value
			}
		}
		mustWrite(t, s, ops...)
		if round%10 == 9 {
			closeStore(t, s)
			var rep *Report
			if s, rep = open(t, path, Options{}); rep.Lost() {
				t.Fatal(rep)
			}
		}
		if diff := cmp.Diff(model, dump(t, s)); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
	}
}

func TestBatchThatChangesNothingIsNotWritten(t *testing.T) {
	s, _ := newStore(t)
	mustWrite(t, s, put(store.Sessions, "k", "v"))
	before := s.Stats()
	mustWrite(t, s)
	mustWrite(t, s, put(store.Sessions, "k", "v"), del(store.Held, "none"), delPrefix(store.Spool, "none"))
	after := s.Stats()
	if after.Commits != before.Commits || after.Written != before.Written || after.Batches != before.Batches+2 {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	mustWrite(t, s, put(store.Sessions, "k", "w"))
	if n := s.Stats().Commits; n != before.Commits+1 {
		t.Errorf("%d commits", n)
	}
}
