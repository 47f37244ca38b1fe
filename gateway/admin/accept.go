package admin

import (
	"container/list"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// reserve is how many descriptors the operator's server keeps for itself: when devices
// have used up all others, it can still be asked how the gateway is.
const reserve = 2

// grace is how long a connection is not closed for the sake of its descriptor after it has
// been accepted or answered. Without a descriptor Accept fails whether somebody waits or not,
// so the next Accept would close who has just come, before the request is read.
const grace = 100 * time.Millisecond

// listener accepts connections of operators, so that whoever asks is answered: at the
// limit of connections the one that has been idle for longest is closed, and when the
// process has no descriptor left, one of the reserved ones is used.
//
// golang.org/x/net/netutil.LimitListener does not do this: at its limit it accepts nobody until
// a connection ends, so who holds the limit open keeps everybody else waiting, and it knows
// neither which connection is idle nor what to do without a descriptor.
type listener struct {
	net.Listener
	limit int
	spare func() (io.Closer, error) // takes a descriptor, to be had again by closing it

	mu       sync.Mutex
	open     list.List   // of *conn; the one whose last request is longest ago in front
	reserved []io.Closer // at most reserve
}

func newListener(inner net.Listener, limit int) *listener {
	l := &listener{Listener: inner, limit: limit, spare: func() (io.Closer, error) { return os.Open(os.DevNull) }}
	l.refill()
	return l
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			return l.add(c), nil
		case !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE):
			return nil, err
		case !l.makeRoom():
			return nil, err // the HTTP server tries again after a pause
		}
	}
}

// Close ends Accept and gives the reserved descriptors back.
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.reserved {
		r.Close()
	}
	l.reserved = nil
	l.spare = func() (io.Closer, error) { return nil, net.ErrClosed }
	return l.Listener.Close()
}

func (l *listener) add(c net.Conn) net.Conn {
	added := &conn{Conn: c, listener: l, since: time.Now()}
	l.mu.Lock()
	added.place = l.open.PushBack(added)
	var longest *conn
	if l.open.Len() > l.limit {
		longest = l.idlest()
	}
	l.mu.Unlock()
	if longest != nil {
		longest.Close()
	}
	l.refill()
	return added
}

// idlest returns the connection to be closed for another: the one that is idle for longest
// or, where all are being answered, the one whose request is oldest. The newest quarter is
// spared, for who has just connected has had no time to ask. l.mu is held.
func (l *listener) idlest() *conn {
	e := l.open.Front()
	for range l.open.Len() * 3 / 4 {
		if c := e.Value.(*conn); !c.answering {
			return c
		}
		e = e.Next()
	}
	if front := l.open.Front(); front != nil {
		return front.Value.(*conn)
	}
	return nil
}

// makeRoom gives a descriptor back to the process, or reports that it has none to give.
func (l *listener) makeRoom() bool {
	l.mu.Lock()
	if n := len(l.reserved); n > 0 {
		l.reserved[n-1].Close()
		l.reserved = l.reserved[:n-1]
		l.mu.Unlock()
		return true
	}
	longest := l.idlest()
	fresh := longest != nil && time.Since(longest.since) < grace
	l.mu.Unlock()
	if longest == nil || fresh {
		return false
	}
	longest.shut() // its descriptor is for the one that waits, and not for the reserve
	return true
}

// refill takes descriptors for the reserve, as far as there are any.
func (l *listener) refill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.reserved) < reserve {
		r, err := l.spare()
		if err != nil {
			return
		}
		l.reserved = append(l.reserved, r)
	}
}

// conn is a connection of an operator.
type conn struct {
	net.Conn
	listener  *listener
	once      sync.Once
	place     *list.Element // of listener.mu, as answering
	answering bool
	since     time.Time // the last change of answering
}

// Close closes the connection; the reserve is filled up with its descriptor.
func (c *conn) Close() error {
	err := c.shut()
	c.listener.refill()
	return err
}

func (c *conn) shut() error {
	c.once.Do(func() {
		c.listener.mu.Lock()
		c.listener.open.Remove(c.place)
		c.listener.mu.Unlock()
	})
	return c.Conn.Close()
}

// answer notes that a request of the connection is being answered, or has been.
func (c *conn) answer(now bool) {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	c.answering, c.since = now, time.Now()
	c.listener.open.MoveToBack(c.place) // does nothing if it has been closed
}

// connKey is where a request finds its connection.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// notingAnswers tells the listener which connections are being answered.
func notingAnswers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*conn); ok {
			c.answer(true)
			defer c.answer(false)
		}
		h.ServeHTTP(w, r)
	})
}
