package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway"
	"sngate/gateway/gatewaytest"
	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/internal/eventloop/looptest"
	"sngate/topicreg"
	"sngate/upstream"
	"sngate/upstream/upstreamtest"
)

const (
	alarmID    = 1
	alarmTopic = "site/alarm"
	shortTopic = "al"

	idleProbe = 20 * time.Minute

	maxFailures = 5 // what is told; the first one stops the run
)

// world is everything the soak consists of, in one bubble of testing/synctest.
type world struct {
	t       testing.TB
	seed    uint64
	start   time.Time
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	pace    time.Duration // mean time between two things a device does
	network *gatewaytest.Network
	broker  *upstreamtest.Broker
	trunk   *trunk
	gateway *gateway.Gateway
	tally   *tally

	gatewayAddr netip.AddrPort
	addresses   *addressPool
	ledger      *ledger
	devices     []*device
	byID        map[string]*device
	muster      muster

	failures atomic.Int32
	// calm is taken by who needs the broker to stay as it is. It is a channel because a
	// bubble's time stands still while somebody waits for a mutex.
	calm chan struct{}
}

// random returns the random numbers of one part of the world.
func (w *world) random(part uint64) *rand.Rand { return rand.New(rand.NewPCG(w.seed, part)) }

// Parts of the world by number; devices come after them.
const (
	partUpstream = iota
	partPublisher
	partChaos
	partTraits
	partDevices
)

// newWorld starts a world, whose devices do nothing yet.
func newWorld(t *testing.T, seed uint64, devices int) *world {
	w := &world{
		t: t, seed: seed, start: time.Now(), pace: 2 * time.Minute,
		broker: upstreamtest.NewBroker(), gatewayAddr: netip.MustParseAddrPort("10.0.0.1:1883"),
		byID: make(map[string]*device), calm: make(chan struct{}, 1),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.network = gatewaytest.New(seed, func(_, _ netip.AddrPort) gatewaytest.Link {
		return gatewaytest.Link{
			Loss: 0.05, Duplicate: 0.05, Delay: 15 * time.Millisecond, Jitter: 60 * time.Millisecond,
			Reorder: 0.05, HoldBack: 900 * time.Millisecond,
		}
	})
	w.trunk = newTrunk(w.broker)
	w.ledger = &ledger{w: w}
	w.addresses = newAddressPool(2 * devices)
	w.muster.call = make(chan struct{})
	w.populate(devices)
	w.broker.KeepAlive = true
	w.broker.Observe, w.broker.Queued, w.broker.Ended = w.ledger.arrived, w.ledger.queued, w.ledger.ended
	w.broker.Will = w.ledger.brokerWill
	w.startGateway()
	return w
}

func (w *world) startGateway() {
	predefined, err := topicreg.NewPredefined([]topicreg.Entry{{ID: alarmID, Name: alarmTopic}})
	if err != nil {
		w.t.Fatal(err)
	}
	var mu sync.Mutex
	rng := w.random(partUpstream)
	w.gateway, err = gateway.Start(gateway.Options{
		ID:          7,
		ClientID:    "sngate-soak",
		Version:     "soak",
		Shards:      1 + int(w.seed%2), // with one, a run is as good as repeatable
		NoEventLoop: w.seed%4 < 2, NewEventLoop: looptest.New,
		Listeners:   []listen.Options{{Address: w.gatewayAddr.String()}},
		MaxSessions: len(w.devices),
		Session: &session.Config{ // the defaults, but for the probe
			Predefined: predefined, RetryInterval: 10 * time.Second, RetryCount: 3, BrokerWait: 20 * time.Second,
			ToleranceShort: 50, ToleranceLong: 10, IdleProbe: idleProbe, ProveAddress: true, MaxWill: 4096, CongestionWait: 5 * time.Minute,
			BarrierTimeout: 5 * time.Second, MaxPacketSize: 65507, MaxClientID: 256, MaxInFlight: 16,
			MaxTopics: 1000, MaxSubscriptions: 100, MaxMessages: 100, MaxBytes: 65536,
		},
		Upstream: upstream.Options{
			Address: "broker:1883", Dial: w.trunk.Dial, PingInterval: 5 * time.Minute,
			Rand: func() float64 {
				mu.Lock()
				defer mu.Unlock()
				return rng.Float64()
			},
		},
		Log: zerolog.New(zerolog.SyncWriter(logReader{w})).Level(zerolog.InfoLevel),
		Listen: func(listen.Options) (listen.Listener, error) {
			conn, err := w.network.Listen(w.gatewayAddr)
			w.tally = &tally{Conn: conn}
			return listen.Listener{Conn: w.tally, ReceiveBuffer: 1}, err
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// begin sets everybody to work.
func (w *world) begin() {
	for _, d := range w.devices {
		w.wg.Go(d.run)
	}
	w.wg.Go(w.publisher)
	w.wg.Go(w.chaos)
}

// end stops everything and waits for it.
func (w *world) end() {
	w.cancel()
	w.wg.Wait()
	if err := w.gateway.Stop(4 * time.Second); err != nil {
		w.t.Errorf("stop: %v", err)
	}
	w.broker.Close()
}

// now is the simulated time since the start.
func (w *world) now() time.Duration { return time.Since(w.start) }

func (w *world) running() bool { return w.ctx.Err() == nil }

// fail notes that something went wrong with d, which may be nil, and ends the run. Any
// goroutine may call it.
func (w *world) fail(d *device, format string, args ...any) {
	if w.failures.Add(1) <= maxFailures {
		who, history := "nobody", ""
		if d != nil {
			who = fmt.Sprintf("%s (%s)", d.id, d.describe())
			history = "\nlast events:\n" + d.history.String()
		}
		w.t.Errorf("seed %d, at %s, device %s:\n%s%s", w.seed, clock(w.now()), who, fmt.Sprintf(format, args...), history)
	}
	w.cancel()
}

// logReader reads the log of the gateway.
type logReader struct{ w *world }

func (l logReader) Write(line []byte) (int, error) {
	var e struct {
		ClientID string `json:"client_id"`
		Message  string
		Reason   string
		Level    string
	}
	if err := json.Unmarshal(line, &e); err != nil {
		l.w.fail(nil, "log line %q: %v", line, err)
	}
	if d := l.w.byID[e.ClientID]; d != nil {
		d.note("gateway: %s %s", e.Message, e.Reason)
	}
	if e.Message == "device lost" {
		l.w.ledger.lost(e.ClientID)
	}
	if e.Level == "error" {
		l.w.fail(nil, "the gateway logs an error: %s", line)
	}
	return len(line), nil
}

// tally counts the datagrams that the gateway reads and writes.
type tally struct {
	*gatewaytest.Conn
	read, written atomic.Uint64
}

func (c *tally) ReadFrom(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.Conn.ReadFrom(b)
	if err == nil {
		c.read.Add(1)
	}
	return n, from, err
}

func (c *tally) TryReadFrom(b []byte) (int, netip.AddrPort, bool) {
	n, from, ok := c.Conn.TryReadFrom(b)
	if ok {
		c.read.Add(1)
	}
	return n, from, ok
}

func (c *tally) TryWriteTo(b []byte, to netip.AddrPort) error {
	_, err := c.WriteTo(b, to)
	return err
}

func (c *tally) WriteTo(b []byte, to netip.AddrPort) (int, error) {
	c.written.Add(1)
	return c.Conn.WriteTo(b, to)
}
