//go:build !linux

package dial

import "syscall"

// bindLate has nothing to do: the port is chosen together with the address.
func bindLate(string, string, syscall.RawConn) error { return nil }
