package gateway

import (
	"sync/atomic"

	"sngate/gateway/persist"
)

// repairs are the clients of a shard of which the store may not have what it should. They
// belong to the shard, except that n may be read by others. The list is bounded; what does
// not fit is found again as it was when the gateway restarts.
type repairs struct {
	keeper  *persist.Keeper
	clients map[string]struct{}
	n       atomic.Int64 // length of clients
}

// add notes a client, and that the store does not work. most bounds the list.
func (r *repairs) add(clientID string, most int) {
	r.keeper.Failed()
	if len(r.clients) < most {
		r.clients[clientID] = struct{}{}
		r.n.Store(int64(len(r.clients)))
	}
}

func (r *repairs) remove(clientID string) {
	delete(r.clients, clientID)
	r.n.Store(int64(len(r.clients)))
}

// waits reports whether a client is among them.
func (r *repairs) waits(clientID string) bool {
	if len(r.clients) == 0 {
		return false
	}
	_, waits := r.clients[clientID]
	return waits
}
