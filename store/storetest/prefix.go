package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"sngate/store"
)

// found is what a call of LoadPrefix was answered with, as "bucket/key=value".
type found struct {
	records []string
	err     error
}

func foundIn(records []store.Record, err error) found {
	f := found{err: err}
	for _, r := range records {
		f.records = append(f.records, fmt.Sprintf("%v/%s=%s", r.Bucket, r.Key, r.Value))
	}
	return f
}

func load(t *testing.T, s store.Store, prefix string) found {
	t.Helper()
	answer := make(chan found, 1)
	if !s.LoadPrefix([]byte(prefix), func(records []store.Record, err error) { answer <- foundIn(records, err) }) {
		t.Fatal("refused")
	}
	return <-answer
}

// wantFound expects these records and no error.
func wantFound(t *testing.T, s store.Store, prefix string, want ...string) {
	t.Helper()
	if !s.Durable() {
		want = nil
	}
	if got := load(t, s, prefix); got.err != nil || !slices.Equal(got.records, want) {
		t.Errorf("%q: got %q, %v, want %q", prefix, got.records, got.err, want)
	}
}

// loadPrefix loads one client among others whose ids begin in the same way.
func loadPrefix(t *testing.T, e Engine) {
	s := e.Open(t)
	wantFound(t, s, "dev\x00")
	MustWrite(t, s,
		Put(store.Spool, "dev\x00\x02", "c"), Put(store.Spool, "dev\x00\x01", "b"), Put(store.Sessions, "dev\x00S", "a"), Put(store.Held, "dev\x00", ""),
		Put(store.Sessions, "de\x00S", "no"), Put(store.Sessions, "dev2\x00S", "no"), Put(store.Sessions, "dev", "no"), Put(store.Sessions, "xdev\x00S", "no"),
		Put(store.Topics, "\xff\xff", "last"))
	want := []string{"sessions/dev\x00S=a", "held/dev\x00=", "spool/dev\x00\x01=b", "spool/dev\x00\x02=c"}
	wantFound(t, s, "dev\x00", want...)
	wantFound(t, s, "\xff", "topics/\xff\xff=last")
	wantFound(t, s, "ghost\x00")
	Close(t, s)
	s = e.Reopen(t, s)
	wantFound(t, s, "dev\x00", want...)

	// The records are the caller's, who may do with them what he wants.
	if !s.LoadPrefix([]byte("dev\x00"), func(records []store.Record, _ error) {
		for _, r := range records {
			clear(r.Key)
			clear(r.Value)
		}
	}) {
		t.Fatal("refused")
	}
	wantFound(t, s, "dev\x00", want...)

	// Octets that make no sense to the caller are no affair of the store.
	MustWrite(t, s, Put(store.Sessions, "odd\x00\x00\xff", "\x00"))
	wantFound(t, s, "odd\x00", "sessions/odd\x00\x00\xff=\x00")
	MustWrite(t, s, DeletePrefix(store.Sessions, "dev\x00"), DeletePrefix(store.Spool, "dev\x00"), Delete(store.Held, "dev\x00"))
	wantFound(t, s, "dev\x00")
}

// loadPrefixBetweenBatches has a client's batches before and behind its loading, all in the
// queue: it finds what those before it have left and nothing of those behind.
func loadPrefixBetweenBatches(t *testing.T, e Engine) {
	s := e.Open(t)
	if !s.Durable() {
		t.Skip("it answers at once, and has nothing to be found")
	}
	MustWrite(t, s, Put(store.Held, "dev\x001", "old"), Put(store.Held, "dev\x002", "old"))
	unblock := Block(t, s)
	var order []string // as the two maps, the store's goroutine's until the end
	answers, loads := make(map[string]error), make(map[string]found)
	batch := func(name string, ops ...store.Op) {
		t.Helper()
		if !s.Submit(store.Batch{Ops: ops, Done: func(err error) {
			order = append(order, fmt.Sprint(name, " ", err))
			answers[name] = err
		}}) {
			t.Fatal("refused")
		}
	}
	load := func(name string) {
		t.Helper()
		if !s.LoadPrefix([]byte("dev\x00"), func(records []store.Record, err error) {
			order = append(order, name)
			loads[name] = foundIn(records, err)
		}) {
			t.Fatal("refused")
		}
	}
	load("first")
	batch("change", Put(store.Held, "dev\x001", "new"), Delete(store.Held, "dev\x002"), Put(store.Spool, "dev\x003", "new"))
	batch("invalid", Put(store.Held, "dev\x004", "never"), store.Op{})
	load("second")
	load("third")
	batch("removal", DeletePrefix(store.Held, "dev\x00"), DeletePrefix(store.Spool, "dev\x00"))
	load("last")
	end := make(chan struct{})
	s.Submit(store.Batch{Done: func(error) { close(end) }})
	unblock()
	<-end
	// One that is invalid may be answered before those that wait for the disk.
	if !errors.Is(answers["invalid"], store.ErrInvalid) {
		t.Fatalf("answered: %q", order)
	}
	i := slices.Index(order, "invalid "+answers["invalid"].Error())
	if i != 1 && i != 2 {
		t.Fatalf("answered: %q", order)
	}
	if order = slices.Delete(order, i, i+1); !slices.Equal(order, []string{"first", "change <nil>", "second", "third", "removal <nil>", "last"}) {
		t.Errorf("answered: %q", order)
	}
	now := []string{"held/dev\x001=new", "spool/dev\x003=new"}
	for name, want := range map[string][]string{"first": {"held/dev\x001=old", "held/dev\x002=old"}, "second": now, "third": now, "last": nil} {
		if got := loads[name]; got.err != nil || !slices.Equal(got.records, want) {
			t.Errorf("%s: got %q, %v, want %q", name, got.records, got.err, want)
		}
	}
}

func loadInvalidPrefix(t *testing.T, e Engine) {
	s := e.Open(t)
	MustWrite(t, s, Put(store.Held, "k", "v"))
	for _, prefix := range []string{"", string(make([]byte, store.MaxKey+1))} {
		if got := load(t, s, prefix); !errors.Is(got.err, store.ErrInvalid) || got.records != nil {
			t.Errorf("prefix of %d bytes: %q, %v", len(prefix), got.records, got.err)
		}
	}
	if err := s.Health(); err != nil {
		t.Errorf("health: %v", err)
	}
}
