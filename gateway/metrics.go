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

	"sngate/store"
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
	reasons       []atomic.Uint64 // of drops
	ended         []atomic.Uint64 // sessions, by reason
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

// end counts the end of a session by its index in metricNames.reasons.
func (c *counters) end(reason int) { c.ended[reason].Add(1) }

// metricNames are the closed sets of label values.
type metricNames struct {
	// typeName names a message type, or reports that it is reserved. All reserved
	// types share the value "reserved".
	typeName        func(msgType byte) (name string, ok bool)
	reasons         []string
	dropReasons     []int // those of reasons that something can be dropped for
	endReasons      []int // and those that a session can end for
	states          []string
	upstreamReasons []string
	packetTypes     []string // of MQTT, by number; "": does not exist
	refusalCodes    []string // of CONNACK, in the order of upstreamStats.refusals
	brokers         []string // addresses, the preferred one first
	version         string
}

// upstreamStats is what the upstream side counts, read at a scrape.
type upstreamStats struct {
	open, inProgress, waiting int64 // connections; connects; connects in the queue

	accepted uint64 // connects by how they ended
	failed   uint64
	refusals []uint64 // by code, in the order of metricNames.refusalCodes

	broker               int // the one in use, of metricNames.brokers
	failovers, failBacks uint64

	losses, parked, reconnects uint64

	packetsIn, packetsOut []uint64 // in the order of metricNames.packetTypes
	bytesIn, bytesOut     uint64

	drops []uint64 // in the order of metricNames.upstreamReasons
}

// listenerStats is what one listener's socket says of itself.
type listenerStats struct {
	listener      string // its address
	receiveBuffer int    // octets granted
	drops         uint64 // by the kernel, for want of room in it
	dropsKnown    bool   // whether the platform tells
}

// queueLengths are lengths of the queues of a shard.
type queueLengths struct {
	datagrams, strangers, events int
}

// metricSources are the values read at a scrape. They are called by several
// goroutines at once, must not block, and must all be set.
type metricSources struct {
	sessions      func(byState []int64) // fills in one number for each of metricNames.states
	shards        func() []queueLengths // of each shard
	queueCapacity queueLengths          // of every shard
	brokerUp      func() bool
	sleepBuffer   func() (messages, bytes int64)
	spool         func() (messages, bytes int64)
	memory        func() (limit, used int64) // octets of the budget; limit 0: none
	upstream      func() upstreamStats
	listeners     func() []listenerStats
	store         store.Store // its Stats and Health
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
	messages, bytes, drops, retransmissions          *prometheus.Desc
	sessions, sessionsEnded                          *prometheus.Desc
	queueDepth, queueCapacity                        *prometheus.Desc
	sleepMessages, sleepBytes                        *prometheus.Desc
	spoolMessages, spoolBytes                        *prometheus.Desc
	memoryLimit, memoryUsed                          *prometheus.Desc
	brokerUp                                         *prometheus.Desc
	upstreamOpen, upstreamProgress, upstreamWaiting  *prometheus.Desc
	upstreamConnects, upstreamRefusals               *prometheus.Desc
	brokerUsed, failovers, failBacks                 *prometheus.Desc
	upstreamLosses, upstreamParked, upstreamReturned *prometheus.Desc
	upstreamPackets, upstreamBytes, upstreamDrops    *prometheus.Desc
	socketReceiveBuffer, socketDrops                 *prometheus.Desc
	build                                            *prometheus.Desc
	store                                            storeDescs
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
		sessionsEnded:       desc("sessions_ended_total", "Sessions, and attempts to connect, that have ended, by reason.", "reason"),
		queueDepth:          desc("shard_queue_depth", "Datagrams or events of the broker waiting for a shard.", "shard", "queue"),
		queueCapacity:       desc("shard_queue_capacity", "Length each shard's queue can have.", "queue"),
		sleepMessages:       desc("sleep_buffer_messages", "Messages held for devices, asleep or not."),
		sleepBytes:          desc("sleep_buffer_bytes", "Octets of the messages held for devices, asleep or not."),
		spoolMessages:       desc("spool_messages", "Messages of devices that wait in the store for the broker."),
		spoolBytes:          desc("spool_bytes", "Octets of the messages of devices that wait in the store for the broker."),
		memoryLimit:         desc("memory_limit_bytes", "Octets that may be held for all devices together; 0: no limit."),
		memoryUsed:          desc("memory_used_bytes", "Octets counted against the limit."),
		brokerUp:            desc("broker_up", "Whether the gateway's own connection to the broker is up, 1 or 0."),
		upstreamOpen:        desc("upstream_connections", "Connections the broker has accepted and that are open."),
		upstreamProgress:    desc("upstream_connects_in_progress", "Connects to the broker in progress."),
		upstreamWaiting:     desc("upstream_connects_waiting", "Connects to the broker waiting for their turn."),
		upstreamConnects:    desc("upstream_connects_total", "Connects to the broker that have ended, by result.", "result"),
		upstreamRefusals:    desc("upstream_refusals_total", "CONNACKs of the broker that refuse, by return code.", "code"),
		brokerUsed:          desc("upstream_broker_in_use", "Whether the broker is the one in use, 1 or 0.", "broker"),
		failovers:           desc("upstream_failovers_total", "Times the next broker was taken into use because one had failed."),
		failBacks:           desc("upstream_failbacks_total", "Times the preferred broker was taken into use again."),
		upstreamLosses:      desc("upstream_losses_total", "Connections the broker had accepted that ended unasked."),
		upstreamParked:      desc("upstream_parked_total", "Lost connections left down until the device speaks."),
		upstreamReturned:    desc("upstream_reconnects_total", "Lost connections the broker has accepted again."),
		upstreamPackets:     desc("upstream_packets_total", "MQTT control packets received from and sent to the broker.", "type", "direction"),
		upstreamBytes:       desc("upstream_bytes_total", "Octets of the MQTT control packets.", "direction"),
		upstreamDrops:       desc("upstream_drops_total", "What was dropped on the broker side, by reason.", "reason"),
		socketReceiveBuffer: desc("socket_receive_buffer_bytes", "Receive buffer the system has granted.", "listener"),
		socketDrops:         desc("socket_drops_total", "Datagrams the system dropped because the receive buffer was full.", "listener"),
		build:               desc("build_info", "Always 1; the version is in the labels.", "version", "goversion"),
		store:               newStoreDescs(),
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
	n := len(m.names.reasons)
	c := &counters{reasons: make([]atomic.Uint64, n), ended: make([]atomic.Uint64, n)}
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
		d.sessions, d.sessionsEnded, d.queueDepth, d.queueCapacity, d.sleepMessages, d.sleepBytes, d.spoolMessages, d.spoolBytes,
		d.memoryLimit, d.memoryUsed,
		d.brokerUp, d.upstreamOpen, d.upstreamProgress, d.upstreamWaiting, d.upstreamConnects, d.upstreamRefusals,
		d.brokerUsed, d.failovers, d.failBacks, d.upstreamLosses, d.upstreamParked, d.upstreamReturned, d.upstreamPackets, d.upstreamBytes, d.upstreamDrops,
		d.socketReceiveBuffer, d.socketDrops, d.build,
	} {
		ch <- desc
	}
	for _, desc := range d.store.all() {
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
	m.desc.store.collect(ch, m.sources.store)
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
	for _, i := range m.names.dropReasons {
		count(ch, m.desc.drops, sum(func(c *counters) *atomic.Uint64 { return &c.reasons[i] }), m.names.reasons[i])
	}
	for _, i := range m.names.endReasons {
		count(ch, m.desc.sessionsEnded, sum(func(c *counters) *atomic.Uint64 { return &c.ended[i] }), m.names.reasons[i])
	}
}

