package torture

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	stepsPerWorld = 1500
	shownFirst    = 120 // lines of a world that has failed, from its beginning
	shownLast     = 40  // and from its end
	shrinkTime    = 30 * time.Second
)

// outcome is what came of one world.
type outcome struct {
	offence *offence // nil: none
	trace   []string
	log     string
	counts  counts
}

func TestNothingIsLostDoubledSwappedOrStuck(t *testing.T) {
	keep, err := parseSteps(*keepFlag)
	if err != nil {
		t.Fatal(err)
	}
	seed := *seedFlag
	for seed == 0 {
		seed = rand.Uint64() >> 16
	}
	// Not by t.Log, which a run that hangs or panics does not show.
	fmt.Fprintf(os.Stderr, "torture: -torture.seed=%d\n", seed)
	var total counts
	faults := make(map[string][]uint64)
	for end := time.Now().Add(*forFlag); *worldsFlag == 0 || total.worlds < *worldsFlag; seed++ {
		if time.Now().After(end) {
			break
		}
		o := runWorld(t, seed, keep.contains)
		total.add(o.counts)
		if o.offence == nil {
			continue
		}
		if *goOnFlag {
			if faults[o.offence.kind] == nil {
				t.Logf("seed %d: %s: %s\n%s", seed, o.offence.kind, o.offence.text, excerpt(o.trace[max(0, len(o.trace)-shownFirst):]))
			}
			faults[o.offence.kind] = append(faults[o.offence.kind], seed)
			continue
		}
		report(t, seed, keep, o)
		break
	}
	t.Logf("%+v", total)
	for kind, seeds := range faults {
		t.Errorf("%s: %d worlds: %d", kind, len(seeds), seeds[:min(len(seeds), 20)])
	}
}

func (c *counts) add(o counts) {
	c.worlds++
	c.steps += o.steps
	c.messages += o.messages
	c.wakes += o.wakes
	c.kills += o.kills
	c.stops += o.stops
	c.cuts += o.cuts
	c.outages += o.outages
	c.goodbyes += o.goodbyes
	c.datagrams += o.datagrams
	c.packets += o.packets
}

// runWorld runs one world in a bubble.
func runWorld(t *testing.T, seed uint64, keep func(int) bool) (o outcome) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, newProfile(seed))
		w.run(stepsPerWorld, keep)
		w.end()
		o = outcome{trace: w.trace, log: w.log.String(), counts: w.counts}
		if w.failed() {
			o.offence = &w.ledger.offences[0]
		}
	})
	return o
}

// excerpt is the beginning and the end of a trace.
func excerpt(trace []string) string {
	if n := len(trace) - shownFirst - shownLast; n > 0 {
		trace = slices.Concat(trace[:shownFirst], []string{fmt.Sprintf("... %d lines", n)}, trace[shownFirst+n:])
	}
	return strings.Join(trace, "\n")
}

// report takes the steps out of a failed world that do not matter, and shows the rest.
func report(t *testing.T, seed uint64, keep steps, o outcome) {
	t.Errorf("%s: %s", o.offence.kind, o.offence.text)
	kind := o.offence.kind
	kept := shrink(keep.list(stepsPerWorld), time.Now().Add(shrinkTime), func(s steps) bool {
		again := runWorld(t, seed, s.contains)
		if again.offence == nil || again.offence.kind != kind {
			return false
		}
		o = again
		return true
	})
	t.Errorf("with %d steps of %d:\n%s", len(kept), stepsPerWorld, excerpt(o.trace))
	t.Logf("log of the gateway:\n%s", o.log)
	t.Errorf("to repeat: go test ./test/torture -run Nothing -torture.seed=%d -torture.worlds=1 -torture.keep=%s", seed, kept)
}
