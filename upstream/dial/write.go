package dial

import (
	"errors"
	"io"
	"net"
	"time"

	"sngate/upstream/mqtt"
)

// This file is the write side of a Conn.

// Polled is a connection that a loop can wait for though it is none of the system: one in memory.
type Polled interface {
	net.Conn
	// Nonblocking returns what reads and writes it without waiting. Read fails with mqtt.ErrAgain
	// where nothing has come, and Write writes what there is room for.
	Nonblocking() io.ReadWriter
}

// nonblocking returns what does so for any connection that a loop waits for: fd is its descriptor.
func nonblocking(fd int, nc net.Conn) (from io.Reader, to io.Writer) {
	if p, ok := nc.(Polled); ok {
		both := p.Nonblocking()
		return both, both
	}
	return mqtt.Descriptor(fd), descriptor(fd)
}

// Write sends p, or keeps what the broker does not take now. It does not block, and
// p is the caller's again when it returns.
func (c *Conn) Write(p []byte) {
	if failed := c.write(p); failed && c.looped != nil {
		c.looped.loop.Soon(c)
	}
}

// write reports whether the connection has failed.
func (c *Conn) write(p []byte) (failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed() {
		return false
	}
	c.d.stats.BytesOut.Add(uint64(len(p)))
	c.d.traceOut(c.req.Owner, p)
	if c.looped == nil || c.nc.under == nil {
		return c.put(p)
	}
	sealed, err := c.nc.under.seal(c.nc.Conn, p)
	if sealed != nil {
		defer sealed.Free()
		failed = c.put(sealed.B)
	}
	if err != nil {
		c.shut(err)
	}
	return failed || err != nil
}

// answer writes what TLS over under has written by itself: an alert, a new key.
func (c *Conn) answer() error {
	if c.nc.under == nil {
		return nil
	}
	out := c.nc.under.taken()
	if out == nil {
		return nil
	}
	defer out.Free()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed() {
		return c.cause
	}
	if c.backlog.Load() == 0 {
		c.nc.under.answers = 0
	}
	if c.nc.under.answers += len(out.B); c.nc.under.answers > maxAnswers {
		c.shut(errAnswers)
	} else {
		c.put(out.B)
	}
	return c.cause
}

// put writes p to the socket, or keeps what that does not take now, and reports whether the
// connection has failed. c.mu is held.
func (c *Conn) put(p []byte) (failed bool) {
	if !c.flushing {
		n, err := c.wr.tryWrite(p)
		if err != nil {
			c.shut(err)
			return true
		}
		if p = p[n:]; len(p) == 0 {
			return false
		}
	}
	c.pending = append(c.pending, p...)
	c.backlog.Add(int64(len(p)))
	if !c.flushing {
		c.flushing = c.d.spawn(c.flush)
	}
	return false
}

// Backlog returns how many bytes wait for the broker to take them.
func (c *Conn) Backlog() int { return int(c.backlog.Load()) }

// WantWritable asks for Writable when nothing waits any more. If nothing does already, there
// may be none: Backlog, called after it, tells.
func (c *Conn) WantWritable() { c.starved.Store(true) }

// flush is the flusher: it writes what is pending, and ends.
func (c *Conn) flush() {
	for chunk := c.nextChunk(nil); chunk != nil; chunk = c.nextChunk(chunk) {
		if err := c.writeAll(chunk); err != nil {
			if isTimeout(err) {
				c.d.stats.WriteStalls.Add(1)
				err = ErrTimeout
			}
			if l := c.fail(err); l != nil { // the reader would have found out
				c.push(&Input{Kind: Ended, Err: c.verdict(err)})
			}
		}
	}
	if c.starved.Swap(false) {
		c.push(&Input{Kind: Writable})
	}
}

// nextChunk takes everything pending; nil ends the flusher. done is what has been
// written before.
func (c *Conn) nextChunk(done []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.backlog.Add(-int64(len(done)))
	chunk := c.pending
	c.pending = nil
	if len(chunk) == 0 || c.closed() {
		c.flushing = false
		return nil
	}
	return chunk
}

// writeAll writes p in steps, each with a deadline of its own, so that a slow broker
// is told from one that does not read at all. A step that has been cut off goes on, but not
// in TLS over a connection that blocks, where the next write fails as well: there all of it has
// to get through in time.
func (c *Conn) writeAll(p []byte) error {
	const step = 16 << 10
	nc := c.nc.Conn
	if c.looped != nil {
		nc = c.nc.socket()
	}
	for len(p) > 0 {
		if err := nc.SetWriteDeadline(time.Now().Add(c.d.opt.WriteTimeout)); err != nil {
			return err
		}
		n, err := nc.Write(p[:min(step, len(p))])
		p = p[n:]
		if err != nil && (n == 0 || !isTimeout(err)) {
			return err
		}
	}
	return nc.SetWriteDeadline(time.Time{})
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
