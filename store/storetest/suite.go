package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"sngate/store"
)

// Engine is a kind of stores.
type Engine struct {
	// Open opens a new, empty store. It is closed, also by the test, when the test ends.
	Open func(t *testing.T) store.Store
	// Reopen opens what a store has left behind that has been closed.
	Reopen func(t *testing.T, closed store.Store) store.Store
}

// Run runs the tests that every store has to pass. One that is not durable takes the same
// batches and answers them in the same way, and has no records.
func Run(t *testing.T, e Engine) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Engine)
	}{
		{"operations", operations},
		{"prefixes over many pages", manyPages},
		{"load in order", loadInOrder},
		{"load some buckets", loadSomeBuckets},
		{"load with a panic", loadWithAPanic},
		{"invalid batches fail alone", invalidBatches},
		{"random operations", randomOperations},
		{"done may submit", doneMaySubmit},
		{"close", closing},
		{"load a prefix", loadPrefix},
		{"load a prefix between batches", loadPrefixBetweenBatches},
		{"load an invalid prefix", loadInvalidPrefix},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, e) })
	}
}

// want expects these records and no others, before and after a restart. It returns the store
// that is open then.
func (e Engine) want(t *testing.T, s store.Store, want Records) store.Store {
	t.Helper()
	if !s.Durable() {
		want = Records{}
	}
	check := func(when string) {
		t.Helper()
		if got := Dump(t, s); !maps.Equal(got, want) {
			t.Errorf("%s: got %.1000q, want %.1000q", when, got, want)
		}
	}
	check("before closing")
	Close(t, s)
	s = e.Reopen(t, s)
	check("after opening")
	return s
}

func operations(t *testing.T, e Engine) {
	put, del, delPrefix := Put, Delete, DeletePrefix
	const sessions, topics, held, spool = store.Sessions, store.Topics, store.Held, store.Spool
	for _, tt := range []struct {
		name string
		ops  []store.Op
		want Records
	}{
		{"nothing", nil, Records{}},
		{"put", []store.Op{put(sessions, "a", "1")}, Records{"sessions/a": "1"}},
		{"buckets are apart", []store.Op{put(sessions, "a", "1"), put(topics, "a", "2"), put(held, "a", "3"), put(spool, "a", "4"), del(held, "a")},
			Records{"sessions/a": "1", "topics/a": "2", "spool/a": "4"}},
		{"empty value", []store.Op{put(held, "a", ""), {Bucket: held, Key: []byte("b")}}, Records{"held/a": "", "held/b": ""}},
		{"nil value replaced at once", []store.Op{{Bucket: held, Key: []byte("b")}, put(held, "b", "x")}, Records{"held/b": "x"}},
		{"replace", []store.Op{put(held, "a", "1"), put(held, "a", "22")}, Records{"held/a": "22"}},
		{"delete", []store.Op{put(held, "a", "1"), del(held, "a")}, Records{}},
		{"delete what is not there", []store.Op{del(held, "a")}, Records{}},
		{"order within a batch", []store.Op{del(held, "a"), put(held, "a", "1")}, Records{"held/a": "1"}},
		{"prefix", []store.Op{put(held, "a", ""), put(held, "a1", ""), put(held, "a2", ""), put(held, "b", ""), delPrefix(held, "a")},
			Records{"held/b": ""}},
		{"prefix of one bucket only", []store.Op{put(held, "a", ""), put(spool, "a", ""), delPrefix(held, "a")}, Records{"spool/a": ""}},
		{"prefix is not a key", []store.Op{put(held, "a", ""), put(held, "c", ""), delPrefix(held, "b")}, Records{"held/a": "", "held/c": ""}},
		{"prefix of 0xFF", []store.Op{put(held, "\xff\xff", ""), put(held, "\xfe", ""), delPrefix(held, "\xff")}, Records{"held/\xfe": ""}},
		{"empty prefix", []store.Op{put(held, "a", ""), put(held, "b", ""), put(topics, "a", ""), delPrefix(held, "")}, Records{"topics/a": ""}},
		{"prefix, then put", []store.Op{put(held, "a1", ""), delPrefix(held, "a"), put(held, "a2", "")}, Records{"held/a2": ""}},
		{"value over many pages", []store.Op{put(held, "a", strings.Repeat("x", 70000))}, Records{"held/a": strings.Repeat("x", 70000)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := e.Open(t)
			MustWrite(t, s, tt.ops...)
			e.want(t, s, tt.want)
		})
	}
}

