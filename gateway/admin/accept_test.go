package admin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func (l *opsLab) dial() net.Conn {
	l.t.Helper()
	c, err := net.Dial("tcp", l.server.Addr())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

// request asks on a connection and leaves it open.
func (l *opsLab) request(c net.Conn, path string) (int, error) {
	l.t.Helper()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return 0, err
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return r.StatusCode, err
}

// Health is answered at once however many connections are held open, and in whatever state.
func TestHealthIsAnsweredWhateverIsHeldOpen(t *testing.T) {
	tests := []struct {
		name string
		hold func(l *opsLab) net.Conn
	}{
		{"idle after a request", func(l *opsLab) net.Conn {
			c := l.dial()
			if status, err := l.request(c, "/healthz"); status != 200 || err != nil {
				l.t.Errorf("status %d, %v", status, err)
			}
			return c
		}},
		{"silent", (*opsLab).dial},
		{"in the middle of a request", func(l *opsLab) net.Conn {
			c := l.dial()
			_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nX-Slow: ")
			return c
		}},
		{"being answered", func(l *opsLab) net.Conn {
			c := l.dial()
			_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
			return c
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			release := make(chan struct{})
			l := newOpsLab(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
			defer l.shutdown(5 * time.Second)
			defer close(release)
			for range 2 * maxConns {
				tt.hold(l)
			}
			begin := time.Now()
			if status, err := l.request(l.dial(), "/healthz"); status != 200 || err != nil {
				t.Errorf("status %d, %v", status, err)
			}
			if took := time.Since(begin); took > 2*time.Second { // without, it would be the timeouts
				t.Errorf("answered after %v", took)
			}
		})
	}
}

// The one that gives way is the one that has been idle for longest, and none that is being
// answered.
func TestTheConnectionIdleForLongestGivesWay(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	l := newOpsLab(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "done")
	}))
	defer l.shutdown(5 * time.Second)
	answered := make(chan error, 1)
	first := l.dial()
	go func() {
		_, err := l.request(first, "/metrics")
		answered <- err
	}()
	<-entered
	var conns []net.Conn
	for range maxConns - 1 {
		c := l.dial()
		if _, err := l.request(c, "/healthz"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if _, err := l.request(conns[0], "/healthz"); err != nil { // so that the second is idle for longest
		t.Fatal(err)
	}
	if _, err := l.request(l.dial(), "/healthz"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.request(conns[1], "/healthz"); err == nil {
		t.Error("the connection that was idle for longest is still open")
	}
	for _, i := range []int{0, 2, maxConns - 2} {
		if _, err := l.request(conns[i], "/healthz"); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the connection that was being answered: %v", err)
	}
}

func TestIdleConnectionsEndSoon(t *testing.T) {
	if idleTimeout > 10*time.Second || readTimeout > 10*time.Second {
		t.Errorf("a connection may be idle for %v, and take %v for a request", idleTimeout, readTimeout)
	}
}

// table is a table of descriptors: Accept fails while all are taken.
type table struct {
	net.Listener
	mu   sync.Mutex
	free int
}

func (d *table) take(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.free < n {
		return false
	}
	d.free -= n
	return true
}

func (d *table) Close() error { d.take(-1); return nil }

func (d *table) reserve() (io.Closer, error) {
	if !d.take(1) {
		return nil, syscall.EMFILE
	}
	return tableEntry{d}, nil
}

type tableEntry struct{ *table }

func (d *table) Accept() (net.Conn, error) {
	if !d.take(1) {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	near, far := net.Pipe()
	_ = far.Close()
	return tableConn{near, d}, nil
}

type tableConn struct {
	net.Conn
	table *table
}

func (c tableConn) Close() error { c.table.take(-1); return c.Conn.Close() }

func TestReservedDescriptorsAreUsedAndTakenBack(t *testing.T) {
	synctest.Test(t, reservedDescriptors)
}

func reservedDescriptors(t *testing.T) {
	d := &table{free: 2}
	l := &listener{Listener: d, limit: maxConns, spare: d.reserve}
	l.refill()
	if d.free != 0 || len(l.reserved) != reserve {
		t.Fatalf("%d reserved, %d free", len(l.reserved), d.free)
	}
	var conns []net.Conn
	accept := func() {
		t.Helper()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	accept()
	accept()
	if _, err := l.Accept(); err == nil || l.open.Len() != 2 {
		t.Fatalf("%v, %d open: a connection has been closed before it had time to ask", err, l.open.Len())
	}
	time.Sleep(grace)
	accept() // the reserve is used up: the first gives its descriptor
	if len(l.reserved) != 0 || l.open.Len() != 2 || d.free != 0 {
		t.Fatalf("%d reserved, %d open, %d free", len(l.reserved), l.open.Len(), d.free)
	}
	if _, err := conns[0].Read(make([]byte, 1)); err != io.ErrClosedPipe {
		t.Errorf("the oldest connection: %v", err)
	}
	for _, c := range conns[1:] {
		c.Close()
	}
	if len(l.reserved) != reserve || l.open.Len() != 0 {
		t.Errorf("%d reserved, %d open when all have gone", len(l.reserved), l.open.Len())
	}
	for _, r := range l.reserved { // somebody else takes them all
		r.Close()
	}
	l.reserved = nil
	d.take(d.free)
	if _, err := l.Accept(); err == nil {
		t.Error("accepted without a descriptor")
	}
}
