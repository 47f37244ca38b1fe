package e2e

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// relay stands between the gateway and the broker. It can hold back what flows in
// either direction, and cut all connections with what it holds back.
type relay struct {
	listener net.Listener
	target   string
	up, down sync.RWMutex // held for writing: nothing flows towards the broker, the gateway
	lastUp   atomic.Int64 // when octets last went towards the broker, Unix nanoseconds
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

func startRelay(t testing.TB, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, target: target, conns: make(map[net.Conn]bool)}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		r.cut()
		r.wg.Wait()
	})
	return r
}

func (r *relay) url() string { return "tcp://" + r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", r.target)
		if err != nil { // the broker is down
			near.Close()
			continue
		}
		r.mu.Lock()
		r.conns[near], r.conns[far] = true, true
		if r.closed {
			near.Close()
			far.Close()
		}
		r.mu.Unlock()
		r.wg.Go(func() { r.pump(far, near, &r.up, &r.lastUp) })
		r.wg.Go(func() { r.pump(near, far, &r.down, nil) })
	}
}

// pump copies until either end is closed, and then closes both.
func (r *relay) pump(dst, src net.Conn, gate *sync.RWMutex, last *atomic.Int64) {
	defer func() {
		src.Close()
		dst.Close()
		r.mu.Lock()
		delete(r.conns, src)
		r.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		gate.RLock()
		_, err = dst.Write(buf[:n])
		gate.RUnlock()
		if err != nil {
			return
		}
		if last != nil {
			last.Store(time.Now().UnixNano())
		}
	}
}

// quiet reports whether nothing has gone towards the broker for so long.
func (r *relay) quiet(d time.Duration) bool {
	return time.Since(time.Unix(0, r.lastUp.Load())) >= d
}

// cut closes all connections. What is held back is lost.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
}
