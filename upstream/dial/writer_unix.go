//go:build unix

package dial

import (
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

// descriptor returns the descriptor of nc, if it has one: it is nc's.
func descriptor(nc net.Conn) (fd int, ok bool) {
	raw := rawConn(nc)
	if raw == nil {
		return 0, false
	}
	err := raw.Control(func(f uintptr) { fd = int(f) })
	return fd, err == nil
}

// writer writes to a connection without blocking.
type writer struct {
	raw    syscall.RawConn // nil: never
	step   func(fd uintptr) bool
	io     *rawWrite
	fd     int
	direct bool // fd is written to without telling the scheduler
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
	if w.direct {
		return w.writeFD(p)
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

// nonblocking has w write to the descriptor of its connection directly.
func (w *writer) nonblocking(fd int) { w.fd, w.direct = fd, true }

// writeFD is tryWrite by a system call that is known not to block.
func (w *writer) writeFD(p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(w.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
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
