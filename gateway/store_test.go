package gateway

import (
	"testing"
	"testing/synctest"

	"sngate/store"
)

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