func manyPages(t *testing.T, e Engine) {
	s := e.Open(t)
	var ops []store.Op
	want := make(Records)
	for i := range 5000 {
		key := fmt.Sprintf("%c/%05d", 'a'+i%3, i)
		ops = append(ops, Put(store.Held, key, strings.Repeat("v", 50)))
		if i%3 != 1 {
			want["held/"+key] = strings.Repeat("v", 50)
		}
	}
	MustWrite(t, s, ops...)
	MustWrite(t, s, DeletePrefix(store.Held, "b/"))
	e.want(t, s, want)
}

// someOfEach is one record in each bucket, and the order in which they are loaded.
func someOfEach() (ops []store.Op, order []string) {
	return []store.Op{
		Put(store.Spool, "b", ""), Put(store.Spool, "a", ""), Put(store.Sessions, "z", ""), Put(store.Held, "y", ""), Put(store.Topics, "x", ""),
	}, []string{"sessions/z", "topics/x", "held/y", "spool/a", "spool/b"}
}

func loadInOrder(t *testing.T, e Engine) {
	s := e.Open(t)
	ops, want := someOfEach()
	MustWrite(t, s, ops...)
	if want = want[:4]; !s.Durable() {
		want = nil
	}
	var order []string
	stop := errors.New("enough")
	err := s.Load(func(b store.Bucket, key, _ []byte) error {
		if order = append(order, fmt.Sprintf("%v/%s", b, key)); len(order) == 4 {
			return stop
		}
		return nil
	})
	if s.Durable() && err != stop || !s.Durable() && err != nil {
		t.Errorf("err = %v", err)
	}
	if !slices.Equal(order, want) {
		t.Errorf("got %q, want %q", order, want)
	}
}

func loadSomeBuckets(t *testing.T, e Engine) {
	s := e.Open(t)
	ops, all := someOfEach()
	MustWrite(t, s, ops...)
	for _, tt := range []struct {
		buckets []store.Bucket
		want    []string
	}{
		{nil, all},
		{[]store.Bucket{store.Sessions}, all[:1]},
		{[]store.Bucket{store.Topics, store.Held}, all[1:3]},
		{[]store.Bucket{store.Spool}, all[3:]},
	} {
		var got []string
		err := s.Load(func(b store.Bucket, key, _ []byte) error {
			got = append(got, fmt.Sprintf("%v/%s", b, key))
			return nil
		}, tt.buckets...)
		if !s.Durable() {
			tt.want = nil
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%v: got %q, %v, want %q", tt.buckets, got, err, tt.want)
		}
	}
	for _, b := range []store.Bucket{0, 9} {
		err := s.Load(func(store.Bucket, []byte, []byte) error { t.Error("a record"); return nil }, store.Sessions, b)
		if !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%v: err = %v", b, err)
		}
	}
}

