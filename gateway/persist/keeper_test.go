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
	if !k.Submit(clientID, records, func() Entry { return Entry{Ended: -1, Home: "h"} }, func(err error) { answered <- err }, false) {
		t.Fatal("the queue is full")
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
}

// loadClient loads one client.
func loadClient(t *testing.T, k *Keeper, clientID string) (c Client) {
	t.Helper()
	answered := make(chan error, 1)
	if !k.LoadClient(clientID, func(found Client, err error) { c = found; answered <- err }) {
		t.Fatal("the queue is full")
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	return c
}

// taken loads a store, and then each client, and lists what comes of it.
func taken(t *testing.T, k *Keeper) (list []string, l Loaded) {
	t.Helper()
	clients := map[string]bool{}
	l, err := k.Load(func(clientID, record []byte, at *Entry) error {
		clients[string(clientID)] = true
		if at != nil {
			list = append(list, fmt.Sprintf("%s %d \"\" %q %+v", clientID, session.RecordSession, record, *at))
		}
		return nil
	}, func(clientID []byte, _ store.Bucket, _ int) { clients[string(clientID)] = true })
	if err != nil {
		t.Fatal(err)
	}
	for id := range clients {
		l.Add(loadClient(t, k, id).Rest(func(kind session.RecordKind, key, value []byte) error {
			list = append(list, fmt.Sprintf("%s %d %q %q", id, kind, key, value))
			return nil
		}))
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
			if kind == session.RecordSession { // it has no key
				submit(t, k, id, session.Record{Kind: kind, Value: []byte{byte(kind)}})
				want[fmt.Sprintf("%s %d \"\" %q %+v", id, kind, []byte{byte(kind)}, Entry{Ended: -1, Home: "h"})] = true
				continue
			}
			submit(t, k, id, session.Record{Kind: kind, Key: []byte("S\x00k"), Value: []byte{byte(kind)}})
			want[fmt.Sprintf("%s %d %q %q", id, kind, "S\x00k", []byte{byte(kind)})] = true
		}
	}
	list, loaded := taken(t, k)
	got := map[string]bool{}
	for _, line := range list {
		got[line] = true
	}
	if d := cmp.Diff(want, got); d != "" || loaded.Records != 0 {
		t.Errorf("%s, %d bad", d, loaded.Records)
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

// Records that make no sense are counted, once, and the first is named. A session whose own
// record is one of them is there all the same, so that it can be given up.
func TestRecordsThatMakeNoSenseAreCounted(t *testing.T) {
	s := storetest.New()
	defer storetest.Close(t, s)
	storetest.MustWrite(t, s, storetest.Put(store.Sessions, "a\x00S", "short"), storetest.Put(store.Sessions, "a\x00?", ""),
		storetest.Put(store.Sessions, "b\x00F", "f"), storetest.Put(store.Held, "b\x00h", ""), storetest.Put(store.Sessions, "nothing", ""))
	k := New(s, func() time.Duration { return 0 })
	var clients []string
	loaded, err := k.Load(func(clientID, record []byte, at *Entry) error {
		clients = append(clients, fmt.Sprintf("%s %v %v", clientID, record == nil, at == nil))
		return nil
	}, func(clientID []byte, b store.Bucket, octets int) {
		clients = append(clients, fmt.Sprintf("%s %v %d", clientID, b, octets))
	})
	if d := cmp.Diff([]string{"a true true", "b true true", "b held 64"}, clients); d != "" || err != nil || loaded.Records != 3 || !errors.Is(loaded.First, errEntry) {
		t.Errorf("%s, %d bad, %v, %v", d, loaded.Records, loaded.First, err)
	}
	if f := loadClient(t, k, "a").Rest(func(session.RecordKind, []byte, []byte) error { t.Error("a record"); return nil }); f.Records != 0 {
		t.Errorf("%d are counted again", f.Records)
	}
	refused := errors.New("refused")
	f := loadClient(t, k, "b").Rest(func(kind session.RecordKind, _, _ []byte) error {
		if kind == session.RecordHeld {
			return refused
		}
		return nil
	})
	if f.Records != 1 || !errors.Is(f.First, refused) || f.First.Error() != `held "b\x00h": refused` {
		t.Errorf("%d bad, %v", f.Records, f.First)
	}
	loaded.Add(f)
	if loaded.Records != 4 || !errors.Is(loaded.First, errEntry) {
		t.Errorf("together %d, %v", loaded.Records, loaded.First)
	}
}

func TestLoadClientOfAStoreThatRefuses(t *testing.T) {
	s := storetest.New()
	defer storetest.Close(t, s)
	s.SetBusy(true)
	if New(s, nil).LoadClient("a", func(Client, error) { t.Error("answered") }) {
		t.Error("taken by a full queue")
	}
}

func TestWhatTheStoreDoesNotTakeIsNoticed(t *testing.T) {
	s := storetest.New()
	defer storetest.Close(t, s)
	k := New(s, func() time.Duration { return 0 })
	s.Fail(errors.New("disk full"))
	k.SaveBroker("b")
	answered := make(chan error, 1)
	if !k.Submit("a", nil, nil, func(err error) { answered <- err }, false) {
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
