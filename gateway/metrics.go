package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// counters are what one shard or reader counts on its way. They are plain arrays,
// found without a lookup, and one writer's alone, so that counting costs an
// uncontended atomic addition; a scrape adds up those of all writers.
//
// Several goroutines may share one if none of them is busy.
type counters struct {
	_             [64]byte // keeps the neighbours' writes off our cache lines
	received      [256]atomic.Uint64
	sent          [256]atomic.Uint64
	retransmitted [256]atomic.Uint64
	bytesIn       atomic.Uint64
	bytesOut      atomic.Uint64
	reasons       []atomic.Uint64
	_             [64]byte
}

// in counts a received message of n octets.
func (c *counters) in(msgType byte, n int) {
	c.received[msgType].Add(1)
	c.bytesIn.Add(uint64(n))
}

// out counts a sent message of n octets.
func (c *counters) out(msgType byte, n int) {
	c.sent[msgType].Add(1)
	c.bytesOut.Add(uint64(n))
}

// retransmit counts a message that was sent again; out counts it as well.
func (c *counters) retransmit(msgType byte) { c.retransmitted[msgType].Add(1) }

// drop counts a drop by its index in metricNames.reasons.
func (c *counters) drop(reason int) { c.reasons[reason].Add(1) }

// metricNames are the closed sets of label values.
type metricNames struct {
	// typeName names a message type, or reports that it is reserved. All reserved
	// types share the value "reserved".
	typeName        func(msgType byte) (name string, ok bool)
	reasons         []string
	states          []string
	upstreamReasons []string
	version         string
}

// upstreamStats is what the upstream side counts, read at a scrape.
type upstreamStats struct {
	open, inProgress, waiting int64 // connections; connects; connects in the queue

	accepted uint64 // connects by how they ended
	refused  uint64
	failed   uint64

	drops []uint64 // in the order of metricNames.upstreamReasons
}

// listenerStats is what one listener's socket says of itself.
type listenerStats struct {
	listener      string // its address
	receiveBuffer int    // octets granted
	drops         uint64 // by the kernel, for want of room in it
	dropsKnown    bool   // whether the platform tells
}

// metricSources are the values read at a scrape. They are called by several
// goroutines at once, must not block, and must all be set.
type metricSources struct {
	sessions      func(byState []int64) // fills in one number for each of metricNames.states
	shards        func() []int          // length of each shard's queue
	queueCapacity int                   // of each shard's queue
	sleepBuffer   func() (messages, bytes int64)
	upstream      func() upstreamStats
	listeners     func() []listenerStats
}

// reservedType is the label value of the message types without a name.
const reservedType = "reserved"

// metrics is the registry of one gateway. It is a prometheus.Collector, which hands
// out what the counters and the sources hold at a scrape and keeps no copy.
type metrics struct {
	names    metricNames
	sources  metricSources
	registry *prometheus.Registry
	desc     metricDescs

	mu       sync.Mutex // guards counters, which is appended to at the start only
	counters []*counters
}

// metricDescs are the metrics; docs/METRICS.md lists them too.
type metricDescs struct {
	messages, bytes, drops, retransmissions         *prometheus.Desc
	sessions, queueDepth, queueCapacity             *prometheus.Desc
	sleepMessages, sleepBytes                       *prometheus.Desc
	upstreamOpen, upstreamProgress, upstreamWaiting *prometheus.Desc
	upstreamConnects, upstreamDrops                 *prometheus.Desc
	socketReceiveBuffer, socketDrops                *prometheus.Desc
	build                                           *prometheus.Desc
}

func newDescs() metricDescs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sngate_"+name, help, labels, nil)
	}
	return metricDescs{
		messages:            desc("messages_total", "MQTT-SN messages received from and sent to devices.", "type", "direction"),
		bytes:               desc("bytes_total", "Octets of the datagrams counted as messages.", "direction"),
		drops:               desc("drops_total", "What was dropped on the device side, by reason.", "reason"),
		retransmissions:     desc("retransmissions_total", "Messages sent to a device again because no answer came.", "type"),
		sessions:            desc("sessions", "Device sessions by state.", "state"),
		queueDepth:          desc("shard_queue_depth", "Datagrams and events waiting in a shard's queue.", "shard"),
		queueCapacity:       desc("shard_queue_capacity", "Length a shard's queue can have."),
		sleepMessages:       desc("sleep_buffer_messages", "Messages held for sleeping devices."),
		sleepBytes:          desc("sleep_buffer_bytes", "Octets of the messages held for sleeping devices."),
		upstreamOpen:        desc("upstream_connections", "Connections the broker has accepted and that are open."),
		upstreamProgress:    desc("upstream_connects_in_progress", "Connects to the broker in progress."),
		upstreamWaiting:     desc("upstream_connects_waiting", "Connects to the broker waiting for their turn."),
		upstreamConnects:    desc("upstream_connects_total", "Connects to the broker that have ended, by result.", "result"),
		upstreamDrops:       desc("upstream_drops_total", "What was dropped on the broker side, by reason.", "reason"),
		socketReceiveBuffer: desc("socket_receive_buffer_bytes", "Receive buffer the system has granted.", "listener"),
		socketDrops:         desc("socket_drops_total", "Datagrams the system dropped because the receive buffer was full.", "listener"),
		build:               desc("build_info", "Always 1; the version is in the labels.", "version", "goversion"),
	}
}

