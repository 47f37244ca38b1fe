package upstream

// Clients whose connections the broker closes instead of answering CONNECT.

import (
	"sync"
	"time"
)

const (
	closesToRefuse = 3
	maxClosers     = 1024
	closerAge      = 10 * time.Minute
)

// closers counts, by client identifier, the connects in a row that the broker closed
// instead of answering CONNECT. A Link does not outlive its first failure, so the count is
// the Dialer's.
type closers struct {
	mu   sync.Mutex
	byID map[string]closer
}

type closer struct {
	n  int
	at time.Duration
}

// note counts one connect that was closed while the broker serves others, and reports
// whether it is one too many.
func (c *closers) note(now time.Duration, clientID string, serving bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[clientID]
	if now-e.at > closerAge {
		e.n = 0
	}
	if serving {
		e.n++
	}
	e.at = now
	if c.byID == nil {
		c.byID = make(map[string]closer)
	}
	if _, known := c.byID[clientID]; !known && len(c.byID) >= maxClosers {
		for id := range c.byID { // any of them: it only begins to count anew
			delete(c.byID, id)
			break
		}
	}
	c.byID[clientID] = e
	return e.n >= closesToRefuse
}

// forget takes note of a connect that was accepted.
func (c *closers) forget(clientID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byID, clientID)
}
