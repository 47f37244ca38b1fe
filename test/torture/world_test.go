package torture

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway"
	"sngate/gateway/gatewaytest"
)

// profile is what the seed decides about a world before it begins. Worlds with few kinds of trouble get
// deeper into each.
type profile struct {
	devices     int
	durable     bool
	storeDelay  time.Duration
	onStop      gateway.StopMode
	maxMessages int
	sendWindow  int
	window      int  // of the broker, per session
	lowestID    bool // the broker uses the lowest packet identifier that is free
	atPubrel    bool // the broker passes QoS 2 messages on at PUBREL
	disconnects bool // the broker sends DISCONNECT before it closes
	equal       bool // there is traffic of equal payloads

	loss, dup                                                                             float64
	cuts, outages, kills, stops, forgets, lies, moves, byes, sleeps, cleans, unsubscribes bool
	silentEnd                                                                             bool // devices say goodbye before all heals, and return later
}

func newProfile(seed uint64) profile {
	rng := rand.New(rand.NewPCG(seed, 1<<41))
	coin := func() bool { return rng.IntN(2) == 0 }
	rare := func(n int) bool { return rng.IntN(n) == 0 }
	p := profile{
		devices:     1 + rng.IntN(4)/3,
		durable:     !rare(8),
		storeDelay:  time.Duration(rng.IntN(3)*rng.IntN(3)) * 1700 * time.Microsecond,
		onStop:      gateway.StopKeep,
		maxMessages: 1 + rng.IntN(10),
		sendWindow:  1 + rng.IntN(16),
		window:      1 + rng.IntN(10),
		lowestID:    coin(), atPubrel: coin(), disconnects: rare(3), equal: rare(3),
		cuts: coin(), outages: coin(), kills: coin(), stops: rare(3), forgets: rare(4), lies: rare(8),
		moves: rare(3), byes: coin(), sleeps: coin(), cleans: rare(4), unsubscribes: rare(4), silentEnd: rare(4),
	}
	if coin() {
		p.loss = 0.1
	}
	if coin() {
		p.dup = 0.05
	}
	if rare(3) {
		p.onStop = gateway.StopDisconnect
	}
	if p.silentEnd {
		p.maxMessages = 100 // or what is held for a sleeper fills its connection to the broker, and the spool waits behind it
	}
	if !p.durable {
		p.kills, p.stops = false, false
	}
	return p
}

// world is all that takes part. It lives in a bubble of testing/synctest, and is run by one goroutine.
type world struct {
	t       *testing.T
	seed    uint64
	profile profile
	rng     *rand.Rand // of the step
	step    int
	began   time.Time
	calm    bool // nothing goes wrong any more

	net     *gatewaytest.Network
	process *process
	broker  *broker
	devices []*device
	ledger  *ledger
	counts  counts
	log     *bytes.Buffer

	trace []string

	mu      sync.Mutex
	arrived []gatewaytest.Sent // from the gateway, since the last look
}

// counts are for the summary.
type counts struct {
	worlds, steps, messages, wakes, kills, stops, cuts, outages, goodbyes, datagrams, packets int
}

func newWorld(t *testing.T, seed uint64, p profile) *world {
	w := &world{t: t, seed: seed, profile: p, began: time.Now(), net: gatewaytest.New(seed, nil), log: new(bytes.Buffer)}
	w.ledger = newLedger(w)
	w.broker = &broker{w: w}
	w.net.Tap(w.tap)
	w.process = newProcess(w)
	w.process.start()
	for n := range w.profile.devices {
		w.devices = append(w.devices, newDevice(w, n))
	}
	w.note("world", "seed %d: %+v", seed, w.profile)
	return w
}

func (w *world) now() time.Duration { return time.Since(w.began) }

func (w *world) note(who, format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%10.4f %4d %-7s ", w.now().Seconds(), w.step, who)+fmt.Sprintf(format, args...))
}

// tap is told of every datagram, by any goroutine.
func (w *world) tap(s gatewaytest.Sent) {
	if s.From == gatewayAddr {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.arrived = append(w.arrived, s)
	}
}

// look takes what has come for the devices.
func (w *world) look() {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.arrived {
		for _, d := range w.devices {
			if d.addr() == s.To {
				d.down = append(d.down, s.Payload)
			}
		}
	}
	w.arrived = nil
}

func (w *world) device(id string) *device {
	for _, d := range w.devices {
		if d.id == id {
			return d
		}
	}
	return nil
}

// chance is true with the probability p, and never in a calm world.
func (w *world) chance(p float64) bool { return w.rng.Float64() < p && !w.calm }

func (w *world) lies() bool { return w.profile.lies && w.chance(0.2) }

func (w *world) failed() bool { return len(w.ledger.offences) > 0 }

// run takes the steps that keep contains, then lets everything heal.
func (w *world) run(steps int, keep func(int) bool) {
	for w.step = range steps {
		w.rng = rand.New(rand.NewPCG(w.seed, uint64(w.step)))
		if keep(w.step) {
			w.next()
			w.counts.steps++
		}
		if w.failed() {
			return
		}
	}
	w.heal()
}

// end stops everything.
func (w *world) end() {
	if w.process.running != nil {
		w.process.end(4 * time.Second)
	}
	for _, c := range slices.Clone(w.broker.open()) {
		c.end()
	}
	for _, d := range w.devices {
		_ = d.conn.Close()
	}
	if w.process.store != nil {
		if err := w.process.store.Close(); err != nil {
			w.t.Error(err)
		}
	}
	synctest.Wait()
	w.counts.messages = len(w.ledger.messages)
	w.counts.datagrams = int(w.net.Stats().Sent)
}
