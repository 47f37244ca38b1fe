//go:build !unix

package mqtt

import "net"

// newSource returns the source of nc.
func newSource(nc net.Conn) source { return &plainSource{Reader: nc} }

// Nonblocking is not supported: there are no descriptors.
func (*Decoder) Nonblocking(int) {}
