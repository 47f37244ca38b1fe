package store

import (
	"slices"
	"testing"
)

func TestInMemoryAnswersAtOnceAndKeepsNothing(t *testing.T) {
	s := InMemory()
	answered := 0
	put := Batch{Ops: []Op{{Bucket: Held, Key: []byte("k"), Value: []byte("v")}}, Done: func(err error) {
		if err == nil {
			answered++
		}
	}}
	if s.Durable() || !s.Submit(put) || answered != 1 {
		t.Error("not answered inside Submit")
	}
	if !s.LoadPrefix([]byte("k"), func(records []Record, err error) {
		if len(records) == 0 && err == nil {
			answered++
		}
	}) || answered != 2 {
		t.Error("not answered with nothing inside LoadPrefix")
	}
	if err := s.Load(func(Bucket, []byte, []byte) error { t.Error("a record"); return nil }); err != nil {
		t.Error(err)
	}
	if got, want := s.Stats(), (Stats{Batches: 1, Ops: 1, Bytes: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := s.Close(); err != nil || s.Submit(put) || s.LoadPrefix([]byte("k"), nil) {
		t.Error("accepted after Close")
	}
}

func TestNamesOfBuckets(t *testing.T) {
	// The names stand in files.
	got := []string{Sessions.String(), Topics.String(), Held.String(), Spool.String(), Bucket(0).String(), Bucket(5).String()}
	if want := []string{"sessions", "topics", "held", "spool", "bucket(0)", "bucket(5)"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
