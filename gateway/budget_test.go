package gateway

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sngate/gateway/session"
)

func TestBudgetWithoutLimitIsAlwaysFree(t *testing.T) {
	var b budget
	b.add(1 << 40)
	if b.free() != math.MaxInt {
		t.Fatalf("%d free", b.free())
	}
	b.limit = 100
	if b.free() != 0 {
		t.Fatalf("%d free of 100 beyond the limit", b.free())
	}
	b.add(-1 << 40)
	b.add(30)
	if b.free() != 70 {
		t.Fatalf("%d free, want 70", b.free())
	}
}

// The one that is found holds at least half as much as any other.
func TestHoldersFindWhoHoldsMost(t *testing.T) {
	var h holders
	random := rand.New(rand.NewPCG(6, 1))
	entries := make([]*entry, 50)
	for i := range entries {
		entries[i] = new(entry)
	}
	for range 20_000 {
		e := entries[random.IntN(len(entries))]
		e.counted.heldOctets = random.IntN(1 << random.IntN(20))
		if random.IntN(4) == 0 {
			e.counted.heldOctets = 0
		}
		h.note(e, e.counted.heldOctets)
		most := 0
		for _, e := range entries {
			most = max(most, e.counted.heldOctets)
		}
		switch got := h.biggest(); {
		case got == nil && most > 0:
			t.Fatalf("nobody is found, and %d are held", most)
		case got != nil && (2*got.counted.heldOctets <= most || got.counted.heldOctets == 0):
			t.Fatalf("%d found, and another holds %d", got.counted.heldOctets, most)
		}
	}
	for _, e := range entries {
		h.note(e, 0)
	}
	if h.biggest() != nil || h.occupied != 0 {
		t.Fatal("somebody is left")
	}
}

// sleepers connects n devices, "s-0" with topic "to/0" and so on, and lets them sleep.
func (r *rig) sleepers(n int, qos uint8) []*device {
	r.t.Helper()
	list := make([]*device, n)
	for i := range list {
		list[i] = r.device(fmt.Sprintf("10.0.2.%d:5000", i+1))
		list[i].connectWith(false, 60, fmt.Sprintf("s-%d", i))
		list[i].subscribe(fmt.Sprintf("to/%d", i), qos)
		list[i].sleep(3600)
	}
	return list
}

// held returns the octets held by each client id.
func (r *rig) held() map[string]int {
	synctest.Wait()
	held := make(map[string]int)
	for _, s := range r.gateway.shards {
		for id, e := range s.roster.byID {
			held[id] = e.counted.heldOctets
		}
		s.queues.post(func() {}) // what the shard does next is after this
	}
	return held
}

// footprint returns the octets that are kept for all devices beside messages.
func (r *rig) keptOctets() (n int64) {
	synctest.Wait()
	for _, s := range r.gateway.shards {
		for _, e := range s.roster.byID {
			n += int64(e.counted.footprint)
		}
	}
	return n
}

func TestMemoryIsSharedAndQoS0OfTheBiggestGoesFirst(t *testing.T) {
	for _, shards := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			const limit = 100_000
			r := newRig(t, func(o *Options) {
				o.MemoryLimit, o.Shards = limit, shards
				o.Session.MaxMessages, o.Session.MaxBytes = 100_000, 1<<30
			})
			r.sleepers(5, 0)
			within := func() {
				t.Helper()
				if used := r.gateway.limits.memory.used.Load(); used > limit || used < 0 {
					t.Fatalf("%d octets held of %d", used, limit)
				}
			}
			payload := strings.Repeat("x", 400)
			for range 1000 { // one takes what it can
				r.publish("to/0", payload, 0)
				synctest.Wait()
				within()
			}
			if n := r.held()["s-0"]; n < limit*45/100 || n > limit/2 {
				t.Fatalf("the only one holds %d octets of %d, want half", n, limit)
			}
			for range 300 { // and gives it back when others come
				for i := range 5 {
					r.publish(fmt.Sprintf("to/%d", i), payload, 0)
				}
				synctest.Wait()
				within()
			}
			time.Sleep(idleTurn) // of shards that have had nothing to do
			share, sum := limit/6, 0
			for id, n := range r.held() {
				if sum += n; n < share/2 || n > 2*share {
					t.Errorf("%s holds %d octets, want about %d", id, n, share)
				}
			}
			if used := r.gateway.limits.memory.used.Load() - r.keptOctets(); int(used) != sum {
				t.Errorf("%d octets counted, %d held", used, sum)
			}
			if r.dropped(session.ReasonMemoryLimit) == 0 || r.dropped(session.ReasonBufferFull) != 0 {
				t.Errorf("%d drops for memory", r.dropped(session.ReasonMemoryLimit))
			}
		})
	}
}

// QoS 1 is never lost for want of memory: it waits with the broker, and comes when the
// device wakes. QoS 0 of others makes room for it.
func TestQoS1WaitsWithTheBrokerForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, each = 20_000, 60
		r := newRig(t, func(o *Options) {
			o.MemoryLimit = limit
			o.Session.MaxMessages, o.Session.MaxBytes = 1000, 1<<30
		})
		devices := r.sleepers(3, 1)
		for i := range each {
			r.publish("to/0", fmt.Sprintf("%03d", i)+strings.Repeat("-", 400), 1)
			r.publish("to/1", strings.Repeat("x", 400), 0)
			synctest.Wait()
		}
		for i := range each {
			r.publish("to/2", fmt.Sprintf("%03d", i)+strings.Repeat("-", 400), 1)
			synctest.Wait()
		}
		held := r.held()
		t.Logf("held: %v", held)
		// A connection that is stopped may still bring what was on its way, at most the
		// window of the broker.
		const onItsWay = 20 * 500
		if used := int(r.gateway.limits.memory.used.Load()); used > limit+onItsWay {
			t.Fatalf("%d octets held of %d", used, limit)
		}
		for _, i := range []int{0, 2} {
			got := devices[i].wake(fmt.Sprintf("s-%d", i))
			if len(got) != each {
				t.Fatalf("device %d gets %d messages of %d", i, len(got), each)
			}
			for n, p := range got {
				if !strings.HasPrefix(p, fmt.Sprintf("%03d", n)) {
					t.Fatalf("device %d gets %.3s as message %d", i, p, n)
				}
			}
		}
		if n := r.gateway.limits.memory.used.Load() - r.keptOctets(); n != int64(r.held()["s-1"]) {
			t.Fatalf("%d octets are counted when all has been delivered but %d", n, r.held()["s-1"])
		}
	})
}

func TestBudgetIsEmptyWhenSessionsHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.MemoryLimit, o.Expiry = 1<<20, time.Hour })
		r.sleepers(4, 1)
		for i := range 4 {
			r.publish(fmt.Sprintf("to/%d", i), "x", byte(i%2))
		}
		synctest.Wait()
		if r.gateway.limits.memory.used.Load() == 0 {
			t.Fatal("nothing is held")
		}
		time.Sleep(4 * time.Hour)
		r.wantSessions("all have expired", 0)
		if n := r.gateway.limits.memory.used.Load(); n != 0 {
			t.Fatalf("%d octets are counted for nobody", n)
		}
		if r.gateway.shards[0].holders.occupied != 0 {
			t.Fatal("somebody is listed as a holder")
		}
	})
}

func BenchmarkHoldersNote(b *testing.B) {
	b.ReportAllocs()
	var h holders
	e := new(entry)
	n := 0
	for b.Loop() {
		n += 100
		h.note(e, n&0xFFFF)
	}
}