func (m *metrics) collectSessions(ch chan<- prometheus.Metric) {
	sessions := make([]int64, len(m.names.states))
	m.sources.sessions(sessions)
	for i, state := range m.names.states {
		gauge(ch, m.desc.sessions, float64(sessions[i]), state)
	}
	queues := func(desc *prometheus.Desc, n queueLengths, shard ...string) {
		gauge(ch, desc, float64(n.datagrams), append(shard, "datagrams")...)
		gauge(ch, desc, float64(n.strangers), append(shard, "strangers")...)
		gauge(ch, desc, float64(n.events), append(shard, "events")...)
	}
	for i, n := range m.sources.shards() {
		queues(m.desc.queueDepth, n, strconv.Itoa(i))
	}
	queues(m.desc.queueCapacity, m.sources.queueCapacity)
	messages, octets := m.sources.sleepBuffer()
	gauge(ch, m.desc.sleepMessages, float64(messages))
	gauge(ch, m.desc.sleepBytes, float64(octets))
	messages, octets = m.sources.spool()
	gauge(ch, m.desc.spoolMessages, float64(messages))
	gauge(ch, m.desc.spoolBytes, float64(octets))
	limit, used := m.sources.memory()
	gauge(ch, m.desc.memoryLimit, float64(limit))
	gauge(ch, m.desc.memoryUsed, float64(used))
}

func (m *metrics) collectUpstream(ch chan<- prometheus.Metric) {
	gauge(ch, m.desc.brokerUp, oneIf(m.sources.brokerUp()))
	s := m.sources.upstream()
	gauge(ch, m.desc.upstreamOpen, float64(s.open))
	gauge(ch, m.desc.upstreamProgress, float64(s.inProgress))
	gauge(ch, m.desc.upstreamWaiting, float64(s.waiting))
	count(ch, m.desc.upstreamConnects, s.accepted, "accepted")
	var refused uint64
	for i, code := range m.names.refusalCodes {
		refused += s.refusals[i]
		count(ch, m.desc.upstreamRefusals, s.refusals[i], code)
	}
	count(ch, m.desc.upstreamConnects, refused, "refused")
	count(ch, m.desc.upstreamConnects, s.failed, "failed")
	for i, broker := range m.names.brokers {
		gauge(ch, m.desc.brokerUsed, oneIf(i == s.broker), broker)
	}
	count(ch, m.desc.failovers, s.failovers)
	count(ch, m.desc.failBacks, s.failBacks)
	count(ch, m.desc.upstreamLosses, s.losses)
	count(ch, m.desc.upstreamParked, s.parked)
	count(ch, m.desc.upstreamReturned, s.reconnects)
	for i, name := range m.names.packetTypes {
		if name != "" {
			count(ch, m.desc.upstreamPackets, s.packetsIn[i], name, "in")
			count(ch, m.desc.upstreamPackets, s.packetsOut[i], name, "out")
		}
	}
	count(ch, m.desc.upstreamBytes, s.bytesIn, "in")
	count(ch, m.desc.upstreamBytes, s.bytesOut, "out")
	for i, reason := range m.names.upstreamReasons {
		count(ch, m.desc.upstreamDrops, s.drops[i], reason)
	}
}

func gauge(ch chan<- prometheus.Metric, desc *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
}

func count(ch chan<- prometheus.Metric, desc *prometheus.Desc, n uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
}
