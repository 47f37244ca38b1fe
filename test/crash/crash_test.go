package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

const (
	// A kill comes so long after everything is up again, one in earlyShare already so long after
	// the processes were started: what recovers is killed too.
	killMin    = 50 * time.Millisecond
	killMax    = 400 * time.Millisecond
	earlyMax   = 100 * time.Millisecond
	earlyShare = 0.2
	// downMax is the longest time in which what was killed stays away.
	downMax = 150 * time.Millisecond

	// settleLimit bounds the time after the last kill in which everything has to arrive, and
	// settleQuiet is how long nothing may come then: longer than anyone's interval of repetition.
	settleLimit = time.Minute
	settleQuiet = 2 * time.Second
)

// Three fifths of the kills hit the gateway, a quarter the broker, the rest both.
const (
	gatewayShare = 0.60
	brokerShare  = 0.25
)

func TestNothingAcknowledgedIsLostByKills(t *testing.T) {
	if *killsFlag < 1 || *killsFlag > 100000 {
		t.Fatalf("-crash.kills=%d: want 1 to 100000", *killsFlag)
	}
	if !slices.Contains([]string{"gateway", "broker", "both", "any"}, *whatFlag) {
		t.Fatalf("-crash.what=%s: want gateway, broker, both or any", *whatFlag)
	}
	seed := *seedFlag
	for seed == 0 {
		seed = rand.Uint64()
	}
	// Not by t.Log, which a run that hangs or panics does not show.
	fmt.Fprintf(os.Stderr, "crash: -crash.seed=%d -crash.kills=%d -crash.what=%s\n", seed, *killsFlag, *whatFlag)
	w, err := newWorld(t, seed)
	if w != nil {
		defer w.end()
	}
	if err != nil {
		t.Fatal(err)
	}
	w.live()
	rng := rand.New(rand.NewPCG(seed, 0))
	for n := range *killsFlag {
		if err := w.crash(n+1, rng); err != nil {
			t.Fatalf("kill %d at %s: %v", n+1, clock(w.now()), err)
		}
		if w.ctx.Err() != nil {
			t.Fatalf("the run ends after kill %d", n+1)
		}
	}
	if err := w.ready(); err != nil {
		t.Fatalf("after the last kill: %v", err)
	}
	killing := w.now()
	w.quiet.Store(true)
	w.awaitQuiet()
	w.cancel()
	w.wg.Wait()
	w.ledger.conclude()
	t.Logf("%d kills in %v, settled after %v, %s\n%s", *killsFlag, killing.Round(time.Second),
		(w.now() - killing).Round(100*time.Millisecond), w.broker.cost(), w.ledger.report())
	if complaint := w.ledger.complaint(w.trace); complaint != "" {
		t.Errorf("-crash.seed=%d -crash.kills=%d:\n%s", seed, *killsFlag, complaint)
	}
}

// crash waits until all is up, kills after a while, and starts again what it has killed after another. All choices are made by rng, in the
// same order for every kill.
func (w *world) crash(number int, rng *rand.Rand) error {
	k := kill{number: number, what: "both"}
	switch p := rng.Float64(); {
	case p < gatewayShare:
		k.what = "gateway"
	case p < gatewayShare+brokerShare:
		k.what = "broker"
	}
	if *whatFlag != "any" {
		k.what = *whatFlag
	}
	wait := killMin + time.Duration(rng.Int64N(int64(killMax-killMin)))
	down := time.Duration(rng.Int64N(int64(downMax)))
	gatewayFirst := rng.IntN(2) == 0
	if rng.Float64() < earlyShare {
		wait = time.Duration(rng.Int64N(int64(earlyMax)))
	} else if err := w.ready(); err != nil {
		return err
	}
	w.pause(wait)

	k.at = w.now()
	w.trace.note(everybody, "kill %d of %s", number, k.what)
	var steps []func() error
	if k.what != "broker" {
		if err := w.gateway.kill(); err != nil {
			return fmt.Errorf("the gateway had ended by itself: %w", err)
		}
		steps = append(steps, func() error { return w.gateway.start(w.now()) })
	}
	if k.what != "gateway" {
		w.broker.kill()
		steps = append(steps, w.broker.restart)
	}
	w.pause(down)
	if gatewayFirst && len(steps) == 2 {
		steps[0], steps[1] = steps[1], steps[0]
	}
	var err error
	for _, step := range steps {
		err = errors.Join(err, step())
	}
	k.back = w.now()
	w.trace.note(everybody, "back after kill %d", number)
	w.ledger.killed(k)
	return err
}

// ready waits until the gateway can serve devices.
func (w *world) ready() error {
	err := w.gateway.ready()
	w.trace.note(everybody, "ready")
	return err
}

// awaitQuiet waits until everything has arrived. What has not by then is lost.
func (w *world) awaitQuiet() {
	for end := w.now() + settleLimit; w.now() < end && w.ctx.Err() == nil && !w.ledger.settled(settleQuiet); {
		w.pause(50 * time.Millisecond)
	}
}