// newMetrics returns the registry of one gateway.
func newMetrics(names metricNames, sources metricSources) (*metrics, error) {
	m := &metrics{names: names, sources: sources, registry: prometheus.NewRegistry(), desc: newDescs()}
	err := errors.Join(
		m.registry.Register(m),
		m.registry.Register(collectors.NewGoCollector()),
		m.registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return m, nil
}

// newCounters returns counters for one writer, to be included in every scrape.
func (m *metrics) newCounters() *counters {
	c := &counters{reasons: make([]atomic.Uint64, len(m.names.reasons))}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counters = append(m.counters, c)
	return c
}

// handler serves the registry. A scrape that fails in part serves the rest.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
	})
}

// Describe implements prometheus.Collector. It asks no source, so the registry can be
// made before what it looks at runs.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	d := &m.desc
	for _, desc := range []*prometheus.Desc{
		d.messages, d.bytes, d.drops, d.retransmissions,
		d.sessions, d.queueDepth, d.queueCapacity, d.sleepMessages, d.sleepBytes,
		d.upstreamOpen, d.upstreamProgress, d.upstreamWaiting, d.upstreamConnects, d.upstreamDrops,
		d.socketReceiveBuffer, d.socketDrops, d.build,
	} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.collectCounters(ch)
	m.collectSessions(ch)
	m.collectUpstream(ch)
	for _, l := range m.sources.listeners() {
		gauge(ch, m.desc.socketReceiveBuffer, float64(l.receiveBuffer), l.listener)
		if l.dropsKnown {
			count(ch, m.desc.socketDrops, l.drops, l.listener)
		}
	}
	gauge(ch, m.desc.build, 1, m.names.version, runtime.Version())
}

func (m *metrics) collectCounters(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	all := m.counters
	m.mu.Unlock()
	sum := func(pick func(c *counters) *atomic.Uint64) (total uint64) {
		for _, c := range all {
			total += pick(c).Load()
		}
		return total
	}
	byType := func(desc *prometheus.Desc, pick func(c *counters) *[256]atomic.Uint64, labels ...string) {
		var reserved uint64
		for t := range 256 {
			n := sum(func(c *counters) *atomic.Uint64 { return &pick(c)[t] })
			if name, ok := m.names.typeName(byte(t)); ok {
				count(ch, desc, n, append([]string{name}, labels...)...)
			} else {
				reserved += n
			}
		}
		count(ch, desc, reserved, append([]string{reservedType}, labels...)...)
	}
	byType(m.desc.messages, func(c *counters) *[256]atomic.Uint64 { return &c.received }, "in")
	byType(m.desc.messages, func(c *counters) *[256]atomic.Uint64 { return &c.sent }, "out")
	byType(m.desc.retransmissions, func(c *counters) *[256]atomic.Uint64 { return &c.retransmitted })
	count(ch, m.desc.bytes, sum(func(c *counters) *atomic.Uint64 { return &c.bytesIn }), "in")
	count(ch, m.desc.bytes, sum(func(c *counters) *atomic.Uint64 { return &c.bytesOut }), "out")
	for i, reason := range m.names.reasons {
		count(ch, m.desc.drops, sum(func(c *counters) *atomic.Uint64 { return &c.reasons[i] }), reason)
	}
}

func (m *metrics) collectSessions(ch chan<- prometheus.Metric) {
	sessions := make([]int64, len(m.names.states))
	m.sources.sessions(sessions)
	for i, state := range m.names.states {
		gauge(ch, m.desc.sessions, float64(sessions[i]), state)
	}
	for i, depth := range m.sources.shards() {
		gauge(ch, m.desc.queueDepth, float64(depth), strconv.Itoa(i))
	}
	gauge(ch, m.desc.queueCapacity, float64(m.sources.queueCapacity))
	messages, octets := m.sources.sleepBuffer()
	gauge(ch, m.desc.sleepMessages, float64(messages))
	gauge(ch, m.desc.sleepBytes, float64(octets))
}

func (m *metrics) collectUpstream(ch chan<- prometheus.Metric) {
	s := m.sources.upstream()
	gauge(ch, m.desc.upstreamOpen, float64(s.open))
	gauge(ch, m.desc.upstreamProgress, float64(s.inProgress))
	gauge(ch, m.desc.upstreamWaiting, float64(s.waiting))
	count(ch, m.desc.upstreamConnects, s.accepted, "accepted")
	count(ch, m.desc.upstreamConnects, s.refused, "refused")
	count(ch, m.desc.upstreamConnects, s.failed, "failed")
	for i, n := range s.drops {
		if i < len(m.names.upstreamReasons) {
			count(ch, m.desc.upstreamDrops, n, m.names.upstreamReasons[i])
		}
	}
}

func gauge(ch chan<- prometheus.Metric, desc *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
}

func count(ch chan<- prometheus.Metric, desc *prometheus.Desc, n uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
}
