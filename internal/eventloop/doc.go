// Package eventloop lets one goroutine wait for many descriptors at once, without a
// goroutine, a channel or a lock for each of them. On Linux that is epoll, waited for through
// the poller of Go's runtime, so that no thread blocks.
//
// Where there is no epoll, [New] returns [ErrUnsupported]. A simulated network brings a
// [Poller] of its own: all else is the same there.
package eventloop

import (
	"errors"
	"fmt"
	"time"
)

// ErrUnsupported says that this system has no epoll. It is an [errors.ErrUnsupported].
var ErrUnsupported = fmt.Errorf("eventloop: no epoll: %w", errors.ErrUnsupported)

// Handler is told what has become of a descriptor. It runs in the goroutine of the Loop, and
// may call any method of it.
type Handler interface {
	// Ready says that reading, or writing, would not block. An error or the end of a
	// connection makes both true that are wanted: the call that follows tells.
	Ready(read, write bool)
}

// Poller knows what is ready. Its methods belong to the goroutine of its Loop, but for
// Descriptor and Wake, which any goroutine may call.
type Poller interface {
	// Descriptor is the number by which conn is waited for; false: it cannot be.
	Descriptor(conn any) (fd int, ok bool)
	// Set begins or ends to wait for a descriptor, or changes for what. serial is reported
	// with it.
	Set(fd int, serial uint32, had, want Interest) error
	// Poll fills found with what is ready, and does not wait. What stays ready is found again,
	// and behind the others.
	Poll(found []Event) (n int, err error)
	// Wait is Poll that waits until something is ready, until Wake, or until an instant of the
	// Loop's clock. It may return earlier.
	Wait(found []Event, until time.Duration) (n int, err error)
	// Wake has the Wait in progress, or the next Poll or Wait, return.
	Wake()
	Close() error
}

// Interest is what of a descriptor is waited for; with neither it is not in the set.
type Interest struct{ Read, Write bool }

// Event says that a descriptor is ready.
type Event struct {
	FD          int
	Serial      uint32 // as it was set
	Read, Write bool   // of what is not waited for they mean nothing
}
