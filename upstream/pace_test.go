package upstream_test

import (
	"fmt"
	"testing"
	"time"

	"sngate/upstream"
)

// dials fails every connect that has arrived and returns how many those were.
func (r *rig) dials() (n int) {
	for r.runUntilIdle(); r.lis.Dialled() > 0; r.runUntilIdle() {
		r.lis.Accept(r.t).Conn.Close()
		n++
	}
	return n
}

func TestConnectsAreBegunAtTheDialRate_Case159(t *testing.T) {
	bubble(t, upstream.Options{MaxDials: 1000, DialRate: 100}, func(r *rig) {
		for i := range 1000 {
			r.link().Connect(r.now(), &upstream.Connect{ClientID: fmt.Sprint(i)})
		}
		if n := r.dials(); n != 11 {
			t.Fatalf("%d connects at once, want what a tenth of a second brings", n)
		}
		for second := range 5 {
			r.pass(time.Second)
			if n := r.dials(); n != 100 {
				t.Fatalf("%d connects in second %d, want 100", n, second)
			}
		}
		if n := r.d.Stats().Waiting.Load(); n != 1000-511 {
			t.Fatalf("%d wait, want %d", n, 1000-511)
		}
		r.pass(6 * time.Second)
		r.dials()
		if n := r.d.Stats().Waiting.Load(); n != 0 {
			t.Fatalf("%d wait, want none", n)
		}
		r.pass(time.Hour)
		for range 20 {
			r.link().Connect(r.now(), persistent)
		}
		if n := r.dials(); n != 11 {
			t.Fatalf("%d connects at once: a pause must not save up more than the burst", n)
		}
	})
}

// Connects that wait for their time begin in slices: neither the end of another connect nor a
// new one brings a single one forward, and none is lost by it.
func TestPacedConnectsBeginInSlices_Case159(t *testing.T) {
	bubble(t, upstream.Options{MaxDials: 1000, DialRate: 1000}, func(r *rig) {
		for i := range 300 {
			r.link().Connect(r.now(), &upstream.Connect{ClientID: fmt.Sprint(i)})
		}
		if n := r.dials(); n != 101 {
			t.Fatalf("%d connects at once, want what a tenth of a second brings", n)
		}
		for slice := range 4 {
			r.pass(25*time.Millisecond - 1)
			r.link().Connect(r.now(), persistent)
			if n := r.dials(); n != 0 {
				t.Fatalf("%d connects before slice %d", n, slice)
			}
			r.pass(1)
			if n := r.dials(); n != 25 {
				t.Fatalf("%d connects in slice %d, want 25", n, slice)
			}
		}
	})
}

// A connect that waits for its time can be taken back, and one slot at a pace works
// like one slot without.
func TestPacedConnectsCanBeTakenBack(t *testing.T) {
	bubble(t, upstream.Options{MaxDials: 1, DialRate: 1}, func(r *rig) {
		first, second, third := r.link(), r.link(), r.link()
		first.Connect(r.now(), persistent)
		first.accept(false)
		first.want(upstream.EventConnected, "at once")
		second.Connect(r.now(), persistent)
		third.Connect(r.now(), persistent)
		r.pass(500 * time.Millisecond)
		if n := r.dials(); n != 0 {
			t.Fatalf("%d connects before their time", n)
		}
		second.Close(r.now(), upstream.CloseGraceful)
		second.want(upstream.EventClosed, "it had not begun")
		r.pass(500 * time.Millisecond)
		third.accept(false)
		third.want(upstream.EventConnected, "in its place")
	})
}

func TestCloseWithConnectsWaitingForTheirTime(t *testing.T) {
	bubble(t, upstream.Options{DialRate: 1}, func(r *rig) {
		for range 5 {
			r.link().Connect(r.now(), persistent)
		}
		r.runUntilIdle()
		r.d.Close()
		r.pass(5 * time.Second)
		if n := r.d.Stats().DialsStarted.Load(); n != 1 {
			t.Fatalf("%d connects were begun, want 1", n)
		}
	})
}
