// Package eventloop lets one goroutine wait for many descriptors at once, without a
// goroutine, a channel or a lock for each of them. It is Linux's epoll, waited for through
// the poller of Go's runtime, so that no thread blocks.
//
// Where there is no epoll, [New] returns [ErrUnsupported].
package eventloop

import (
	"errors"
	"fmt"
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
