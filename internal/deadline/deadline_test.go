package deadline

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

type sleeper struct {
	Slot
	id int
}

// checkHeap verifies the invariants that the comment of deadlines promises.
func checkHeap(t *testing.T, d *Heap[*sleeper]) {
	t.Helper()
	for i, e := range d.heap {
		if int(e.slot.pos) != i+1 || e.slot != &e.item.Slot {
			t.Fatalf("entry %d: its item believes to be at %d", i, e.slot.pos-1)
		}
		if e.key > e.slot.at {
			t.Fatalf("entry %d: key %s is later than the deadline %s", i, e.key, e.slot.at)
		}
		if i > 0 && d.heap[(i-1)/heapArity].key > e.key {
			t.Fatalf("entry %d is earlier than its parent", i)
		}
	}
	for _, e := range d.heap[len(d.heap):cap(d.heap)] {
		if e.item != nil || e.slot != nil {
			t.Fatal("memory beyond the heap still refers to an item")
		}
	}
}

// TestDeadlinesAgreeWithAPlainMap drives the heap and a map with the same random
// operations: the same items are due, in order of time.
func TestDeadlinesAgreeWithAPlainMap(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		var d Heap[*sleeper]
		model := make(map[*sleeper]time.Duration)
		items := make([]*sleeper, 1+r.IntN(400))
		for i := range items {
			items[i] = &sleeper{id: i}
		}
		now := time.Duration(0)
		for range 3000 {
			item := items[r.IntN(len(items))]
			switch r.IntN(10) {
			case 0:
				d.Remove(item)
				delete(model, item)
			case 1:
				d.Update(item, Never)
				delete(model, item)
			case 2:
				now += time.Duration(r.IntN(50))
				drainAndCompare(t, &d, model, now)
			default:
				at := now + time.Duration(r.IntN(1000))
				d.Update(item, at)
				model[item] = at
			}
		}
		checkHeap(t, &d)
		drainAndCompare(t, &d, model, now+2000)
		if len(model) != 0 || d.len() != 0 || d.Next() != Never {
			t.Fatalf("seed %d: %d items left in the model, %d in the heap", seed, len(model), d.len())
		}
	}
}

func drainAndCompare(t *testing.T, d *Heap[*sleeper], model map[*sleeper]time.Duration, now time.Duration) {
	t.Helper()
	checkHeap(t, d)
	for _, at := range model {
		if next := d.Next(); next > at {
			t.Fatalf("next is %s, but an item is due at %s", next, at)
		}
	}
	last := time.Duration(-1)
	for {
		item, ok := d.Due(now)
		if !ok {
			break
		}
		at, known := model[item]
		if !known || at > now || at < last {
			t.Fatalf("item %d came out at %s; deadline %s (known %t), the one before %s", item.id, now, at, known, last)
		}
		if item.pos != 0 {
			t.Fatalf("item %d came out and believes to be in", item.id)
		}
		last = at
		delete(model, item)
	}
	for item, at := range model {
		if at <= now {
			t.Fatalf("item %d was due at %s and did not come out at %s", item.id, at, now)
		}
	}
	if next := d.Next(); next <= now {
		t.Fatalf("next is %s after all up to %s came out: the loop would spin", next, now)
	}
}

func TestDeadlineMovedLaterWakesNobody(t *testing.T) {
	var d Heap[*sleeper]
	a, b := &sleeper{id: 1}, &sleeper{id: 2}
	d.Update(a, 10)
	d.Update(b, 20)
	d.Update(a, 100)
	if d.Next() != 20 {
		t.Errorf("next = %d, want 20: nothing is due at 10 any more", d.Next())
	}
	if item, ok := d.Due(15); ok {
		t.Errorf("item %d is due at 15", item.id)
	}
	d.Update(a, 5)
	if item, ok := d.Due(15); !ok || item != a {
		t.Error("an earlier deadline did not move the entry")
	}
}

func TestDeadlinesGiveMemoryBack(t *testing.T) {
	var d Heap[*sleeper]
	items := make([]*sleeper, 20000)
	for i := range items {
		items[i] = &sleeper{id: i}
		d.Update(items[i], time.Duration(i*7919%20000))
	}
	freed := make(chan struct{})
	last := &sleeper{id: -1}
	d.Update(last, 77)
	runtime.AddCleanup(last, func(c chan struct{}) { close(c) }, freed)
	d.Remove(last)
	last = nil
	runtime.GC()
	select {
	case <-freed:
	case <-time.After(10 * time.Second):
		t.Error("a removed item is still referred to")
	}
	for _, item := range items[:19900] {
		d.Remove(item)
		d.Remove(item) // harmless
	}
	checkHeap(t, &d)
	if d.len() != 100 || cap(d.heap) > 2*heapKeep {
		t.Errorf("%d entries in a slice of %d", d.len(), cap(d.heap))
	}
}

func TestDeadlineUpdatesDoNotAllocate(t *testing.T) {
	var d Heap[*sleeper]
	items := make([]*sleeper, 1000)
	for i := range items {
		items[i] = &sleeper{id: i}
		d.Update(items[i], time.Duration(i))
	}
	now := time.Duration(0)
	if n := testing.AllocsPerRun(5000, func() {
		now += 3
		d.Update(items[int(now)%1000], now+500) // later
		d.Update(items[int(now*7)%1000], now+1) // mostly earlier
		if item, ok := d.Due(now); ok {
			d.Update(item, now+1000)
		}
	}); n != 0 {
		t.Errorf("%.1f allocations per turn", n)
	}
}

func BenchmarkDeadlines(b *testing.B) {
	const sessions = 100_000
	setUp := func() (*Heap[*sleeper], []*sleeper) {
		d, items := new(Heap[*sleeper]), make([]*sleeper, sessions)
		for i := range items {
			items[i] = &sleeper{id: i}
			d.Update(items[i], time.Minute+time.Duration(i)*time.Millisecond)
		}
		return d, items
	}
	b.Run("later", func(b *testing.B) { // what every datagram does
		d, items := setUp()
		now, i := time.Duration(0), 0
		b.ReportAllocs()
		for b.Loop() {
			now += time.Microsecond
			d.Update(items[i], now+2*time.Minute)
			if i++; i == sessions {
				i = 0
			}
		}
	})
	b.Run("earlier", func(b *testing.B) {
		d, items := setUp()
		i := sessions - 1
		at := time.Minute
		b.ReportAllocs()
		for b.Loop() {
			at--
			d.Update(items[i], at)
			if i--; i < 0 {
				i = sessions - 1
			}
		}
	})
	b.Run("expire", func(b *testing.B) {
		d, _ := setUp()
		b.ReportAllocs()
		for b.Loop() {
			now := d.Next()
			if item, ok := d.Due(now); ok {
				d.Update(item, now+2*time.Minute)
			}
		}
	})
}

func TestCoarseDeadlinesShareTheirTicks(t *testing.T) {
	const now = 7300 * time.Millisecond
	for at, want := range map[time.Duration]time.Duration{
		Never:                       Never,
		now - 1:                     now - 1,
		now:                         now,
		now + time.Second:           now + time.Second,
		now + time.Second + 1:       8500 * time.Millisecond,
		20 * time.Second:            20 * time.Second,
		20*time.Second + 1:          20500 * time.Millisecond,
		20*time.Second + 2*tick - 1: 21 * time.Second,
	} {
		if got := Coarse(at, now); got != want {
			t.Errorf("Coarse(%v) = %v, want %v", at, got, want)
		}
	}
}