func loadWithAPanic(t *testing.T, e Engine) {
	s := e.Open(t)
	MustWrite(t, s, Put(store.Spool, "b", ""))
	func() {
		defer func() {
			if p := recover(); p != "mine" && s.Durable() {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = s.Load(func(store.Bucket, []byte, []byte) error { panic("mine") })
	}()
	MustWrite(t, s, Put(store.Spool, "c", "")) // no lock is left behind
}

func invalidBatches(t *testing.T, e Engine) {
	long := make([]byte, store.MaxKey+1)
	s := e.Open(t)
	for name, op := range map[string]store.Op{
		"no bucket":        {Key: []byte("k")},
		"unknown bucket":   {Bucket: 9, Key: []byte("k")},
		"unknown kind":     {Bucket: store.Held, Kind: 9, Key: []byte("k")},
		"no key":           {Bucket: store.Held},
		"delete no key":    {Bucket: store.Held, Kind: store.Delete},
		"key too long":     {Bucket: store.Held, Key: long},
		"prefix too long":  {Bucket: store.Held, Kind: store.DeletePrefix, Key: long},
		"value too long":   {Bucket: store.Held, Key: []byte("k"), Value: make([]byte, store.MaxValue+1)},
		"longest key is 1": {Bucket: store.Held, Key: long[:store.MaxKey]},
	} {
		if err := Write(t, s, Put(store.Held, "good", ""), op); errors.Is(err, store.ErrInvalid) == strings.HasPrefix(name, "longest") {
			t.Errorf("%s: err = %v", name, err)
		}
	}
	if err := s.Health(); err != nil {
		t.Errorf("health: %v", err)
	}
}

// randomOperations compares the store with a map, reopening in between.
func randomOperations(t *testing.T, e Engine) {
	s := e.Open(t)
	model := make(Records)
	next := uint32(1)
	random := func(n int) int { // a plain generator, so that a failure can be repeated
		next = next*1664525 + 1013904223
		return int(next>>8) % n
	}
	for round := range 60 {
		var ops []store.Op
		for range random(60) {
			b := store.Sessions + store.Bucket(random(int(store.Spool)))
			key := fmt.Sprintf("%02d/%02d", random(20), random(20))
			switch random(8) {
			case 0:
				ops = append(ops, Delete(b, key))
				delete(model, b.String()+"/"+key)
			case 1:
				ops = append(ops, DeletePrefix(b, key[:3]))
				maps.DeleteFunc(model, func(k, _ string) bool { return strings.HasPrefix(k, b.String()+"/"+key[:3]) })
			default:
				value := strings.Repeat(string(rune(round)), random(400))
				ops = append(ops, Put(b, key, value))
				model[b.String()+"/"+key] = value
			}
		}
		MustWrite(t, s, ops...)
		if round%10 == 9 {
			s = e.want(t, s, model)
		}
	}
}

func doneMaySubmit(t *testing.T, e Engine) {
	s := e.Open(t)
	last := make(chan error, 2)
	s.Submit(store.Batch{Ops: []store.Op{Put(store.Held, "1", "")}, Done: func(error) {
		s.Submit(store.Batch{Ops: []store.Op{Put(store.Held, "2", "")}, Done: func(err error) { last <- err }})
		s.LoadPrefix([]byte("2"), func(found []store.Record, err error) {
			if s.Durable() && len(found) != 1 {
				err = errors.Join(err, errors.New("what was submitted before is not found"))
			}
			last <- err
		})
	}})
	for range 2 {
		if err := <-last; err != nil {
			t.Error(err)
		}
	}
	e.want(t, s, Records{"held/1": "", "held/2": ""})
}

func closing(t *testing.T, e Engine) {
	s := e.Open(t)
	want := make(Records)
	errs := make(chan error, 101)
	for i := range 100 {
		want[fmt.Sprint("held/", i)] = "v"
		s.Submit(store.Batch{Ops: []store.Op{Put(store.Held, fmt.Sprint(i), "v")}, Done: func(err error) { errs <- err }})
	}
	s.LoadPrefix([]byte("1"), func(_ []store.Record, err error) { errs <- err })
	Close(t, s)
	if len(errs) != 101 {
		t.Fatalf("%d answers before Close returned, want 101", len(errs))
	}
	if s.Submit(store.Batch{Done: func(error) { t.Error("answered after Close") }}) {
		t.Error("accepted after Close")
	}
	if s.LoadPrefix([]byte("1"), func([]store.Record, error) { t.Error("loaded after Close") }) {
		t.Error("a call of LoadPrefix is accepted after Close")
	}
	if err := s.Load(func(store.Bucket, []byte, []byte) error { return nil }); s.Durable() && !errors.Is(err, store.ErrClosed) {
		t.Errorf("load after Close: %v", err)
	}
	Close(t, s)
	e.want(t, e.Reopen(t, s), want)
}
