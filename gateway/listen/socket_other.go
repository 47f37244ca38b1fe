//go:build !linux

package listen

import (
	"errors"
	"net/netip"
)

// Socket reads and sends without waiting. There is none on this system.
type Socket struct{}

// Socket returns nil.
func (*Listener) Socket(int, *Pool) (*Socket, error) { return nil, nil }

// FD is not supported.
func (*Socket) FD() int { return -1 }

// Close does nothing.
func (*Socket) Close() error { return nil }

// Read is not supported.
func (*Socket) Read(func(*Datagram), func(int)) (int, error) { return 0, errors.ErrUnsupported }

// Send is not supported.
func (*Socket) Send([]byte, netip.AddrPort) error { return errors.ErrUnsupported }
