package bolt

import (
	"errors"
	"fmt"
	"time"

	"sngate/store"
)

// patience bounds every wait of these tests; it is never used up when all is well.
const patience = 20 * time.Second

// await polls until ok, for what no channel tells.
func await(what string, ok func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			return fmt.Errorf("%s: nothing after %v", what, patience)
		}
	}
	return nil
}

// answer submits a batch and returns how long it took and its answer.
func answer(s store.Store, ops ...store.Op) (time.Duration, error) {
	start := time.Now()
	c := make(chan error, 1)
	if !s.Submit(store.Batch{Ops: ops, Done: func(err error) { c <- err }}) {
		return 0, errors.New("refused")
	}
	select {
	case err := <-c:
		return time.Since(start), err
	case <-time.After(patience):
		return patience, errors.New("no answer")
	}
}
