package embeddedbroker

import (
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

const (
	listenerID = "tcp"

	// A connection has this long for its CONNECT packet; from then on the
	// broker supervises it by its keep-alive.
	connectTimeout = 10 * time.Second

	// Pause after a failed accept. Out of descriptors is the usual cause, and
	// passes when connections end.
	acceptPause = 100 * time.Millisecond
)

// listener is the broker's TCP listener. The broker has one of its own, but
// that one never times out a connection without a CONNECT packet, stops for
// good at the first failed accept, and leaves connections that have not sent
// CONNECT open at the end.
type listener struct {
	tcp   net.Listener
	limit int // of connections open at once
	log   *slog.Logger
	done  chan struct{} // closed by Close

	mu    sync.Mutex
	ended bool
	conns map[net.Conn]struct{} // open connections, for Close

	// running counts the goroutines of connections. Add is called under mu
	// while ended is false, so never at the same time as Wait.
	running sync.WaitGroup
}

var _ listeners.Listener = (*listener)(nil)

func newListener(tcp net.Listener, limit int, log *slog.Logger) *listener {
	return &listener{
		tcp: tcp, limit: limit, log: log,
		done:  make(chan struct{}),
		conns: make(map[net.Conn]struct{}),
	}
}

func (l *listener) ID() string              { return listenerID }
func (l *listener) Protocol() string        { return "tcp" }
func (l *listener) Address() string         { return l.tcp.Addr().String() }
func (l *listener) Init(*slog.Logger) error { return nil }

// Serve accepts connections until Close; establish runs a connection to its end.
func (l *listener) Serve(establish listeners.EstablishFn) {
	for {
		conn, err := l.tcp.Accept()
		if err != nil {
			select {
			case <-l.done:
				return
			case <-time.After(acceptPause):
				l.log.Warn("accept failed", "error", err)
				continue
			}
		}
		if !l.add(conn) {
			_ = conn.Close()
			continue
		}
		go l.handle(conn, establish)
	}
}

// handle serves one connection. Why it ended is the client's affair and not
// logged; the broker has logged faults of the protocol.
func (l *listener) handle(conn net.Conn, establish listeners.EstablishFn) {
	defer l.remove(conn)
	defer func() {
		// A fault of the broker's code in one client's packet must not end the
		// gateway.
		if p := recover(); p != nil {
			l.log.Error("panic while serving a client", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	_ = conn.SetReadDeadline(time.Now().Add(connectTimeout))
	_ = establish(listenerID, conn)
}

func (l *listener) add(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	if len(l.conns) >= l.limit {
		l.log.Warn("connection refused: too many clients", "limit", l.limit)
		return false
	}
	l.conns[conn] = struct{}{}
	l.running.Add(1)
	return true
}

func (l *listener) remove(conn net.Conn) {
	_ = conn.Close()
	l.mu.Lock()
	delete(l.conns, conn)
	l.mu.Unlock()
	l.running.Done()
}

// Close ends the listener and all connections and waits for their goroutines.
// The broker's own way of closing clients is not used: it knows only those that
// have sent CONNECT.
func (l *listener) Close(listeners.CloseFn) {
	l.mu.Lock()
	if !l.ended {
		l.ended = true
		close(l.done)
		_ = l.tcp.Close()
		for conn := range l.conns {
			_ = conn.Close()
		}
	}
	l.mu.Unlock()
	l.running.Wait()
}
