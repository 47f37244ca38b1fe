//go:build unix

package mqtt

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// newSource returns the source of nc. A connection with a descriptor is waited on
// without a buffer: it takes one from the pool when there is something to read and
// gives it back when all of it is decoded.
func newSource(nc net.Conn) source {
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s := &rawSource{Reader: nc, raw: raw}
			s.step = s.try
			return s
		}
	}
	return &plainSource{Reader: nc}
}

// Descriptor returns what reads a descriptor that does not block: with [ErrAgain] where there is
// nothing to read.
func Descriptor(fd int) io.Reader { return descriptor(fd) }

type descriptor int

func (fd descriptor) Read(b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return 0, ErrAgain
		case errno != 0:
			return 0, os.NewSyscallError("read", errno)
		case n == 0:
			return 0, io.EOF
		default:
			return int(n), nil
		}
	}
}

type rawSource struct {
	io.Reader
	raw  syscall.RawConn
	step func(fd uintptr) bool // try, made once

	// Of the wait in progress.
	w   *window
	n   int
	err error
}

func (s *rawSource) wait(w *window) error {
	s.w, s.n, s.err = w, 0, nil
	err := s.raw.Read(s.step)
	s.w = nil
	switch {
	case err != nil:
		return err
	case s.err != nil:
		return os.NewSyscallError("read", s.err)
	case s.n == 0:
		return io.EOF
	}
	w.w += s.n
	return nil
}

// try reads once; false means that there is nothing yet.
func (s *rawSource) try(fd uintptr) bool {
	if s.w.buf == nil {
		s.w.buf = GetBuffer()
	}
	for {
		s.n, s.err = syscall.Read(int(fd), s.w.buf.B[s.w.w:])
		if s.err != syscall.EINTR {
			break
		}
	}
	if s.err != nil {
		s.n = 0
	}
	wait := s.err == syscall.EAGAIN
	if s.n == 0 && s.w.r == s.w.w {
		s.w.buf.Free()
		s.w.buf, s.w.r, s.w.w = nil, 0, 0
	}
	return !wait
}
