package loadgen

import (
	"math/bits"
	"time"
)

// steps is how many buckets of a [histogram] there are for each power of two.
const steps = 32

// histogram counts durations in buckets that are about 3 % wide, exact below 32 ns. The zero
// value is empty.
type histogram struct {
	n     [64 * steps]int64
	total int64
	max   time.Duration
}

// record counts d; what is negative counts as 0.
func (h *histogram) record(d time.Duration) {
	d = max(d, 0)
	h.n[bucket(uint64(d))]++
	h.total++
	h.max = max(h.max, d)
}

// bucket returns the index of the bucket for v.
func bucket(v uint64) int {
	if v < steps {
		return int(v)
	}
	e := bits.Len64(v) - bits.Len64(steps) // v>>e is in steps to 2*steps-1
	return (e+1)*steps + int(v>>e) - steps
}

// middle returns the value in the middle of bucket i.
func middle(i int) time.Duration {
	if i < 2*steps {
		return time.Duration(i)
	}
	e := i/steps - 1
	low := uint64(i%steps+steps) << e
	return time.Duration(low + 1<<(e-1))
}

// quantile returns the smallest value that at least the share q of all is not above, within
// the width of a bucket; 0 if there is none.
func (h *histogram) quantile(q float64) time.Duration {
	rest := int64(float64(h.total)*q + 0.999999) // rounded up: how many are at or below it
	rest = max(rest, 1)
	for i, n := range h.n {
		if rest -= n; n > 0 && rest <= 0 {
			return min(middle(i), h.max)
		}
	}
	return 0
}

// Latency is the distribution of a duration, in microseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p999_us"`
	Max   float64 `json:"max_us"`
}

// latency returns what is told of h, nil if it is empty.
func (h *histogram) latency() *Latency {
	if h.total == 0 {
		return nil
	}
	return &Latency{h.total, micros(h.quantile(.5)), micros(h.quantile(.99)), micros(h.quantile(.999)), micros(h.max)}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
