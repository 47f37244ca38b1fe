//go:build unix

package dial

import (
	"net"
	"os"
	"syscall"
)

func rawConn(nc net.Conn) syscall.RawConn {
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// writer writes to a connection without blocking.
type writer struct {
	raw  syscall.RawConn // nil: never
	step func(fd uintptr) bool
	io   *rawWrite
}

type rawWrite struct {
	p   []byte
	n   int
	err error
}

func newWriter(nc net.Conn) writer {
	raw := rawConn(nc)
	if raw == nil {
		return writer{}
	}
	w := new(rawWrite)
	return writer{raw: raw, step: w.try, io: w}
}

// tryWrite writes as much of p as the connection takes now.
func (w *writer) tryWrite(p []byte) (int, error) {
	if w.raw == nil {
		return 0, nil
	}
	w.io.p, w.io.n, w.io.err = p, 0, nil
	err := w.raw.Write(w.step)
	w.io.p = nil
	if err == nil && w.io.err != nil {
		err = os.NewSyscallError("write", w.io.err)
	}
	return w.io.n, err
}

func (w *rawWrite) try(fd uintptr) bool {
	for {
		w.n, w.err = syscall.Write(int(fd), w.p)
		if w.err != syscall.EINTR {
			break
		}
	}
	if w.err != nil {
		w.n = 0
	}
	if w.err == syscall.EAGAIN {
		w.err = nil
	}
	return true // never wait here
}
