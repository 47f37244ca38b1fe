package bolt

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"sngate/store"
)

func TestQueueIsBoundedAndSubmitNeverBlocks(t *testing.T) {
	big := store.Op{Bucket: store.Held, Key: []byte("k"), Value: make([]byte, 1000)}
	tests := []struct {
		name string
		opts Options
		want int
	}{
		{"by batches", Options{QueueBatches: 5}, 5},
		{"by bytes", Options{QueueBytes: 5 * store.Batch{Ops: []store.Op{big}}.Size()}, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := open(t, filepath.Join(t.TempDir(), "db"), tt.opts)
			unblock := block(t, s)
			accepted := 0
			answered := make(chan error, 100)
			for range 100 {
				if s.Submit(store.Batch{Ops: []store.Op{big}, Done: func(err error) { answered <- err }}) {
					accepted++
				}
			}
			if accepted != tt.want {
				t.Errorf("accepted %d, want %d", accepted, tt.want)
			}
			if got := s.Stats().Queued; got != tt.want {
				t.Errorf("queued %d, want %d", got, tt.want)
			}
			unblock()
			for range accepted {
				if err := <-answered; err != nil {
					t.Error(err)
				}
			}
			if st := s.Stats(); st.Queued != 0 || st.QueuedBytes != 0 {
				t.Errorf("queue not empty: %+v", st)
			}
			mustWrite(t, s, big)
		})
	}
}

// A batch larger than the queue is taken, or what needs it could never be stored; the next
// one then waits until it is written.
func TestBatchLargerThanTheQueueIsTaken(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "db"), Options{QueueBytes: 1 << 20})
	large := make([]store.Op, 30)
	for i := range large {
		large[i] = store.Op{Bucket: store.Spool, Key: fmt.Append(nil, i), Value: make([]byte, 100_000)}
	}
	for _, why := range []string{"alone", "again"} {
		unblock := block(t, s)
		answered := make(chan error, 2)
		done := func(err error) { answered <- err }
		small := store.Batch{Ops: []store.Op{put(store.Held, why, "v")}, Done: done}
		if !s.Submit(small) || !s.Submit(store.Batch{Ops: large, Done: done}) {
			t.Fatalf("%s: refused although the queue is not full", why)
		}
		before := s.Stats().Refused
		if s.Submit(small) || s.Submit(store.Batch{Ops: large, Done: done}) {
			t.Fatalf("%s: taken although the queue is full", why)
		}
		if n := s.Stats().Refused - before; n != 2 {
			t.Errorf("%s: %d batches counted as refused, want 2", why, n)
		}
		unblock()
		for range 2 {
			if err := <-answered; err != nil {
				t.Error(err)
			}
		}
	}
	if n := len(dump(t, s)); n != len(large)+2 {
		t.Errorf("%d records, want %d", n, len(large)+2)
	}
}

func TestWhatQueuesUpSharesOneCommit(t *testing.T) {
	tests := []struct {
		name    string
		opts    Options
		commits uint64
	}{
		{"no limit reached", Options{}, 1},
		{"operations per transaction", Options{TxOps: 30}, 4},
		{"bytes per transaction", Options{TxBytes: 10 * store.Batch{Ops: []store.Op{put(store.Held, "000", "v")}}.Size()}, 10},
		{"a batch beyond the limit goes alone", Options{TxBytes: 1}, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := open(t, filepath.Join(t.TempDir(), "db"), tt.opts)
			unblock := block(t, s)
			before := s.Stats().Commits
			var order []int
			for i := range 99 {
				s.Submit(store.Batch{Ops: []store.Op{put(store.Held, fmt.Sprintf("%03d", i), "v")}, Done: func(error) { order = append(order, i) }})
			}
			last := make(chan struct{})
			s.Submit(store.Batch{Ops: []store.Op{put(store.Held, "099", "v")}, Done: func(error) { close(last) }})
			unblock()
			<-last
			if got := s.Stats().Commits - before; got != tt.commits {
				t.Errorf("%d commits, want %d", got, tt.commits)
			}
			if !slices.IsSorted(order) || len(order) != 99 {
				t.Errorf("answered out of order: %v", order)
			}
		})
	}
}
