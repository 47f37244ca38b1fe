//go:build unix

package dial

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
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
	raw    syscall.RawConn // nil: never
	step   func(fd uintptr) bool
	io     *rawWrite
	direct io.Writer // in place of raw, for a connection in a loop; nil: raw
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
	if w.direct != nil {
		return w.direct.Write(p)
	}
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

// descriptor is one that does not block.
type descriptor int

// Write writes what the system takes, which may be nothing. The scheduler is not told.
func (fd descriptor) Write(p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return 0, os.NewSyscallError("write", errno)
		}
	}
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
