package gateway

import (
	"sngate/gateway/metrics"
	"sngate/upstream"
)

// Their lengths.
const (
	arrivalQueue = 4096 // datagrams of known devices waiting for a shard
	inputQueue   = 1024 // inputs of connections waiting for a shard; readers wait, TCP pushes back
	// strangerQueue is for those of all others. Devices that come up together after a power cut
	// come as strangers, within milliseconds, and one that finds no room here is not heard again
	// before it repeats its CONNECT. So there is room for as many as session.connect_burst lets
	// in at once by default.
	strangerQueue = 10_000
)

func newQueues(stopped <-chan struct{}) queues {
	return queues{
		arrivals:  make(chan arrival, arrivalQueue),
		strangers: make(chan *arrival, strangerQueue),
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
		q.woke()
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
		q.woke()
		return true
	default:
		return false
	}
}

// offerStranger is offer for an arrival of somebody who is not known, or not for the one
// who is named. Strangers get at most half of the memory for datagrams.
func (q *queues) offerStranger(a *arrival) bool {
	if a.datagram.Crowded() {
		return false
	}
	box, ok := q.boxes.Get().(*arrival)
	if !ok {
		box = new(arrival)
	}
	*box = *a
	select {
	case q.strangers <- box:
		q.woke()
		return true
	default:
		q.unbox(box)
		return false
	}
}

// unbox takes out what was in strangers.
func (q *queues) unbox(box *arrival) arrival {
	a := *box
	*box = arrival{}
	q.boxes.Put(box)
	return a
}

// post has f run by the shard, between two turns.
func (q *queues) post(f func()) {
	q.posted.post(f)
	q.woke()
}

func (q *queues) woke() {
	if q.wake != nil {
		q.wake()
	}
}

// waiting reports whether anything is in the queues.
func (q *queues) waiting() bool {
	return len(q.arrivals) > 0 || len(q.inputs) > 0 || len(q.strangers) > 0 || len(q.posted.wake) > 0
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

// run runs what has been posted.
func (m *mailbox) run() {
	for _, f := range m.take() {
		f()
	}
}

func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	jobs := m.jobs
	m.jobs = nil
	select { // what it tells of is taken
	case <-m.wake:
	default:
	}
	return jobs
}
