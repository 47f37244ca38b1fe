package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"sngate/upstream/mqtt"
)

const (
	// turnBytes is how many octets TLS reads before the loop looks at other connections: records
	// may carry no packet, and still have to be decrypted.
	turnBytes = 32 << 10
	// maxAnswers bounds what TLS writes by itself to a broker that does not take it.
	maxAnswers = 64 << 10
)

var errAnswers = errors.New("upstream: the broker asks for more TLS answers than it takes")

// resumable is a connection, over another one, that goes on after mqtt.ErrAgain of that.
type resumable interface{ Resumable() }

// dial opens a connection, with what else it goes over. The error is a tooSoon if nothing has been
// dialled because of Options.ConnectInterval.
func (d *Dialer) dial(ctx context.Context, address string, greet Greeter) (*line, error) {
	g, err := greet(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsent, err)
	}
	if wait := d.interval.early(g.Client); wait > 0 {
		return nil, tooSoon(wait)
	}
	l := &line{hello: func(done <-chan struct{}) ([]byte, error) {
		packet, clientID, err := g.Hello()
		if err != nil {
			return nil, err
		}
		return packet, d.interval.turn(done, g.Client, clientID)
	}}
	l.Conn, err = d.opt.Dial(ctx, "tcp", address)
	if err == nil && g.Secure != nil {
		l.under = &below{Conn: l.Conn}
		l.Conn, err = g.Secure(ctx, l.under)
	}
	if err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	return l, nil
}

// socket returns what the system knows of l.
func (l *line) socket() net.Conn {
	if l.under != nil {
		return l.under.Conn
	}
	return l.Conn
}

// nonblocking has b read in, which does not block.
func (b *below) nonblocking(in io.Reader) { b.in = in }

// beginTurn lets b read once more. It does nothing for nil.
func (b *below) beginTurn() {
	if b != nil {
		b.left, b.dry = turnBytes, false
	}
}

// Read implements net.Conn.
func (b *below) Read(p []byte) (int, error) {
	if b.in == nil {
		return b.Conn.Read(p)
	}
	if b.dry || b.left == 0 {
		return 0, mqtt.ErrAgain // the loop tells of what is left
	}
	p = p[:min(len(p), b.left)]
	n, err := b.in.Read(p)
	b.left -= n
	b.dry = n < len(p)
	return n, err
}

// Write implements net.Conn.
func (b *below) Write(p []byte) (int, error) {
	if b.in == nil {
		return b.Conn.Write(p)
	}
	if b.out == nil {
		b.out = mqtt.GetBuffer()
		b.out.B = b.out.B[:0]
	}
	b.out.B = append(b.out.B, p...)
	return len(p), nil
}

// taken returns what TLS has written, which is the caller's now; nil: nothing.
func (b *below) taken() *mqtt.Buffer {
	out := b.out
	b.out = nil
	return out
}

// seal returns the records that TLS over b, which is nc, makes of p.
func (b *below) seal(nc net.Conn, p []byte) (*mqtt.Buffer, error) {
	_, err := nc.Write(p)
	return b.taken(), err
}

// push gives in to the owner.
func (c *Conn) push(in *Input) bool {
	in.Conn = c
	return c.req.Inbox.Push(in, c.done)
}

func (c *Conn) fail(cause error) *looped {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut(cause)
	return c.looped
}

// close ends c without a cause of its own.
func (c *Conn) close() { c.fail(net.ErrClosed) }

// shut closes what is open and wakes who waits, but for a connection that the owner reads,
// which is closed by release. c.mu is held.
func (c *Conn) shut(cause error) {
	if c.cause == nil {
		c.cause = cause
	}
	if c.cancel != nil {
		c.cancel()
	}
	if c.nc != nil && c.looped == nil {
		c.nc.Close()
	}
	c.pending = nil
	c.readable.Signal()
}

func (c *Conn) closed() bool { return c.cause != nil }

// verdict turns the error the reader ended with into the reason for the loss: a
// cause on this side shows in the reader as a closed connection only.
func (c *Conn) verdict(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil && c.cause != net.ErrClosed {
		return c.cause
	}
	return err
}
