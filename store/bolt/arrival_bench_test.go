//go:build linux

package bolt

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"sngate/store"
)

// BenchmarkArrivals measures the table of store.linger in test/MEASURED.md: messages for 100
// devices are stored, and removed again 100 requests later, each by a batch of its own, which
// come at random times.
func BenchmarkArrivals(b *testing.B) {
	for _, rate := range []int{300, 1000, 5000} {
		for _, linger := range []time.Duration{0, 2, 3, 5} {
			linger *= time.Millisecond
			b.Run(fmt.Sprintf("%d/%v", rate, linger), func(b *testing.B) { arrivals(b, rate, linger) })
		}
	}
}

func arrivals(b *testing.B, rate int, linger time.Duration) {
	s := populate(b, 100, Options{Linger: linger})
	delays := make([]time.Duration, b.N) // each belongs to its request, then to the benchmark
	answered := make(chan struct{}, b.N)
	random := rand.New(rand.NewPCG(1, 2))
	before, cpu := s.Stats(), cpuTime(b)
	begin := time.Now()
	due := time.Duration(0)
	b.ResetTimer()
	for i := range b.N {
		due += time.Duration(random.ExpFloat64() / float64(rate) * float64(time.Second))
		time.Sleep(due - time.Since(begin))
		op := store.Op{Bucket: store.Held, Key: deviceKey(i/2*7919%100, 500000+i/2), Value: make([]byte, 150)}
		if i%2 == 1 { // what was stored 100 requests ago
			old := max(i/2-50, 0)
			op = store.Op{Bucket: store.Held, Kind: store.Delete, Key: deviceKey(old*7919%100, 500000+old)}
		}
		asked := time.Now()
		if !s.Submit(store.Batch{Ops: []store.Op{op}, Done: func(err error) {
			if err != nil {
				b.Error(err)
			}
			delays[i] = time.Since(asked)
			answered <- struct{}{}
		}}) {
			b.Fatal("refused")
		}
	}
	for range b.N {
		<-answered
	}
	b.StopTimer()
	cpu, after := cpuTime(b)-cpu, s.Stats()
	n := float64(b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n/float64(max(after.Commits-before.Commits, 1)), "batches/commit")
	b.ReportMetric(float64(after.Written-before.Written)/n, "written-B/batch")
	b.ReportMetric(float64(cpu.Microseconds())/n, "cpu-µs/batch")
	slices.Sort(delays)
	b.ReportMetric(float64(delays[b.N/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(delays[b.N*99/100].Microseconds()), "p99-µs")
}

// cpuTime is what the process has used so far, in user and in system mode.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
