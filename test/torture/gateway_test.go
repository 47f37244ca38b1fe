package torture

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway"
	"sngate/gateway/gatewaytest"
	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/internal/eventloop/looptest"
	"sngate/store/storetest"
	"sngate/upstream"
)

// ownClientID is that of the gateway's own connection to the broker.
const ownClientID = "sngate-torture"

var gatewayAddr = netip.MustParseAddrPort("10.0.0.1:1883")

var errUnreachable = errors.New("torture: network unreachable")

// process is the gateway, in one process after the other.
type process struct {
	w       *world
	running *gateway.Gateway // nil: it is down
	dead    *atomic.Bool     // of the process that runs: nothing leaves it any more
	store   *storetest.Store // nil: none
	opts    gateway.Options
}

// fuse is the socket of a process that may be killed.
type fuse struct {
	*gatewaytest.Conn
	dead *atomic.Bool
}

func (f fuse) WriteTo(b []byte, to netip.AddrPort) (int, error) {
	if f.dead.Load() {
		return len(b), nil
	}
	return f.Conn.WriteTo(b, to)
}

func (f fuse) TryWriteTo(b []byte, to netip.AddrPort) error {
	_, err := f.WriteTo(b, to)
	return err
}

func newProcess(w *world) *process {
	p := &process{w: w}
	rng := rand.New(rand.NewPCG(w.seed, 1<<40))
	p.opts = gateway.Options{
		ID: 1, ClientID: ownClientID, Version: "test",
		OnStop:      w.profile.onStop,
		NoEventLoop: w.seed%2 == 0, NewEventLoop: looptest.New,
		Listeners:   []listen.Options{{Address: gatewayAddr.String()}},
		MaxSessions: 100,
		Session:     sessionConfig(w.profile),
		Upstream: upstream.Options{
			Address:      "broker:1883",
			ReconnectMin: 200 * time.Millisecond, ReconnectMax: 2 * time.Second,
			SendWindow: w.profile.sendWindow,
			Rand:       locked(rng.Float64),
		},
		SpoolTotalBytes: 64 << 20,
		FirstMsgID:      locked(func() uint16 { return uint16(rng.Uint32()) }),
		Log:             zerolog.New(zerolog.SyncWriter(w.log)).Level(zerolog.InfoLevel),
	}
	if w.profile.durable {
		p.store = storetest.New()
		p.store.SetDelay(w.profile.storeDelay)
	}
	return p
}

// locked makes a source of random numbers that several goroutines may use.
func locked[T any](f func() T) func() T {
	var mu sync.Mutex
	return func() T {
		mu.Lock()
		defer mu.Unlock()
		return f()
	}
}

const retryInterval = 2 * time.Second

// sessionConfig is the default configuration with the bounds of the profile and no others that a
// world can reach.
func sessionConfig(p profile) *session.Config {
	return &session.Config{
		RetryInterval: retryInterval, RetryCount: 100, // answers may be under way for many intervals
		BrokerWait:     20 * time.Second,
		ToleranceShort: 50, ToleranceLong: 10,
		IdleProbe: time.Hour, CongestionWait: 5 * time.Minute,
		BarrierTimeout: time.Hour, // the broker answers in its own time
		MaxPacketSize:  65507, MaxClientID: 256,
		MaxInFlight: 16, MaxTopics: 1000, MaxSubscriptions: 100,
		MaxMessages: p.maxMessages, MaxBytes: 65536,
		Spool: true, SpoolMessages: 100000, SpoolBytes: 64 << 20, SpoolAge: 240 * time.Hour,
	}
}

// start starts the next process.
func (p *process) start() {
	dead := new(atomic.Bool)
	opts := p.opts
	if p.store != nil {
		opts.Store = p.store
	}
	opts.Upstream.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		if dead.Load() {
			return nil, errUnreachable
		}
		return p.w.broker.dial(ctx)
	}
	opts.Listen = func(o listen.Options) (listen.Listener, error) {
		conn, err := p.w.net.Listen(netip.MustParseAddrPort(o.Address))
		return listen.Listener{Conn: fuse{conn, dead}, ReceiveBuffer: 1}, err
	}
	g, err := gateway.Start(opts)
	if err != nil {
		p.w.t.Fatal(err)
	}
	p.running, p.dead = g, dead
	p.w.note("gateway", "starts")
	synctest.Wait()
}

// kill ends the process as SIGKILL does: what it has not committed is lost, and nothing leaves it any
// more. What is left of it is stopped then, cut off from the world.
func (p *process) kill() {
	p.w.note("gateway", "is killed")
	p.dead.Store(true)
	if p.store != nil {
		p.store = p.store.Crash()
	}
	p.w.broker.orphan()
	p.end(time.Millisecond)
}

// stop stops the process in good order.
func (p *process) stop() {
	p.w.note("gateway", "is stopped")
	p.end(2 * time.Second)
	p.dead.Store(true)
	p.w.broker.orphan()
	if p.store != nil {
		if err := p.store.Close(); err != nil {
			p.w.t.Fatal(err)
		}
		p.store = p.store.Crash()
	}
}

func (p *process) end(grace time.Duration) {
	if err := p.running.Stop(grace); err != nil {
		p.w.t.Fatal(err)
	}
	p.running = nil
	synctest.Wait()
}
