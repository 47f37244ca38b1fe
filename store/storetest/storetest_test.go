package storetest

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sngate/store"
)

func TestSuite(t *testing.T) {
	for name, engine := range map[string]Engine{
		"in memory": {
			Open:   func(*testing.T) store.Store { return store.InMemory() },
			Reopen: func(*testing.T, store.Store) store.Store { return store.InMemory() },
		},
		"for tests": {
			Open:   func(*testing.T) store.Store { return New() },
			Reopen: func(_ *testing.T, closed store.Store) store.Store { return closed.(*Store).Crash() },
		},
	} {
		t.Run(name, func(t *testing.T) { Run(t, engine) })
	}
}

func put(key, value string) store.Op {
	return store.Op{Bucket: store.Topics, Key: []byte(key), Value: []byte(value)}
}

// submit submits a batch whose answer is appended to answers.
func submit(t *testing.T, s *Store, answers *[]error, ops ...store.Op) {
	t.Helper()
	if !s.Submit(store.Batch{Ops: ops, Done: func(err error) { *answers = append(*answers, err) }}) {
		t.Fatal("refused")
	}
}

func TestCrashLosesWhatIsNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.SetDelay(time.Second)
		var answers []error
		submit(t, s, &answers, put("a", "1"), put("b", "1"))
		time.Sleep(time.Second)
		synctest.Wait()
		submit(t, s, &answers, put("b", "2"), store.Op{Bucket: store.Topics, Kind: store.Delete, Key: []byte("a")})
		next := s.Crash()
		submit(t, s, &answers, put("c", "1"))
		time.Sleep(time.Minute)
		if !slices.Equal(answers, []error{nil}) {
			t.Errorf("answers %v: only the first batch is in the store", answers)
		}
		if got := next.Keys(); !slices.Equal(got, []string{"topics a", "topics b"}) {
			t.Errorf("the next process finds %q", got)
		}
		if v, _ := next.Value(store.Topics, "b"); v != "1" {
			t.Errorf("b is %q", v)
		}
	})
}

func TestBatchesAreCommittedInOrderAndLoadedByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.StopCommits()
		var answers []error
		submit(t, s, &answers, put("b", "1"), put("a", "1"))
		submit(t, s, &answers, store.Op{Bucket: store.Topics, Kind: store.DeletePrefix}, put("b", "2"))
		submit(t, s, &answers, put("a", "3"), store.Op{Bucket: store.Held, Key: []byte("h")})
		synctest.Wait()
		if len(answers) > 0 || len(s.Keys()) > 0 {
			t.Fatal("committed while held")
		}
		s.StartCommits()
		var got []string
		if err := s.Load(func(b store.Bucket, key, value []byte) error {
			got = append(got, b.String()+string(key)+string(value))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, []string{"topicsa3", "topicsb2", "heldh"}) || len(answers) != 3 {
			t.Errorf("%q, %d answers", got, len(answers))
		}
	})
}

func TestFailureAndRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		remove := store.Op{Bucket: store.Topics, Kind: store.Delete, Key: []byte("a")}
		for _, tt := range []struct {
			fault error
			op    store.Op
			want  error
		}{
			{nil, put("a", "1"), nil}, {ErrFull, put("b", "1"), ErrFull}, {ErrFull, remove, nil},
			{nil, put("a", "1"), nil}, {ErrReadOnly, remove, ErrReadOnly},
			{nil, store.Op{Bucket: store.Topics}, store.ErrInvalid},
		} {
			var answers []error
			s.Fail(tt.fault)
			submit(t, s, &answers, tt.op)
			synctest.Wait()
			if len(answers) != 1 || !errors.Is(answers[0], tt.want) {
				t.Errorf("with the disk at %v: answers %v, want %v", tt.fault, answers, tt.want)
			}
			if health := s.Health(); tt.want == tt.fault && health != tt.fault {
				t.Errorf("Health %v, want %v", health, tt.fault)
			}
		}
		s.SetBusy(true)
		if s.Submit(store.Batch{}) {
			t.Error("taken though the queue is full")
		}
		s.SetBusy(false)
		if st := s.Stats(); st.Failures != 2 || st.Failed != 3 || st.Commits != 3 || st.Ops != 3 || s.Submitted() != 7 {
			t.Errorf("%+v, %d submitted", st, s.Submitted())
		}
	})
}
