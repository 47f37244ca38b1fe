package bolt

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sngate/store"
)

// TestSubmitAllocations is the ceiling for what a caller pays: the queue and the
// writer's transaction have their memory from the start.
func TestSubmitAllocations(t *testing.T) {
	ops := []store.Op{put(store.Held, "key", "value")}
	s, _ := open(t, filepath.Join(t.TempDir(), "db"), Options{QueueBatches: 4096})
	var wg sync.WaitGroup
	done := func(error) { wg.Done() }
	submit := func() {
		wg.Add(1)
		if !s.Submit(store.Batch{Ops: ops, Done: done}) {
			t.Error("refused")
		}
	}
	for range 2 { // the first time makes the queue grow
		unblock := block(t, s)
		for range 1100 {
			submit()
		}
		unblock()
		wg.Wait()
	}
	unblock := block(t, s)
	if n := testing.AllocsPerRun(1000, submit); n > 0 {
		t.Errorf("Submit allocates %v times", n)
	}
	unblock()
	wg.Wait()
	m := store.InMemory()
	if n := testing.AllocsPerRun(1000, func() { wg.Add(1); m.Submit(store.Batch{Ops: ops, Done: done}) }); n > 0 {
		t.Errorf("Submit in memory allocates %v times", n)
	}
}

// benchmarkPuts has callers put records into a file that holds 10,000 already, each
// waiting for its answer before the next.
func benchmarkPuts(b *testing.B, s store.Store, callers, size int) {
	value := []byte(strings.Repeat("v", size))
	if s.Durable() {
		for i := range 10 {
			var ops []store.Op
			for j := range 1000 {
				ops = append(ops, store.Op{Bucket: store.Held, Key: fmt.Appendf(nil, "device-%05d/%08d", (i*1000+j)*7919%10000, 0), Value: value})
			}
			mustWrite(b, s, ops...)
		}
	}
	before := s.Stats()
	var next atomic.Uint32
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			answer := make(chan error, 1)
			done := func(err error) { answer <- err }
			for {
				n := next.Add(1)
				if n > uint32(b.N) {
					return
				}
				key := fmt.Appendf(nil, "device-%05d/%08d", n*7919%10000, n)
				if !s.Submit(store.Batch{Ops: []store.Op{{Bucket: store.Held, Key: key, Value: value}}, Done: done}) {
					b.Error("refused")
					return
				}
				if err := <-answer; err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	st := s.Stats()
	if n := st.Commits - before.Commits; n > 0 {
		b.ReportMetric(float64(b.N)/float64(n), "puts/commit")
		b.ReportMetric(float64(st.Written-before.Written)/float64(b.N), "written-B/op")
		b.ReportMetric(float64(st.Written-before.Written)/float64(n), "written-B/commit")
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{100, 1000} {
		for _, callers := range []int{1, 32, 256} {
			name := fmt.Sprintf("%dB/%dcallers", size, callers)
			b.Run(name+"/memory", func(b *testing.B) { benchmarkPuts(b, store.InMemory(), callers, size) })
			b.Run(name+"/file", func(b *testing.B) {
				s, _ := open(b, filepath.Join(b.TempDir(), "db"), Options{})
				benchmarkPuts(b, s, callers, size)
			})
		}
	}
}

// BenchmarkOpen reads and checks a file of 100,000 records.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	s, _ := open(b, path, Options{})
	for i := range 100 {
		var ops []store.Op
		for j := range 1000 {
			key := binary.BigEndian.AppendUint64(nil, uint64(i*1000+j)*7919%100000)
			ops = append(ops, store.Op{Bucket: store.Sessions, Key: key, Value: make([]byte, 300)})
		}
		mustWrite(b, s, ops...)
	}
	closeStore(b, s)
	b.ReportAllocs()
	for b.Loop() {
		s, rep := open(b, path, Options{})
		if rep.Records != 100000 {
			b.Fatal(rep)
		}
		b.ReportMetric(float64(rep.Bytes), "file-B")
		closeStore(b, s)
	}
}

func deviceKey(device, n int) []byte { return fmt.Appendf(nil, "device-%06d/%06d", device, n) }

// population makes a store with what some devices need: each has one session, 5 topic
// ids and 2 messages.
func population(t testing.TB, devices int) *fileStore {
	t.Helper()
	return populate(t, devices, Options{noSync: true})
}

func populate(t testing.TB, devices int, opts Options) *fileStore {
	t.Helper()
	s, _ := open(t, filepath.Join(t.TempDir(), "db"), opts)
	for from := 0; from < devices; from += 250 {
		var ops []store.Op
		for d := from; d < min(from+250, devices); d++ {
			ops = append(ops, store.Op{Bucket: store.Sessions, Key: deviceKey(d, 0), Value: make([]byte, 200)})
			for n := range 5 {
				ops = append(ops, store.Op{Bucket: store.Topics, Key: deviceKey(d, n), Value: make([]byte, 40)})
			}
			for n := range 2 {
				ops = append(ops, store.Op{Bucket: store.Held, Key: deviceKey(d, n), Value: make([]byte, 150)})
			}
		}
		mustWrite(t, s, ops...)
	}
	return s
}

// TestFootprintOfALoneEvent is the ceiling for what one event writes, which is what
// wears a memory card.
func TestFootprintOfALoneEvent(t *testing.T) {
	s := population(t, 1000)
	before := s.Stats().Written
	const events = 100
	for i := range events {
		mustWrite(t, s, store.Op{Bucket: store.Held, Key: deviceKey(i*7919%1000, 500000+i), Value: make([]byte, 150)})
	}
	if n := (s.Stats().Written - before) / events; n > 7*pageSize {
		t.Errorf("%d bytes per event, more than 7 pages", n)
	}
}

// BenchmarkBytesPerEvent measures the table in test/MEASURED.md: an event is put,
// and deleted again by the next transaction, at devices all over the file.
func BenchmarkBytesPerEvent(b *testing.B) {
	kinds := []struct {
		name   string
		bucket store.Bucket
		size   int
	}{{"topic", store.Topics, 40}, {"held", store.Held, 150}, {"spooled", store.Spool, 150}}
	for _, devices := range []int{50, 1000, 20000} {
		s := population(b, devices)
		for _, kind := range kinds {
			for _, together := range []int{1, 10, 100} {
				b.Run(fmt.Sprintf("%d/%s/%d", devices, kind.name, together), func(b *testing.B) {
					before, events := s.Stats(), 0
					for b.Loop() {
						puts, deletes := make([]store.Op, together), make([]store.Op, together)
						for i := range together {
							// Steps of a prime number come by all devices, far from each other.
							k := deviceKey((events/2+i)*7919%devices, 500000+events+i)
							puts[i] = store.Op{Bucket: kind.bucket, Key: k, Value: make([]byte, kind.size)}
							deletes[i] = store.Op{Bucket: kind.bucket, Kind: store.Delete, Key: k}
						}
						mustWrite(b, s, puts...)
						mustWrite(b, s, deletes...)
						events += 2 * together
					}
					b.ReportMetric(float64(s.Stats().Written-before.Written)/float64(events), "written-B/event")
				})
			}
		}
	}
}
