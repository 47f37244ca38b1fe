package soak

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

var (
	seedFlag    = flag.Uint64("soak.seed", 0, "replay the run with this `seed`; 0: a new one")
	devicesFlag = flag.Int("soak.devices", defaultDevices, "number of devices, 1 to 1000")
	hoursFlag   = flag.Float64("soak.hours", defaultHours, "simulated hours, more than 1")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Growth allowed between the first muster and the last. The day brings far more than a
// hundred thousand messages and thousands of connects: 16 octets of each that stay are
// more than this.
const heapSlack = 1 << 20

func TestSoakNothingAcknowledgedIsLostAndNothingGrows(t *testing.T) {
	if *devicesFlag < 1 || *devicesFlag > 1000 || *hoursFlag <= 1 {
		t.Fatalf("-soak.devices=%d -soak.hours=%g: want 1 to 1000 devices and more than an hour", *devicesFlag, *hoursFlag)
	}
	seed := *seedFlag
	for seed == 0 {
		seed = rand.Uint64()
	}
	// Not by t.Log, which a run that hangs or panics does not show.
	fmt.Fprintf(os.Stderr, "soak: -soak.seed=%d -soak.devices=%d -soak.hours=%g\n", seed, *devicesFlag, *hoursFlag)
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, *devicesFlag)
		defer func() {
			w.end()
			if t.Failed() {
				t.Logf("replay with -soak.seed=%d -soak.devices=%d -soak.hours=%g", seed, *devicesFlag, *hoursFlag)
			}
		}()
		w.begin()
		w.soak(time.Duration(*hoursFlag * float64(time.Hour)))
	})
	t.Logf("took %s", time.Since(began).Round(time.Second))
}

// soak lets the world run, with a muster after the first hour, every six hours, and at the
// end.
func (w *world) soak(length time.Duration) {
	var first measure
	for next := time.Hour; ; next = min(next+6*time.Hour, length) {
		for w.now() < next && w.running() {
			time.Sleep(min(time.Minute, next-w.now()))
			w.ledger.checkWills()
		}
		m, ok := w.hold()
		if !ok {
			return
		}
		w.t.Logf("%s", m)
		if first.at == 0 {
			first = m
			continue
		}
		w.compare(first, m)
		if next >= length || !w.running() {
			break
		}
	}
	w.t.Logf("%+v", w.ledger.counts)
	w.t.Logf("network %+v", w.network.Stats())
}

// compare checks that nothing has grown since the first muster.
func (w *world) compare(first, m measure) {
	if m.goroutines > first.goroutines {
		w.fail(nil, "goroutines have grown:\n%s\n%s", first, m)
	}
	if m.heap > first.heap+heapSlack {
		w.fail(nil, "the heap has grown:\n%s\n%s", first, m)
	}
}
