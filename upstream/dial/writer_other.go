//go:build !unix

package dial

import (
	"errors"
	"io"
	"net"
)

// writer leaves every write to the flusher, but for a connection in a loop: there is no
// portable way to write without blocking.
type writer struct {
	direct io.Writer // nil: it is in none
}

func newWriter(net.Conn) writer { return writer{} }

func (w *writer) tryWrite(p []byte) (int, error) {
	if w.direct != nil {
		return w.direct.Write(p)
	}
	return 0, nil
}

// descriptor is not supported.
type descriptor int

func (descriptor) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }
