package metrics

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/gateway/session/dialogue"
	"sngate/store"
	"sngate/upstream"
)

// listening is a connection of a given address, whose drops the system tells of if known.
type listening struct {
	listen.PacketConn
	address string
}

func (l listening) LocalAddr() netip.AddrPort { return netip.MustParseAddrPort(l.address) }

type dropping struct{ listening }

func (dropping) KernelDrops() (uint64, bool) { return 17, true }

// failingStore is a store in a file whose disk is full, with a different number in each
// field of its Stats.
type failingStore struct{ store.Store }

func (failingStore) Durable() bool { return true }
func (failingStore) Health() error { return errors.New("no space left on device") }
func (failingStore) Stats() store.Stats {
	return store.Stats{
		Commits: 30, Ops: 31, Written: 32, Failures: 33, Failed: 34, Queued: 35, QueuedBytes: 36,
		Refused: 39, FileBytes: 37, FreeBytes: 38, LastCommit: 250 * time.Millisecond,
	}
}

func testStats() *upstream.Stats {
	s := &upstream.Stats{}
	s.Open.Store(10)
	s.Dialling.Store(11)
	s.Waiting.Store(12)
	for n, c := range map[uint64]*atomic.Uint64{
		6: &s.Refusals[1], 8: &s.Refusals[6], 13: &s.DialsSucceeded, 16: &s.DroppedCongested, 18: &s.Losses, 19: &s.Parkings,
		20: &s.Reconnects, 21: &s.PacketsIn[1], 22: &s.PacketsIn[2], 23: &s.PacketsOut[1], 24: &s.PacketsOut[2],
		25: &s.BytesIn, 26: &s.BytesOut, 27: &s.Failovers, 28: &s.FailBacks, 29: &s.DialsFailed, 42: &s.Renewals, 43: &s.FailedRenewals,
	} {
		c.Store(n)
	}
	return s
}

