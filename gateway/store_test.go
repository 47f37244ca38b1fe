package gateway

import (
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/store"
	"sngate/store/bolt"
	"sngate/store/storetest"
	"sngate/upstream"
)

// sickStore is a store in a file whose health the test sets.
type sickStore struct {
	store.Store
	full atomic.Bool
}

func (s *sickStore) Durable() bool { return true }
func (s *sickStore) Health() error {
	if s.full.Load() {
		return errors.New("no space left on device")
	}
	return nil
}

func TestStoreIsTheCallersToClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.InMemory()
		r := newRig(t, func(o *Options) { o.Store = s })
		if err := r.gateway.Stop(0); err != nil {
			t.Error(err)
		}
		if !s.Submit(store.Batch{}) {
			t.Error("the gateway has closed the store")
		}
	})
}

func TestWithoutAStoreThereIsOneInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if s := newRig(t, nil).gateway.opts.Store; s == nil || s.Durable() {
			t.Errorf("store %v", s)
		}
	})
}

func TestStoreThatFailsIsLoggedOnceAndAgainWhenItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sickStore{Store: store.InMemory()}
		r := newRig(t, func(o *Options) { o.Store = s })
		logged := func(want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for line := range strings.Lines(r.log.String()) {
				if strings.Contains(line, `"message":"store `) {
					got = append(got, line)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("logged %q, want %q", got, want)
			}
			for i := range want {
				if !strings.Contains(got[i], want[i]) {
					t.Errorf("logged %q, want %q", got[i], want[i])
				}
			}
			s.full.Store(s.full.Load()) // what is logged next comes after the reading
		}
		const fails, works = `"level":"warn","error":"no space left on device"`, `"level":"info"`
		<-time.After(time.Hour)
		logged()
		s.full.Store(true)
		<-time.After(2 * time.Second)
		logged(fails)
		<-time.After(time.Hour)
		logged(fails)
		s.full.Store(false)
		<-time.After(2 * time.Second)
		logged(fails, works)
		s.full.Store(true)
		<-time.After(10 * time.Second)
		logged(fails, works)
		<-time.After(time.Minute)
		logged(fails, works, fails)
	})
}

// The operator sees the real store, in a file, on all pages.
func TestOperatorSeesTheStore(t *testing.T) {
	file, _, err := bolt.Open(filepath.Join(t.TempDir(), "sngate.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := &sickStore{Store: file}
	g, err := Start(Options{
		Listeners: []listen.Options{{Address: "127.0.0.1:0"}}, Session: sessionConfig(t), Store: s,
		Upstream:   upstream.Options{Address: "127.0.0.1:1"}, // nobody is there
		OpsAddress: "127.0.0.1:0", Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Stop(0)
	answered := make(chan error, 1)
	// Behind what the gateway itself has put there at its start.
	file.Submit(store.Batch{
		Ops:  []store.Op{{Bucket: store.Sessions, Key: []byte("k"), Value: []byte("v")}},
		Done: func(err error) { answered <- err },
	})
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	s.full.Store(true)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for path, wants := range map[string][]string{
		"/metrics": {"\nsngate_store_durable 1\n", "\nsngate_store_healthy 0\n", "\nsngate_store_commits_total ", "\nsngate_store_operations_total 2\n"},
		"/readyz":  {"\ndegraded: store: no space left on device\n"},
		"/healthz": {"ok\n"},
		"/":        {" commits, the last one took", "<li>store: no space left on device</li>"},
	} {
		resp, err := client.Get("http://" + g.OpsAddr() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(body), want) {
				t.Errorf("%s: %q is missing in\n%.2000s", path, want, body)
			}
		}
	}
}

// batchStore counts the batches that are submitted.
type batchStore struct {
	*storetest.Store
	lazy, prompt atomic.Int32
	t            *testing.T
}

func (s *batchStore) Submit(b store.Batch) bool {
	count := &s.prompt
	if b.Lazy {
		count = &s.lazy
		for _, op := range b.Ops {
			if op.Kind == store.Put {
				s.t.Errorf("%q is stored lazily", op.Key)
			}
		}
	}
	count.Add(1)
	return s.Store.Submit(b)
}

// A message that is held is stored at once, because the broker waits for that. Nobody waits for
// its removal.
func TestDeliveredMessagesAreRemovedLazily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &batchStore{Store: storetest.New(), t: t}
		r := newRig(t, func(o *Options) { o.Store = s })
		d := r.device("10.0.1.1:5000")
		d.connectWith(false, 60, "dev")
		d.subscribe("t", 1)
		d.sleep(600)
		submitted := func(what string, do func(), prompt, lazy int32) {
			t.Helper()
			s.prompt.Store(0)
			s.lazy.Store(0)
			do()
			synctest.Wait()
			if p, l := s.prompt.Load(), s.lazy.Load(); p != prompt || l != lazy {
				t.Errorf("%s: %d prompt batches and %d lazy ones, want %d and %d", what, p, l, prompt, lazy)
			}
		}
		submitted("held", func() {
			r.publish("t", "a", 1)
			r.publish("t", "b", 1)
		}, 2, 0)
		submitted("delivered", func() {
			if got := d.wake("dev"); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("got %q", got)
			}
		}, 0, 2)
		if keys := strings.Join(s.Keys(), "\n"); strings.Contains(keys, store.Held.String()) {
			t.Errorf("still stored:\n%s", keys)
		}
	})
}
