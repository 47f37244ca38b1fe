package rate

import (
	"math"
	"testing"
	"time"
	"unsafe"
)

func TestLimiterAllowsBurstThenRate(t *testing.T) {
	l := NewLimiter(PerSecond(10, 3))
	now := 5 * time.Second
	for i := range 3 {
		if !l.Allow(now) {
			t.Fatalf("token %d of the burst refused", i)
		}
	}
	if l.Allow(now) {
		t.Fatal("token beyond the burst allowed")
	}
	if l.Allow(now + 99*time.Millisecond) {
		t.Fatal("token came back early")
	}
	if !l.Allow(now + 100*time.Millisecond) {
		t.Fatal("token did not come back")
	}
	now += time.Hour
	for i := range 3 {
		if !l.Allow(now) {
			t.Fatalf("token %d refused after a pause", i)
		}
	}
	if l.Allow(now) {
		t.Fatal("a pause saved up more than the burst")
	}
}

func TestLimiterHoldsItsRateOverTime(t *testing.T) {
	l := NewLimiter(PerSecond(7, 20))
	allowed := 0
	for now := time.Duration(0); now < 100*time.Second; now += time.Millisecond {
		if l.Allow(now) {
			allowed++
		}
	}
	if allowed < 719 || allowed > 721 {
		t.Errorf("allowed %d in 100 s, want 20 + 7 per second", allowed)
	}
}

func TestExtremes(t *testing.T) {
	tests := []struct {
		name  string
		limit Limit
		first bool
	}{
		{"the zero value is no limit", Limit{}, true},
		{"no rate is no limit", PerSecond(0, 5), true},
		{"nor is a negative one", PerSecond(-1, 5), true},
		{"no burst", PerSecond(5, 0), false},
		{"negative burst", PerSecond(5, math.MinInt), false},
		{"more than a clock can tell", PerSecond(math.MaxInt32, 1), true},
		{"endless burst", PerSecond(1, math.MaxInt), true},
		{"both", PerSecond(math.MaxInt, math.MaxInt), true},
		{"no interval is no limit", Every(0, 0), true},
		{"no depth", Every(time.Hour, 0), false},
		{"less depth than one token", Every(time.Hour, time.Hour-1), false},
		{"depth of one token", Every(time.Hour, time.Hour), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLimiter(tt.limit)
			for _, now := range []time.Duration{0, time.Hour, 100 * 365 * 24 * time.Hour} {
				if got := l.Allow(now); got != tt.first {
					t.Errorf("Allow(%s) = %t", now, got)
				}
			}
		})
	}
}

func TestSeveralTokensAreTakenTogetherOrNotAtAll(t *testing.T) {
	var b Bucket
	l := PerSecond(10, 25)
	now := time.Hour
	if b.Take(l, now, 26) {
		t.Error("more than the burst at once")
	}
	if !b.Take(l, now, 25) || b.Take(l, now, 1) {
		t.Error("a full bucket has the burst and no more")
	}
	if b.Take(l, now+time.Second, 11) || !b.Take(l, now+time.Second, 10) {
		t.Error("ten of them come back in a second")
	}
	b = Bucket{}
	for range 1000 {
		if !b.Take(Limit{}, now, 1<<30) {
			t.Fatal("no limit is no limit")
		}
	}
	fast := PerSecond(1_000_000_000, 1_000_000_000)
	if !b.Take(fast, now, 1_000_000_000) || b.Take(fast, now, 1) {
		t.Error("the largest rate and burst are not kept")
	}
}

// Where a token takes no whole number of nanoseconds, what several of them take is not
// rounded for each.
func TestFractionsOfANanosecondCount(t *testing.T) {
	var b Bucket
	l := PerSecond(300_000_000, 300_000_000)
	if !b.Take(l, 0, 300_000_000) || b.Take(l, time.Second-1, 300_000_000) || !b.Take(l, time.Second, 300_000_000) {
		t.Error("a second does not bring back a second's tokens")
	}
}

func TestTakeOrWaitTellsHowLong(t *testing.T) {
	var b Bucket
	l := Every(10*time.Millisecond, 25*time.Millisecond)
	for i, want := range []time.Duration{0, 0, 5 * time.Millisecond, 5 * time.Millisecond} {
		if got := b.TakeOrWait(l, time.Second, 1); got != want {
			t.Errorf("try %d: %v, want %v", i, got, want)
		}
	}
	if wait := b.TakeOrWait(l, time.Second+5*time.Millisecond, 1); wait != 0 {
		t.Errorf("after that time: %v", wait)
	}
}

func TestClockThatGoesBackDoesNoHarm(t *testing.T) {
	var b Bucket
	l := PerSecond(1, 2)
	if !b.Take(l, time.Hour, 1) || b.Take(l, time.Minute, 1) || !b.Take(l, time.Hour, 1) || b.Take(l, time.Hour, 1) {
		t.Error("tokens are lost or made by a clock that goes back")
	}
}

func TestAtomicBucketGivesWhatABucketGives(t *testing.T) {
	var a AtomicBucket
	var b Bucket
	l := PerSecond(7, 9)
	for now := time.Duration(0); now < 10*time.Second; now += 37 * time.Millisecond {
		n := int(now/time.Millisecond) % 4
		if got, want := a.Take(l, now, n), b.Take(l, now, n); got != want {
			t.Fatalf("at %v, %d tokens: %t, want %t", now, n, got, want)
		}
	}
}

func TestBucketsAreSmallAndAllocateNothing(t *testing.T) {
	if n := unsafe.Sizeof(Bucket{}); n != 8 {
		t.Errorf("a bucket has %d octets", n)
	}
	if n := unsafe.Sizeof(AtomicBucket{}); n != 8 {
		t.Errorf("an atomic bucket has %d octets", n)
	}
	l, a, now := NewLimiter(PerSecond(1000, 10)), new(AtomicBucket), time.Duration(0)
	if n := testing.AllocsPerRun(100, func() {
		now += time.Microsecond
		l.Take(now, 1)
		a.Take(l.limit, now, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := NewLimiter(PerSecond(1000, 10))
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += time.Microsecond
		l.Allow(now)
	}
}

func TestWaitTakesNothing(t *testing.T) {
	l := Every(time.Second, time.Second)
	var b Bucket
	for range 2 {
		if wait := b.Wait(l, 5*time.Second, 1); wait != 0 {
			t.Errorf("a full bucket: wait %v", wait)
		}
	}
	b.Take(l, 5*time.Second, 1)
	if wait := b.Wait(l, 5300*time.Millisecond, 1); wait != 700*time.Millisecond {
		t.Errorf("an empty one, 300 ms later: wait %v", wait)
	}
	if wait := b.Wait(Limit{}, 0, 1); wait != 0 {
		t.Errorf("without a limit: wait %v", wait)
	}
}
