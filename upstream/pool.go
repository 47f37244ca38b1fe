package upstream

import "sync"

const (
	minBuffer    = 512     // of a connection that has to keep its read buffer
	pooledBuffer = 4 << 10 // of the pool
	maxPooled    = 64 << 10
)

// buffer is a byte slice that can go into a pool without an allocation.
type buffer struct{ b []byte }

// buffers and eventLists hold what a connection needs only while something happens on
// it, so that an idle one holds nothing. They are caches, not state.
var (
	buffers    = sync.Pool{New: func() any { return &buffer{make([]byte, pooledBuffer)} }}
	eventLists = sync.Pool{New: func() any { return new(eventList) }}
)

func getBuffer() *buffer {
	b := buffers.Get().(*buffer)
	b.b = b.b[:cap(b.b)]
	return b
}

// putBuffer gives b back, unless it has grown so large that it is better freed.
func putBuffer(b *buffer) {
	if cap(b.b) <= maxPooled {
		buffers.Put(b)
	}
}

type eventList struct{ list []Event }

// putEvents gives l back with nothing left in it.
func putEvents(l *eventList) {
	if cap(l.list) > 64 {
		return
	}
	clear(l.list)
	l.list = l.list[:0]
	eventLists.Put(l)
}
