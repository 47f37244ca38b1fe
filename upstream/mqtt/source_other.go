//go:build !unix

package mqtt

import (
	"errors"
	"io"
	"net"
)

// newSource returns the source of nc.
func newSource(nc net.Conn) source { return &plainSource{Reader: nc} }

// Descriptor is not supported: there are no descriptors.
func Descriptor(int) io.Reader { return unsupported{} }

type unsupported struct{}

func (unsupported) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }
