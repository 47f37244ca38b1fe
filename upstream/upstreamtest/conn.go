package upstreamtest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"sngate/internal/eventloop/looptest"
	"sngate/upstream/mqtt"
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
	near, far := &Conn{in: a, out: b}, &Conn{in: b, out: a}
	a.ends, b.ends = [2]*Conn{near, far}, [2]*Conn{near, far}
	return near, far
}

// Conn is one end of a Pipe. It implements net.Conn with deadlines, and an event loop may wait
// for it.
type Conn struct {
	in, out *half
	bell    looptest.Bell
}

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
	ends    [2]*Conn
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

// change wakes who waits for h. h.mu is held.
func (h *half) change() {
	h.changed.Broadcast()
	for _, c := range h.ends {
		c.bell.Ring()
	}
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
			h.change()
			h.mu.Unlock()
		})
	}
	h.change()
}

func (h *half) close(end *bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*end = true
	h.change()
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
			h.change()
			return n, nil
		case h.closed:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

// Ready implements looptest.Pollable.
func (c *Conn) Ready() (read, write, open bool) {
	c.in.mu.Lock()
	read = c.in.dead || c.in.closed || len(c.in.buf) > 0
	c.in.mu.Unlock()
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return read, c.out.dead || len(c.out.buf) < c.out.size, !c.out.closed
}

// Watch implements looptest.Pollable.
func (c *Conn) Watch(changed func()) { c.bell.Watch(changed) }

// Nonblocking implements dial.Polled.
func (c *Conn) Nonblocking() io.ReadWriter { return nonblocking{c} }

// nonblocking reads and writes a Conn without waiting.
type nonblocking struct{ c *Conn }

func (n nonblocking) Read(p []byte) (int, error) {
	if ready, _, _ := n.c.Ready(); !ready {
		return 0, mqtt.ErrAgain
	}
	return n.c.Read(p) // nobody else reads
}

func (n nonblocking) Write(p []byte) (int, error) {
	h := n.c.out
	h.mu.Lock()
	room := h.size - len(h.buf)
	if h.dead || h.closed {
		room = len(p) // which fails
	}
	h.mu.Unlock()
	if p = p[:min(len(p), room)]; len(p) == 0 {
		return 0, nil
	}
	return n.c.Write(p) // nobody else writes
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
		h.change()
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
