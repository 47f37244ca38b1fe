package testgateway

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Relay stands between the gateway and the broker. It can hold back what flows in
// either direction, cut all connections with what it holds back, let the broker seem slow,
// and lead new connections elsewhere.
type Relay struct {
	listener net.Listener
	Up, Down sync.RWMutex // held for writing: nothing flows towards the broker, the gateway
	lastUp   atomic.Int64 // when octets last went towards the broker, Unix nanoseconds
	slow     atomic.Int64 // see Slow, nanoseconds
	accepted atomic.Int64
	wg       sync.WaitGroup

	mu     sync.Mutex
	target string
	hole   bool // see BlackHole
	conns  map[net.Conn]bool
	closed bool
}

// StartRelay starts a relay to target, "host:port".
func StartRelay(t testing.TB, target string) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{listener: l, target: target, conns: make(map[net.Conn]bool)}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		r.Cut()
		r.wg.Wait()
	})
	return r
}

// URL is the address of the relay for broker.url.
func (r *Relay) URL() string { return "tcp://" + r.listener.Addr().String() }

func (r *Relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.accepted.Add(1)
		r.mu.Lock()
		target, hole := r.target, r.hole
		if hole {
			r.conns[near] = true // until Cut; nobody reads it
		}
		r.mu.Unlock()
		if hole {
			continue
		}
		far, err := net.Dial("tcp", target)
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
		slow := time.Duration(r.slow.Load())
		r.wg.Go(func() { r.pump(far, near, &r.Up, &r.lastUp, 0) })
		r.wg.Go(func() { r.pump(near, far, &r.Down, nil, slow) })
	}
}

// pump copies until either end is closed, and then closes both: the end does not get
// through a closed gate either. What comes first is delayed by slow.
func (r *Relay) pump(dst, src net.Conn, gate *sync.RWMutex, last *atomic.Int64, slow time.Duration) {
	defer func() {
		gate.RLock()
		defer gate.RUnlock()
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
		time.Sleep(slow)
		slow = 0
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

// Accepted returns how many connections of the gateway it has accepted.
func (r *Relay) Accepted() int { return int(r.accepted.Load()) }

// Slow lets the first answer on each new connection take so long.
func (r *Relay) Slow(d time.Duration) { r.slow.Store(int64(d)) }

// Lead makes new connections go to another address.
func (r *Relay) Lead(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}

// BlackHole lets nothing through any more, in neither direction, and keeps the connections
// open, until restore is called or the test ends. What was written to them then goes on, as
// TCP would repeat it. Connections that are made meanwhile never lead anywhere.
func (r *Relay) BlackHole(t testing.TB) (restore func()) {
	swallow := func(on bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hole = on
	}
	r.Up.Lock()
	r.Down.Lock()
	swallow(true)
	restore = sync.OnceFunc(func() {
		swallow(false)
		r.Up.Unlock()
		r.Down.Unlock()
	})
	t.Cleanup(restore)
	return restore
}

// Quiet reports whether nothing has gone towards the broker for so long.
func (r *Relay) Quiet(d time.Duration) bool {
	return time.Since(time.Unix(0, r.lastUp.Load())) >= d
}

// Cut closes all connections. What is held back is lost.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
}
