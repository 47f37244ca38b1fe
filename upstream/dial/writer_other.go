//go:build !unix

package dial

import "net"

// writer leaves every write to the flusher: there is no portable way to write
// without blocking.
type writer struct{}

func newWriter(net.Conn) writer { return writer{} }

func (writer) tryWrite([]byte) (int, error) { return 0, nil }

// descriptor reports false: nothing can wait for it.
func descriptor(net.Conn) (fd int, ok bool) { return 0, false }

func (*writer) nonblocking(int) {}
