package persist

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/gateway/session"
	"sngate/store"
	"sngate/store/storetest"
)

// submit gives a keeper records and waits for the answer.
func submit(t *testing.T, k *Keeper, clientID string, records ...session.Record) {
	t.Helper()
	answered := make(chan error, 1)
	if !k.Submit(clientID, records, func() Entry { return Entry{Ended: -1, Home: "h"} }, func(err error) { answered <- err }) {
		t.Fatal("the queue is full")
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
}

// taken loads a store and lists what comes of it.
func taken(t *testing.T, k *Keeper) (list []string, l Loaded) {
	t.Helper()
	l, err := k.Load(func(clientID []byte, kind session.RecordKind, key, value []byte, at *Entry) error {
		s := fmt.Sprintf("%s %d %q %q", clientID, kind, key, value)
		if at != nil {
			s += fmt.Sprintf(" %+v", *at)
		}
		list = append(list, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, l
}

// Every kind of record comes back as it was given, under its client id, and others are not
// taken for it: client ids of which one begins with the other, and kinds in one bucket.
func TestRecordsComeBackAsTheyWereGiven(t *testing.T) {
	s := storetest.New()
	defer storetest.Close(t, s)
	k := New(s, func() time.Duration { return 0 })
	want := map[string]bool{}
	for _, id := range []string{"a", "ab", "S"} {
		for kind := range places {
			kind := session.RecordKind(kind)
			if places[kind].bucket == 0 {
				continue
			}
			submit(t, k, id, session.Record{Kind: kind, Key: []byte("S\x00k"), Value: []byte{byte(kind)}})
			line := fmt.Sprintf("%s %d %q %q", id, kind, "S\x00k", []byte{byte(kind)})
			if kind == session.RecordSession {
				line += fmt.Sprintf(" %+v", Entry{Ended: -1, Home: "h"})
			}
			want[line] = true
		}
	}
	list, loaded := taken(t, k)
	got := map[string]bool{}
	for _, line := range list {
		got[line] = true
	}
	if d := cmp.Diff(want, got); d != "" || loaded.Bad != 0 {
		t.Errorf("%s, %d bad", d, loaded.Bad)
	}
	submit(t, k, "a", session.Record{Kind: session.RecordHeld, Op: session.DeleteRecord, Key: []byte("S\x00k")},
		session.Record{Kind: session.RecordSubscription, Op: session.DeleteRecords})
	if list, _ := taken(t, k); len(list) != len(want)-2 {
		t.Errorf("%d records are left of %d", len(list), len(want))
	}
	erased := make(chan error, 1)
	if !k.Erase("a", func(err error) { erased <- err }) || <-erased != nil {
		t.Fatal("not erased")
	}
	if list, _ := taken(t, k); len(list) != len(want)/3*2 {
		t.Errorf("%d records are left of %d", len(list), len(want))
	}
}

func TestTheGatewaysOwnRecordsAreNoClients(t *testing.T) {
	s := storetest.New()
	defer storetest.Close(t, s)
	k := New(s, func() time.Duration { return time.Hour })
	k.SaveClock()
	k.SaveBroker("b:1883")
	k.SavePredefined([]byte("digest"))
	submit(t, k, "a")
	next := New(s, func() time.Duration { return time.Minute })
	list, loaded := taken(t, next)
	if d := cmp.Diff(Loaded{Broker: "b:1883", Predefined: []byte("digest")}, loaded); d != "" || len(list) > 0 {
		t.Errorf("%s%v", d, list)
	}
	if got := next.Running(time.Minute); got != time.Hour+time.Minute || next.Since(got) != time.Minute {
		t.Errorf("it has been running for %v", got)
	}
}

// Records that make no sense are counted, and the first is named. A session whose own record
// is one of them is there all the same, so that it can be given up.
func TestRecordsThatMakeNoSenseAreCounted(t *testing.T) {
	s := storetest.New()
	defer storetest.Close(t, s)
	storetest.MustWrite(t, s, storetest.Put(store.Sessions, "a\x00S", "short"), storetest.Put(store.Sessions, "nothing", ""))
	k := New(s, func() time.Duration { return 0 })
	list, loaded := taken(t, k)
	if d := cmp.Diff([]string{`a 1 "" ""`}, list); d != "" || loaded.Bad != 2 || !errors.Is(loaded.Why, errEntry) {
		t.Errorf("%s, %d bad, %v", d, loaded.Bad, loaded.Why)
	}
}

func TestWhatTheStoreDoesNotTakeIsNoticed(t *testing.T) {
	s := storetest.New()
	defer storetest.Close(t, s)
	k := New(s, func() time.Duration { return 0 })
	s.Fail(errors.New("disk full"))
	k.SaveBroker("b")
	answered := make(chan error, 1)
	if !k.Submit("a", nil, nil, func(err error) { answered <- err }) {
		t.Fatal("the queue is full")
	}
	<-answered
	if !k.Down() || k.Fault(0) == nil {
		t.Error("the failure is not noticed")
	}
	s.Fail(nil)
	if !k.Works() || k.Works() || k.Down() {
		t.Error("Works does not tell once that it works again")
	}
}
