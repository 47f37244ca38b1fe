package mqtt

import "io"

// ErrAgain says that a source that does not block has nothing now. It is a temporary net.Error,
// after which those that read the source go on, as tls.Conn does.
var ErrAgain error = again{}

type again struct{}

func (again) Error() string   { return "upstream: nothing to read" }
func (again) Temporary() bool { return true }
func (again) Timeout() bool   { return false }

// plainSource reads a connection that cannot be waited on without a buffer, into a
// small one it keeps.
type plainSource struct {
	io.Reader
	own Buffer
}

func (s *plainSource) wait(w *window) error {
	if s.own.B == nil {
		s.own.B = make([]byte, minBuffer)
	}
	w.buf = &s.own
	n, err := s.Read(s.own.B[w.w:])
	w.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Nonblocking has d go on with r, which returns [ErrAgain] where there is nothing to read. What
// has been read before stays in d.
func (d *Decoder) Nonblocking(r io.Reader) {
	if s, ok := d.src.(*plainSource); ok && d.buf == &s.own {
		d.buf = GetBuffer()
		d.w = copy(d.buf.B, s.own.B[d.r:d.w])
		d.r = 0
	}
	d.src = pooledSource{r}
}

// pooledSource reads what does not block: it takes a buffer from the pool for it, until Idle.
type pooledSource struct{ io.Reader }

func (s pooledSource) wait(w *window) error {
	if w.buf == nil {
		w.buf = GetBuffer()
	}
	n, err := s.Read(w.buf.B[w.w:])
	w.w += n
	if n > 0 {
		return nil // an error is told again
	}
	return err
}
