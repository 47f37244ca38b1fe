package storetest

import (
	"testing"

	"sngate/store"
)

// Records is what a store contains: the values by bucket, slash, key.
type Records map[string]string

// Put is an operation of that kind.
func Put(b store.Bucket, key, value string) store.Op {
	return store.Op{Bucket: b, Key: []byte(key), Value: []byte(value)}
}

// Delete is an operation of that kind.
func Delete(b store.Bucket, key string) store.Op {
	return store.Op{Bucket: b, Kind: store.Delete, Key: []byte(key)}
}

// DeletePrefix is an operation of that kind.
func DeletePrefix(b store.Bucket, key string) store.Op {
	return store.Op{Bucket: b, Kind: store.DeletePrefix, Key: []byte(key)}
}

// Write submits ops as one batch and waits for the answer.
func Write(t testing.TB, s store.Store, ops ...store.Op) error {
	t.Helper()
	answer := make(chan error, 1)
	if !s.Submit(store.Batch{Ops: ops, Done: func(err error) { answer <- err }}) {
		t.Fatal("submit: refused")
	}
	return <-answer
}

// MustWrite is Write that wants success.
func MustWrite(t testing.TB, s store.Store, ops ...store.Op) {
	t.Helper()
	if err := Write(t, s, ops...); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// Dump loads all records.
func Dump(t testing.TB, s store.Store) Records {
	t.Helper()
	got := make(Records)
	if err := s.Load(func(b store.Bucket, key, value []byte) error {
		got[b.String()+"/"+string(key)] = string(value)
		return nil
	}); err != nil {
		t.Fatalf("load: %v", err)
	}
	return got
}

// Block makes a store that answers from a goroutine of its own wait inside an answer until the
// returned function is called.
func Block(t testing.TB, s store.Store) (unblock func()) {
	t.Helper()
	in, out := make(chan struct{}), make(chan struct{})
	if !s.Submit(store.Batch{Done: func(error) { close(in); <-out }}) {
		t.Fatal("refused")
	}
	<-in
	return func() { close(out) }
}

// Close closes a store and wants success.
func Close(t testing.TB, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}
