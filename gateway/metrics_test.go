package gateway

import (
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"sngate/store"
)

func newTestMetrics(t *testing.T) *metrics {
	t.Helper()
	m, err := newMetrics(metricNames{
		typeName: func(b byte) (string, bool) {
			name, ok := map[byte]string{0x04: "CONNECT", 0x0C: "PUBLISH"}[b]
			return name, ok
		},
		reasons:         []string{"none", "malformed", "shard_full", "sleep_expired"},
		dropReasons:     []int{1, 2},
		endReasons:      []int{1, 3},
		states:          []string{"active", "asleep"},
		upstreamReasons: []string{"congested"},
		packetTypes:     []string{"", "CONNECT", "CONNACK"},
		refusalCodes:    []string{"1", "other"},
		brokers:         []string{"a:1", "b:1"},
		version:         "1.2.3",
	}, metricSources{
		sessions:      func(n []int64) { copy(n, []int64{5, 6}) },
		shards:        func() []queueLengths { return []queueLengths{{7, 3, 1}, {8, 4, 2}} },
		queueCapacity: queueLengths{datagrams: 4096, strangers: 512, events: 1024},
		brokerUp:      func() bool { return true },
		memory:        func() (int64, int64) { return 1 << 20, 77 },
		sleepBuffer:   func() (int64, int64) { return 9, 1000 },
		spool:         func() (int64, int64) { return 39, 40 },
		upstream: func() upstreamStats {
			return upstreamStats{
				open: 10, inProgress: 11, waiting: 12, accepted: 13, failed: 15, refusals: []uint64{6, 8},
				broker: 1, failovers: 27, failBacks: 28, losses: 18, parked: 19, reconnects: 20, packetsIn: []uint64{99, 21, 22}, packetsOut: []uint64{99, 23, 24},
				bytesIn: 25, bytesOut: 26, drops: []uint64{16},
			}
		},
		store: failingStore{Store: store.InMemory()},
		listeners: func() []listenerStats {
			return []listenerStats{
				{listener: "[::]:1883", receiveBuffer: 212992, drops: 17, dropsKnown: true},
				{listener: "127.0.0.1:1884", receiveBuffer: 4096},
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scrape returns the lines of our own metrics, sorted.
func scrape(t *testing.T, m *metrics) []string {
	t.Helper()
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
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
		c := m.newCounters()
		wg.Go(func() {
			for range 100 {
				c.in(0x0C, 20)
				c.in(0x03, 2)
				c.in(0xFF, 3)
				c.out(0x04, 10)
				c.retransmit(0x0C)
				c.drop(2)
				c.end(3)
			}
		})
	}
	wg.Wait()
	want := []string{
		`sngate_broker_up 1`,
		`sngate_bytes_total{direction="in"} 7500`,
		`sngate_bytes_total{direction="out"} 3000`,
		`sngate_drops_total{reason="malformed"} 0`,
		`sngate_drops_total{reason="shard_full"} 300`,
		`sngate_memory_limit_bytes 1.048576e+06`,
		`sngate_memory_used_bytes 77`,
		`sngate_messages_total{direction="in",type="CONNECT"} 0`,
		`sngate_messages_total{direction="in",type="PUBLISH"} 300`,
		`sngate_messages_total{direction="in",type="reserved"} 600`,
		`sngate_messages_total{direction="out",type="CONNECT"} 300`,
		`sngate_messages_total{direction="out",type="PUBLISH"} 0`,
		`sngate_messages_total{direction="out",type="reserved"} 0`,
		`sngate_retransmissions_total{type="CONNECT"} 0`,
		`sngate_retransmissions_total{type="PUBLISH"} 300`,
		`sngate_retransmissions_total{type="reserved"} 0`,
		`sngate_sessions_ended_total{reason="malformed"} 0`,
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
		`sngate_store_healthy 0`,
		`sngate_store_last_commit_seconds 0.25`,
		`sngate_store_operations_total 31`,
		`sngate_store_queued_batches 35`,
		`sngate_store_queued_bytes 36`,
		`sngate_store_refused_batches_total 39`,
		`sngate_store_written_bytes_total 32`,
		`sngate_upstream_broker_in_use{broker="a:1"} 0`,
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
	}
	if d := cmp.Diff(want, scrape(t, m)); d != "" {
		t.Error(d)
	}
}

func TestMetricNamesAndHelpTextsFollowTheConventions(t *testing.T) {
	m := newTestMetrics(t)
	m.newCounters()
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
	page, err := os.ReadFile("../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	row := regexp.MustCompile("(?m)^\\| `(sngate_[a-z_]+)` \\| (\\w+) \\| (.*?) ?\\| (.+) \\|$")
	for _, r := range row.FindAllStringSubmatch(string(page), -1) {
		labels := regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(r[3], -1)
		var names []string
		for _, l := range labels {
			names = append(names, l[1])
		}
		slices.Sort(names)
		documented[r[1]] = fmt.Sprint(r[2], names)
	}
	m := newTestMetrics(t)
	m.newCounters()
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
	c := newTestMetrics(t).newCounters()
	if n := testing.AllocsPerRun(100, func() {
		c.in(0x0C, 20)
		c.out(0x0D, 7)
		c.retransmit(0x0C)
		c.drop(0)
		c.end(0)
	}); n != 0 {
		t.Errorf("%.1f allocations", n)
	}
}

func BenchmarkCounters(b *testing.B) {
	c := &counters{}
	b.ReportAllocs()
	for b.Loop() {
		c.in(0x0C, 20)
	}
}
