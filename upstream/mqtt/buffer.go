package mqtt

import "sync"

const (
	minBuffer    = 512     // of a connection that has to keep its read buffer
	pooledBuffer = 4 << 10 // of the pool
	// MaxPooled is the largest Buffer, in bytes, that Free keeps.
	MaxPooled = 64 << 10
)

// Buffer is a byte slice that can go into a pool without an allocation.
type Buffer struct{ B []byte }

// buffers holds what a connection needs only while something happens on it, so that an
// idle one holds nothing. It is a cache, not state.
var buffers = sync.Pool{New: func() any { return &Buffer{make([]byte, pooledBuffer)} }}

// GetBuffer returns a Buffer whose B has its whole capacity as length and any content.
// It is the caller's until Free.
func GetBuffer() *Buffer {
	b := buffers.Get().(*Buffer)
	b.B = b.B[:cap(b.B)]
	return b
}

// Free gives b back to the pool, unless it has grown so large that it is better freed.
func (b *Buffer) Free() {
	if cap(b.B) <= MaxPooled {
		buffers.Put(b)
	}
}
