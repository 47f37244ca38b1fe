package bolt

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/store"
	"sngate/store/storetest"
)

// The words of these tests.
type records = storetest.Records

var (
	put, del, delPrefix = storetest.Put, storetest.Delete, storetest.DeletePrefix
	write, mustWrite    = storetest.Write, storetest.MustWrite
	dump, closeStore    = storetest.Dump, storetest.Close
	block               = storetest.Block
)

func TestSuite(t *testing.T) {
	for name, linger := range map[string]time.Duration{"without linger": 0, "with linger": 2 * time.Millisecond} {
		t.Run(name, func(t *testing.T) { suite(t, linger) })
	}
}

func suite(t *testing.T, linger time.Duration) {
	paths := make(map[store.Store]string)
	open := func(t *testing.T, path string) store.Store {
		s, rep := open(t, path, Options{QueueBytes: 2 * store.MaxValue, Linger: linger})
		if rep.Lost() {
			t.Fatal(rep)
		}
		paths[s] = path
		return s
	}
	storetest.Run(t, storetest.Engine{
		Open:   func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "db")) },
		Reopen: func(t *testing.T, closed store.Store) store.Store { return open(t, paths[closed]) },
	})
}

func TestReportAfterOpeningAgain(t *testing.T) {
	s, path := newStore(t)
	mustWrite(t, s, put(store.Held, "a", "1"), put(store.Spool, "a", ""))
	closeStore(t, s)
	if _, rep := open(t, path, Options{}); rep.Lost() || rep.Created || rep.Records != 2 {
		t.Errorf("report: %v", rep)
	}
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
