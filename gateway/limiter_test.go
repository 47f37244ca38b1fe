package gateway

import (
	"math"
	"testing"
	"time"
)

func TestLimiterAllowsBurstThenRate(t *testing.T) {
	l := newLimiter(10, 3)
	now := 5 * time.Second
	for i := range 3 {
		if !l.allow(now) {
			t.Fatalf("token %d of the burst refused", i)
		}
	}
	if l.allow(now) {
		t.Fatal("token beyond the burst allowed")
	}
	if l.allow(now + 99*time.Millisecond) {
		t.Fatal("token came back early")
	}
	if !l.allow(now + 100*time.Millisecond) {
		t.Fatal("token did not come back")
	}
	now += time.Hour
	for i := range 3 {
		if !l.allow(now) {
			t.Fatalf("token %d refused after a pause", i)
		}
	}
	if l.allow(now) {
		t.Fatal("a pause saved up more than the burst")
	}
}

func TestLimiterHoldsItsRateOverTime(t *testing.T) {
	l := newLimiter(7, 20)
	allowed := 0
	for now := time.Duration(0); now < 100*time.Second; now += time.Millisecond {
		if l.allow(now) {
			allowed++
		}
	}
	if allowed < 719 || allowed > 721 {
		t.Errorf("allowed %d in 100 s, want 20 + 7 per second", allowed)
	}
}

func TestLimiterExtremes(t *testing.T) {
	tests := []struct {
		name        string
		rate, burst int
		first       bool
	}{
		{"no rate", 0, 5, false},
		{"negative rate", -1, 5, false},
		{"no burst", 5, 0, false},
		{"more than a clock can tell", math.MaxInt32, 1, true},
		{"endless burst", 1, math.MaxInt, true},
		{"both", math.MaxInt, math.MaxInt, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLimiter(tt.rate, tt.burst)
			for _, now := range []time.Duration{0, time.Hour, 100 * 365 * 24 * time.Hour} {
				if got := l.allow(now); got != tt.first {
					t.Errorf("allow(%s) = %t", now, got)
				}
			}
		})
	}
	var zero limiter
	if zero.allow(time.Second) {
		t.Error("the zero value allows")
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := newLimiter(1000, 10)
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += time.Microsecond
		l.allow(now)
	}
}
