package loadgen

import (
	"math"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	for _, tt := range []struct {
		name           string
		values         []time.Duration
		p50, p99, p999 time.Duration
	}{
		{"one", []time.Duration{7}, 7, 7, 7},
		{"two", []time.Duration{3, 9}, 3, 9, 9},
		{"negative is nothing", []time.Duration{-5, -1, 4}, 0, 4, 4},
		{"1 to 1000 us", ramp(1000), 500 * time.Microsecond, 990 * time.Microsecond, 999 * time.Microsecond},
		{"1 to 10000 us", ramp(10000), 5 * time.Millisecond, 9900 * time.Microsecond, 9990 * time.Microsecond},
		{"one in 200 is slow", append(repeated(199, time.Millisecond), time.Second), time.Millisecond, time.Millisecond, time.Second},
		{"one in 50 is slow", append(repeated(49, time.Millisecond), time.Second), time.Millisecond, time.Second, time.Second},
	} {
		var h histogram
		for _, v := range tt.values {
			h.record(v)
		}
		for q, want := range map[float64]time.Duration{.5: tt.p50, .99: tt.p99, .999: tt.p999} {
			if got := h.quantile(q); math.Abs(float64(got-want)) > 0.035*float64(want) {
				t.Errorf("%s: %v of all are within %v, want %v", tt.name, q, got, want)
			}
		}
	}
}

func ramp(n int) (list []time.Duration) {
	for i := range n {
		list = append(list, time.Duration(i+1)*time.Microsecond)
	}
	return list
}

func repeated(n int, d time.Duration) (list []time.Duration) {
	for range n {
		list = append(list, d)
	}
	return list
}

func TestBucketsCoverEveryDuration(t *testing.T) {
	last := -1
	for v := uint64(0); v < math.MaxInt64/2; v = v + v/50 + 1 {
		i := bucket(v)
		if i < last || i >= len(histogram{}.n) {
			t.Fatalf("%d is in bucket %d, after %d", v, i, last)
		}
		last = i
		if m := float64(middle(i)); math.Abs(m-float64(v)) > 0.035*float64(v) {
			t.Fatalf("%d is in the bucket around %v", v, m)
		}
	}
	var h histogram
	h.record(math.MaxInt64)
	if h.quantile(1) <= 0 {
		t.Error("the longest duration is lost")
	}
}

func TestNothingMeasuredIsNoLatency(t *testing.T) {
	var h histogram
	if l := h.latency(); l != nil {
		t.Errorf("%+v", l)
	}
	h.record(1500 * time.Nanosecond)
	if l := h.latency(); l == nil || l.Count != 1 || l.Max != 1.5 || l.P50 > 1.5 {
		t.Errorf("%+v", l)
	}
}
