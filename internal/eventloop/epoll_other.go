//go:build !linux

package eventloop

import "time"

// New returns [ErrUnsupported].
func New(time.Time) (*Loop, error) { return nil, ErrUnsupported }
