package gateway

import (
	"sync"

	"sngate/gateway/listen"
	"sngate/gateway/metrics"
	"sngate/snpacket"
	"sngate/upstream"
)

// arrival is one datagram on its way to a shard.
type arrival struct {
	datagram *listen.Datagram // recycled by the shard
	frame    snpacket.Frame   // the MQTT-SN message in it, without encapsulation
	peer     listen.Peer
	entry    *entry      // whose address it came from; nil when it is to be found by client id
	connect  *connecting // of a CONNECT in the queue for strangers; of what is behind one, that CONNECT
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

// Their lengths.
const (
	arrivalQueue  = 4096 // datagrams of known devices waiting for a shard
	strangerQueue = 1024 // and those of all others
	inputQueue    = 1024 // inputs of connections waiting for a shard; readers wait, TCP pushes back
)

// queues are the ways by which other goroutines reach a shard.
type queues struct {
	arrivals  chan arrival // of the devices whose address is known
	strangers chan arrival // of all others; each waits for a turn of its own
	inputs    chan upstream.Input
	posted    mailbox
	stopped   <-chan struct{} // closed when the shard has ended
}

func newQueues(stopped <-chan struct{}) queues {
	return queues{
		arrivals:  make(chan arrival, arrivalQueue),
		strangers: make(chan arrival, strangerQueue),
		inputs:    make(chan upstream.Input, inputQueue),
		posted:    mailbox{wake: make(chan struct{}, 1)},
		stopped:   stopped,
	}
}

// lengths is how much is waiting.
func (q *queues) lengths() metrics.QueueLengths {
	return metrics.QueueLengths{Datagrams: len(q.arrivals), Strangers: len(q.strangers), Events: len(q.inputs)}
}

// Push implements upstream.Inbox.
func (q *queues) Push(in upstream.Input, done <-chan struct{}) bool {
	select {
	case q.inputs <- in:
		return true
	case <-done:
		return false
	case <-q.stopped:
		return false
	}
}

// offer gives the shard an arrival of a known device, or reports that the queue is full.
func (q *queues) offer(a arrival) bool {
	select {
	case q.arrivals <- a:
		return true
	default:
		return false
	}
}

// offerStranger is offer for an arrival of somebody who is not known, or not for the one
// who is named. Strangers get at most half of the memory for datagrams.
func (q *queues) offerStranger(a arrival) bool {
	if a.datagram.Crowded() {
		return false
	}
	select {
	case q.strangers <- a:
		return true
	default:
		return false
	}
}

// post has f run by the shard, between two turns.
func (q *queues) post(f func()) { q.posted.post(f) }

// mailbox takes functions from other goroutines to be run by the shard. It is bounded
// by what posts: each entry once at a time, the loads that are asked of the store, the gateway
// itself, and the few questions of operators that Gateway.inspections has room for.
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