func newTestMetrics(t *testing.T) *Metrics {
	t.Helper()
	m, err := New(Options{
		Version: "1.2.3",
		Brokers: []string{"a:1", "b:1"},
		Sessions: func(n []int64) {
			n[session.StateActive], n[session.StateAsleep] = 5, 6
		},
		Shards:        func() []QueueLengths { return []QueueLengths{{7, 3, 1}, {8, 4, 2}} },
		QueueCapacity: QueueLengths{Datagrams: 4096, Strangers: 512, Events: 1024},
		BrokerUp:      func() bool { return true },
		Memory:        func() (int64, int64) { return 1 << 20, 77 },
		SleepBuffer:   func() (int64, int64) { return 9, 1000 },
		Spool:         func() (int64, int64) { return 39, 40 },
		Upstream:      func() (*upstream.Stats, int) { return testStats(), 1 },
		Unread:        func() uint64 { return 41 },
		Store:         failingStore{Store: store.InMemory()},
		Listeners: func() []listen.Listener {
			return []listen.Listener{
				{Conn: dropping{listening{address: "[::]:1883"}}, ReceiveBuffer: 212992},
				{Conn: listening{address: "127.0.0.1:1884"}, ReceiveBuffer: 4096},
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scrape returns the lines of our own metrics, sorted.
func scrape(t *testing.T, m *Metrics) []string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "sngate_") && !strings.HasPrefix(line, "sngate_build_info") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

func TestMetricsShowTheSumOfAllCounters_Case185(t *testing.T) {
	m := newTestMetrics(t)
	var wg sync.WaitGroup
	for range 3 { // three shards
		c := m.NewCounters()
		wg.Go(func() {
			for range 100 {
				c.Received(0x0C, 20)
				c.Received(0x03, 2)
				c.Received(0xFF, 3)
				c.Sent(0x04, 10)
				c.Retransmit(dialogue.Publish)
				c.Drop(session.ReasonShardFull)
				c.End(session.ReasonSleepExpired)
			}
		})
	}
	wg.Wait()
	want := []string{
		`sngate_broker_up 1`,
		`sngate_bytes_total{direction="in"} 7500`,
		`sngate_bytes_total{direction="out"} 3000`,
		`sngate_credentials_reload_failures_total 41`,
		`sngate_drops_total{reason="shard_full"} 300`,
		`sngate_memory_limit_bytes 1.048576e+06`,
		`sngate_memory_used_bytes 77`,
		`sngate_messages_total{direction="in",type="PUBLISH"} 300`,
		`sngate_messages_total{direction="in",type="reserved"} 600`,
		`sngate_messages_total{direction="out",type="CONNECT"} 300`,
		`sngate_retransmissions_total{type="PUBLISH"} 300`,
		`sngate_sessions_ended_total{reason="sleep_expired"} 300`,
		`sngate_sessions{state="active"} 5`,
		`sngate_sessions{state="asleep"} 6`,
		`sngate_shard_queue_capacity{queue="datagrams"} 4096`,
		`sngate_shard_queue_capacity{queue="events"} 1024`,
		`sngate_shard_queue_capacity{queue="strangers"} 512`,
		`sngate_shard_queue_depth{queue="datagrams",shard="0"} 7`,
		`sngate_shard_queue_depth{queue="datagrams",shard="1"} 8`,
		`sngate_shard_queue_depth{queue="events",shard="0"} 1`,
		`sngate_shard_queue_depth{queue="events",shard="1"} 2`,
		`sngate_shard_queue_depth{queue="strangers",shard="0"} 3`,
		`sngate_shard_queue_depth{queue="strangers",shard="1"} 4`,
		`sngate_sleep_buffer_bytes 1000`,
		`sngate_sleep_buffer_messages 9`,
		`sngate_socket_drops_total{listener="[::]:1883"} 17`,
		`sngate_socket_receive_buffer_bytes{listener="127.0.0.1:1884"} 4096`,
		`sngate_socket_receive_buffer_bytes{listener="[::]:1883"} 212992`,
		`sngate_spool_bytes 40`,
		`sngate_spool_messages 39`,
		`sngate_store_commits_total 30`,
		`sngate_store_durable 1`,
		`sngate_store_failed_batches_total 34`,
		`sngate_store_failures_total 33`,
		`sngate_store_file_bytes 37`,
		`sngate_store_free_bytes 38`,
		`sngate_store_last_commit_seconds 0.25`,
		`sngate_store_operations_total 31`,
		`sngate_store_queued_batches 35`,
		`sngate_store_queued_bytes 36`,
		`sngate_store_refused_batches_total 39`,
		`sngate_store_written_bytes_total 32`,
		`sngate_upstream_broker_in_use{broker="b:1"} 1`,
		`sngate_upstream_bytes_total{direction="in"} 25`,
		`sngate_upstream_bytes_total{direction="out"} 26`,
		`sngate_upstream_connections 10`,
		`sngate_upstream_connects_in_progress 11`,
		`sngate_upstream_connects_total{result="accepted"} 13`,
		`sngate_upstream_connects_total{result="failed"} 15`,
		`sngate_upstream_connects_total{result="refused"} 14`,
		`sngate_upstream_connects_waiting 12`,
		`sngate_upstream_drops_total{reason="congested"} 16`,
		`sngate_upstream_failbacks_total 28`,
		`sngate_upstream_failovers_total 27`,
		`sngate_upstream_losses_total 18`,
		`sngate_upstream_packets_total{direction="in",type="CONNACK"} 22`,
		`sngate_upstream_packets_total{direction="in",type="CONNECT"} 21`,
		`sngate_upstream_packets_total{direction="out",type="CONNACK"} 24`,
		`sngate_upstream_packets_total{direction="out",type="CONNECT"} 23`,
		`sngate_upstream_parked_total 19`,
		`sngate_upstream_reconnects_total 20`,
		`sngate_upstream_refusals_total{code="1"} 6`,
		`sngate_upstream_refusals_total{code="other"} 8`,
		`sngate_upstream_renewal_failures_total 43`,
		`sngate_upstream_renewals_total 42`,
	}
	shown := slices.DeleteFunc(scrape(t, m), func(line string) bool { return strings.HasSuffix(line, " 0") })
	if d := cmp.Diff(want, shown); d != "" {
		t.Error(d)
	}
	for _, zero := range []string{
		`sngate_drops_total{reason="malformed"} 0`,
		`sngate_messages_total{direction="out",type="PUBLISH"} 0`,
		`sngate_messages_total{direction="out",type="reserved"} 0`,
		`sngate_sessions_ended_total{reason="will"} 0`,
		`sngate_store_healthy 0`,
		`sngate_upstream_broker_in_use{broker="a:1"} 0`,
	} {
		if !slices.Contains(scrape(t, m), zero) {
			t.Errorf("%s is not shown", zero)
		}
	}
}

func TestMetricsOfTheProcessAreThere_Case185(t *testing.T) {
	w := httptest.NewRecorder()
	newTestMetrics(t).Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{"sngate_sessions{state=\"asleep\"} 6", "go_goroutines ", "sngate_build_info{goversion=\"go1", "version=\"1.2.3\"} 1"} {
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("status %d, %q is missing", w.Code, want)
		}
	}
}

func TestMetricNamesAndHelpTextsFollowTheConventions(t *testing.T) {
	m := newTestMetrics(t)
	m.NewCounters()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "sngate_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	name := regexp.MustCompile(`^(sngate(_[a-z]+)+|go_.*|process_.*)$`)
	for _, f := range families {
		if !name.MatchString(f.GetName()) {
			t.Errorf("name %s", f.GetName())
		}
		if strings.HasPrefix(f.GetName(), "sngate_") && !strings.HasSuffix(f.GetHelp(), ".") {
			t.Errorf("%s: help %q is not a sentence", f.GetName(), f.GetHelp())
		}
	}
}

// TestMetricsPageAgreesWithTheRegistry compares name, type and labels of each metric
// with the table in docs/METRICS.md, both ways.
func TestMetricsPageAgreesWithTheRegistry(t *testing.T) {
	page, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	row := regexp.MustCompile("(?m)^\\| `(sngate_[a-z_]+)` \\| (\\w+) \\| (.*?) ?\\| (.+) \\|$")
	for _, r := range row.FindAllStringSubmatch(string(page), -1) {
		if strings.HasPrefix(r[1], "sngate_probe_") {
			continue // of another program, see cmd/sngate
		}
		labels := regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(r[3], -1)
		var names []string
		for _, l := range labels {
			names = append(names, l[1])
		}
		slices.Sort(names)
		documented[r[1]] = fmt.Sprint(r[2], names)
	}
	m := newTestMetrics(t)
	m.NewCounters()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	registered := make(map[string]string)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "sngate_") {
			continue
		}
		var names []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			names = append(names, l.GetName())
		}
		slices.Sort(names)
		registered[f.GetName()] = fmt.Sprint(strings.ToLower(f.GetType().String()), names)
	}
	if d := cmp.Diff(registered, documented); d != "" {
		t.Errorf("registry (-) and docs/METRICS.md (+) differ:\n%s", d)
	}
}

func TestCountingDoesNotAllocate(t *testing.T) {
	c := newTestMetrics(t).NewCounters()
	if n := testing.AllocsPerRun(100, func() {
		c.Received(0x0C, 20)
		c.Sent(0x0D, 7)
		c.Retransmit(dialogue.Publish)
		c.Drop(0)
		c.End(0)
	}); n != 0 {
		t.Errorf("%.1f allocations", n)
	}
}

func BenchmarkCounters(b *testing.B) {
	c := &Counters{}
	b.ReportAllocs()
	for b.Loop() {
		c.Received(0x0C, 20)
	}
}
