//go:build !linux

package eventloop

import "time"

// Loop waits for descriptors. There is none on this system.
type Loop struct{ Found func() }

// New returns [ErrUnsupported].
func New(time.Time) (*Loop, error) { return nil, ErrUnsupported }

// Add is not supported.
func (*Loop) Add(int, Handler) error { return ErrUnsupported }

// Want is not supported.
func (*Loop) Want(int, bool, bool) error { return ErrUnsupported }

// Soon is not supported.
func (*Loop) Soon(Handler) {}

// Remove is not supported.
func (*Loop) Remove(int) {}

// Wake is not supported.
func (*Loop) Wake() {}

// Wait is not supported.
func (*Loop) Wait(now, until time.Duration) error { return ErrUnsupported }

// Close is not supported.
func (*Loop) Close() error { return nil }
