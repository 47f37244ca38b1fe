package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"sngate/gateway/admin"
	"sngate/store"
	"sngate/store/storetest"
)

// slowLoads is a store that answers LoadPrefix when it is told.
type slowLoads struct {
	*storetest.Store

	mu      sync.Mutex
	open    bool  // answers at once
	refuse  bool  // takes no call
	fault   error // of the answers
	asked   []string
	pending map[string]func() // answers, by client id
}

func (s *slowLoads) LoadPrefix(prefix []byte, done func([]store.Record, error)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		return false
	}
	id := strings.TrimSuffix(string(prefix), "\x00")
	s.asked = append(s.asked, id)
	answer := func() { s.Store.LoadPrefix(prefix, done) }
	if fault := s.fault; fault != nil {
		answer = func() { done(nil, fault) }
	}
	if s.open {
		answer()
	} else {
		s.pending[id] = answer
	}
	return true
}

// change sets what comes of the calls from now on.
func (s *slowLoads) change(set func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set()
}

// answer answers these clients, or all and all that follow.
func (s *slowLoads) answer(ids ...string) {
	s.mu.Lock()
	if len(ids) == 0 {
		s.open = true
		for id := range s.pending {
			ids = append(ids, id)
		}
	}
	var answers []func()
	for _, id := range ids {
		answers = append(answers, s.pending[id])
		delete(s.pending, id)
	}
	s.mu.Unlock()
	for _, answer := range answers {
		answer()
	}
	synctest.Wait()
}

// calls returns the client ids that were asked for since calls returned before.
func (s *slowLoads) calls() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// slowStart crashes the gateway and starts the next one, whose sessions are being loaded until
// the store is told to answer.
func (r *rig) slowStart() *slowLoads {
	r.t.Helper()
	r.crash()
	s := &slowLoads{Store: r.store, pending: make(map[string]func())}
	r.opts.Store = s
	r.start()
	return s
}

// inLoadingRig runs a test in a bubble with a durable rig.
func inLoadingRig(t *testing.T, change func(*Options), test func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) { test(t, newDurableRig(t, change)) })
}

// devName is the client id of a device of devices.
func devName(i int) string { return fmt.Sprintf("dev-%02d", i) }

// devices connects n devices, each at an address of its own.
func (r *rig) devices(n int) (list []*device) {
	r.t.Helper()
	for i := range n {
		d := r.device(fmt.Sprintf("10.0.4.%d:5000", i+1))
		d.connectWith(false, 600, devName(i))
		list = append(list, d)
	}
	return list
}

// wantCalls expects that the store was asked for these clients, in this order, since the last look.
func (r *rig) wantCalls(why string, s *slowLoads, want ...string) {
	r.t.Helper()
	if got := s.calls(); !slices.Equal(got, want) {
		r.t.Fatalf("%s: the store was asked for %q, want %q", why, got, want)
	}
}

// readyz is what the operator is told about whether the gateway is ready.
func (r *rig) readyz() string {
	synctest.Wait()
	w := httptest.NewRecorder()
	admin.Handler(r.gateway.opsOptions()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Body.String()
}

// sessionsOf returns what a store has, but for the records of the gateway's own.
func sessionsOf(t *testing.T, s store.Store) storetest.Records {
	t.Helper()
	all := storetest.Dump(t, s)
	for key := range all {
		if strings.HasPrefix(key, "sessions/\x00") {
			delete(all, key)
		}
	}
	return all
}
