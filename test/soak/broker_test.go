package soak

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"sngate/upstream/upstreamtest"
)

// trunk is the network between the gateway and the broker. It can hold back what the
// broker answers, and lose it when the broker is killed: the broker has done then what
// the gateway has not been told.
type trunk struct {
	broker *upstreamtest.Broker

	mu      sync.Mutex // guards what follows
	passes  chan struct{}
	cut     chan struct{} // closed when the connections of today are cut
	stalled bool
	down    bool
	upSince time.Time
}

func newTrunk(b *upstreamtest.Broker) *trunk {
	t := &trunk{broker: b, passes: make(chan struct{}), cut: make(chan struct{})}
	close(t.passes)
	return t
}

// Dial is for upstream.Options.
func (t *trunk) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := t.broker.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return &trunkConn{Conn: conn, trunk: t, cut: t.cut, closed: make(chan struct{})}, nil
}

// stall holds back the broker's answers.
func (t *trunk) stall() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passes, t.stalled = make(chan struct{}), true
}

// pass lets them go.
func (t *trunk) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stalled {
		close(t.passes)
		t.stalled = false
	}
}

// kill kills the broker, which keeps its persistent sessions.
func (t *trunk) kill() {
	t.broker.Kill(true)
	t.mu.Lock()
	close(t.cut)
	t.cut, t.down = make(chan struct{}), true
	t.mu.Unlock()
	t.pass()
}

func (t *trunk) restart() {
	t.broker.Start()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down, t.upSince = false, time.Now()
}

func (t *trunk) up() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.down
}

// steady reports whether every link of the gateway must be up and answered.
func (w *world) steady() bool {
	w.trunk.mu.Lock()
	defer w.trunk.mu.Unlock()
	return !w.trunk.down && !w.trunk.stalled && time.Since(w.trunk.upSince) > settled
}

type trunkConn struct {
	net.Conn
	trunk  *trunk
	cut    <-chan struct{}
	once   sync.Once
	closed chan struct{}
}

// Read implements net.Conn.
func (c *trunkConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.trunk.mu.Lock()
	passes := c.trunk.passes
	c.trunk.mu.Unlock()
	select {
	case <-passes:
	case <-c.cut:
		return 0, io.ErrUnexpectedEOF
	case <-c.closed:
		return 0, net.ErrClosed
	}
	select {
	case <-c.cut:
		return 0, io.ErrUnexpectedEOF
	default:
		return n, err
	}
}

// Close implements net.Conn.
func (c *trunkConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// chaos kills the broker several times a day, for 2 s to 300 s; half of the times its
// answers stay away for some seconds before, and sometimes they do and it lives.
func (w *world) chaos() {
	rng := w.random(partChaos)
	between := func(lo, hi time.Duration) time.Duration { return lo + time.Duration(rng.Float64()*float64(hi-lo)) }
	sleep := func(d time.Duration) bool {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return true
		case <-w.ctx.Done():
			return false
		}
	}
	for sleep(between(20*time.Minute, 3*time.Hour)) {
		select {
		case w.calm <- struct{}{}:
		case <-w.ctx.Done():
			return
		}
		stall, kill := rng.IntN(2) == 0, rng.IntN(4) > 0
		if stall || !kill {
			// Shorter than the time in which the gateway gives up a connect.
			w.trunk.stall()
			sleep(between(0, 8*time.Second))
		}
		if kill {
			w.ledger.killed()
			w.trunk.kill()
			sleep(between(2*time.Second, 300*time.Second))
			w.trunk.restart()
		}
		w.trunk.pass()
		<-w.calm
	}
}
