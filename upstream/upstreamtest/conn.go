package upstreamtest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// connBuffer is what one direction of a Pipe holds, as a socket's buffers do.
const connBuffer = 64 << 10

// Pipe returns the two ends of an in-memory connection. Unlike net.Pipe it buffers, in
// each direction, size bytes (0: 64 KiB), so that a writer goes on while the reader is
// busy. What was written before a Close can still be read, then comes io.EOF.
func Pipe(size int) (*Conn, *Conn) {
	if size == 0 {
		size = connBuffer
	}
	a, b := newHalf(size), newHalf(size)
	return &Conn{in: a, out: b}, &Conn{in: b, out: a}
}

// Conn is one end of a Pipe. It implements net.Conn with deadlines.
type Conn struct{ in, out *half }

// half is one direction.
type half struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	size    int
	closed  bool // the writer's end: EOF follows buf
	dead    bool // the reader's end
	readBy  deadline
	writeBy deadline
}

func newHalf(size int) *half {
	h := &half{size: size}
	h.changed.L = &h.mu
	return h
}

// deadline is a point in time that wakes the half when it comes.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (h *half) set(d *deadline, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			h.mu.Lock()
			h.changed.Broadcast()
			h.mu.Unlock()
		})
	}
	h.changed.Broadcast()
}

func (h *half) close(end *bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*end = true
	h.changed.Broadcast()
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.dead:
			return 0, net.ErrClosed
		case h.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			if h.buf = h.buf[n:]; len(h.buf) == 0 {
				h.buf = nil
			}
			h.changed.Broadcast()
			return n, nil
		case h.closed:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (n int, err error) {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(p) > 0 {
		switch {
		case h.closed:
			return n, net.ErrClosed
		case h.dead:
			return n, io.ErrClosedPipe
		case h.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		case len(h.buf) >= h.size:
			h.changed.Wait()
			continue
		}
		k := min(len(p), h.size-len(h.buf))
		h.buf = append(h.buf, p[:k]...)
		p, n = p[k:], n+k
		h.changed.Broadcast()
	}
	return n, nil
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.in.set(&c.in.readBy, time.Time{})
	c.out.set(&c.out.writeBy, time.Time{})
	c.in.close(&c.in.dead)
	c.out.close(&c.out.closed)
	return nil
}

// Break ends the connection as the system does with one whose other end does not answer:
// what the far end writes fails, and this end hears and tells nothing of it.
func (c *Conn) Break() { c.in.close(&c.in.dead) }

// Buffered returns how many bytes wait to be read here.
func (c *Conn) Buffered() int {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return len(c.in.buf)
}

// Ended reports whether the other end has been closed.
func (c *Conn) Ended() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.closed
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.set(&c.in.readBy, t)
	c.out.set(&c.out.writeBy, t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.set(&c.in.readBy, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.set(&c.out.writeBy, t)
	return nil
}

type addr struct{}

func (addr) Network() string { return "memory" }
func (addr) String() string  { return "memory" }

// LocalAddr implements net.Conn.
func (*Conn) LocalAddr() net.Addr { return addr{} }

// RemoteAddr implements net.Conn.
func (*Conn) RemoteAddr() net.Addr { return addr{} }
