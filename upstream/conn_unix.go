//go:build unix

package upstream

import (
	"io"
	"net"
	"os"
	"syscall"
)

// newSource returns the source of nc. A connection with a descriptor is waited on
// without a buffer: it takes one from the pool when there is something to read and
// gives it back when all of it is decoded.
func newSource(nc net.Conn) source {
	if raw := rawConn(nc); raw != nil {
		s := &rawSource{Reader: nc, raw: raw}
		s.step = s.try
		return s
	}
	return &plainSource{Reader: nc}
}

func rawConn(nc net.Conn) syscall.RawConn {
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
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
		s.w.buf = getBuffer()
	}
	for {
		s.n, s.err = syscall.Read(int(fd), s.w.buf.b[s.w.w:])
		if s.err != syscall.EINTR {
			break
		}
	}
	if s.err != nil {
		s.n = 0
	}
	wait := s.err == syscall.EAGAIN
	if s.n == 0 && s.w.r == s.w.w {
		putBuffer(s.w.buf)
		s.w.buf, s.w.r, s.w.w = nil, 0, 0
	}
	return !wait
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
