package gateway

import (
	"sync"

	"sngate/gateway/listen"
	"sngate/upstream"
)

// The queues by which other goroutines reach a shard.

// arrival is one datagram on its way to a shard.
type arrival struct {
	datagram *listen.Datagram // recycled by the shard
	body     []byte           // the MQTT-SN message in it, without encapsulation
	peer     listen.Peer
	entry    *entry      // whose address it came from; nil when it is to be found by client id
	connect  *connecting // of a CONNECT in the queue for strangers
	assigned string      // the client id for a CONNECT that has none; "": it gets none
	kind     arrivalKind
}

// arrivalKind says how the session of an arrival is found.
type arrivalKind uint8

const (
	byAddress arrivalKind = iota // arrival.entry
	byConnect                    // CONNECT: by client id, made if there is none
	byWake                       // PINGREQ with client id
	byTopic                      // QoS -1: there is no session
)

// Push implements upstream.Inbox.
func (s *shard) Push(in upstream.Input, done <-chan struct{}) bool {
	select {
	case s.inputs <- in:
		return true
	case <-done:
		return false
	case <-s.gw.stopped:
		return false
	}
}

// offer gives the shard an arrival of a known device, or reports that the queue is full.
func (s *shard) offer(a arrival) bool {
	select {
	case s.arrivals <- a:
		return true
	default:
		return false
	}
}

// offerStranger is offer for an arrival of somebody who is not known, or not for the one
// who is named. Strangers get at most half of the memory for datagrams.
func (s *shard) offerStranger(a arrival) bool {
	if a.datagram.Crowded() {
		return false
	}
	select {
	case s.strangers <- a:
		return true
	default:
		return false
	}
}

// mailbox takes functions from other goroutines to be run by the shard. It is bounded
// by what posts: each entry once at a time, the gateway itself, and the few questions of
// operators that Gateway.inspections has room for.
type mailbox struct {
	mu   sync.Mutex
	jobs []func()
	wake chan struct{} // has room for one
}

func (m *mailbox) post(f func()) {
	m.mu.Lock()
	m.jobs = append(m.jobs, f)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	jobs := m.jobs
	m.jobs = nil
	return jobs
}
