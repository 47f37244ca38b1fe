// Package metrics counts what the gateway does, and shows it in the form of Prometheus. Its
// label values are the names that sessions, links and the store have for things.
package metrics

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

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/gateway/session/dialogue"
	"sngate/snpacket/sn12"
	"sngate/store"
	"sngate/upstream"
	"sngate/upstream/secure"
	"sngate/upstream/websocket"
)

// QueueLengths are lengths of the queues of a shard.
type QueueLengths struct {
	Datagrams, Strangers, Events int
}

// Options is what the metrics look at. All must be set. The functions are called at
// a scrape, by several goroutines at once, and must not block.
type Options struct {
	Version       string
	Brokers       []string              // addresses, the preferred one first
	Sessions      func(byState []int64) // fills in one number for each of session.StateNames
	Shards        func() []QueueLengths // of each shard
	QueueCapacity QueueLengths          // of every shard
	BrokerUp      func() bool
	SleepBuffer   func() (messages, bytes int64)
	Spool         func() (messages, bytes int64)
	Memory        func() (limit, used int64)                 // octets of the budget; limit 0: none
	Upstream      func() (stats *upstream.Stats, broker int) // and which of brokers is in use
	Unread        func() uint64                              // changes of the credentials file that could not be read
	Listeners     func() []listen.Listener
	Store         store.Store // its Stats and Health
}

// Metrics is the registry of one gateway. It is a prometheus.Collector, which hands
// out what the counters and the sources hold at a scrape and keeps no copy.
type Metrics struct {
	opts     Options
	registry *prometheus.Registry
	desc     descs

	mu       sync.Mutex // guards counters, which is appended to at the start only
	counters []*Counters
}

// descs are the metrics; docs/METRICS.md lists them too.
type descs struct {
	messages, bytes, drops, retransmissions          *prometheus.Desc
	sessions, sessionsEnded                          *prometheus.Desc
	queueDepth, queueCapacity                        *prometheus.Desc
	sleepMessages, sleepBytes                        *prometheus.Desc
	spoolMessages, spoolBytes                        *prometheus.Desc
	memoryLimit, memoryUsed                          *prometheus.Desc
	brokerUp, unread                                 *prometheus.Desc
	upstreamOpen, upstreamProgress, upstreamWaiting  *prometheus.Desc
	upstreamConnects, upstreamRefusals               *prometheus.Desc
	brokerUsed, failovers, failBacks                 *prometheus.Desc
	upstreamLosses, upstreamParked, upstreamReturned *prometheus.Desc
	upstreamRenewed, upstreamUnrenewed               *prometheus.Desc
	upstreamPackets, upstreamBytes, upstreamDrops    *prometheus.Desc
	tlsHandshakes, tlsFailures, tlsBadFiles          *prometheus.Desc
	webUpgrades, webFailures                         *prometheus.Desc
	socketReceiveBuffer, socketDrops                 *prometheus.Desc
	build                                            *prometheus.Desc
	store                                            storeDescs
}

func newDescs() descs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sngate_"+name, help, labels, nil)
	}
	return descs{
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
		unread:              desc("credentials_reload_failures_total", "Changes of the credentials file that could not be read; the one before stays in use."),
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
		upstreamRenewed:     desc("upstream_renewals_total", "Connections replaced before their credentials ended."),
		upstreamUnrenewed:   desc("upstream_renewal_failures_total", "Tries to replace a connection before its credentials end that came to nothing."),
		upstreamPackets:     desc("upstream_packets_total", "MQTT control packets received from and sent to the broker.", "type", "direction"),
		upstreamBytes:       desc("upstream_bytes_total", "Octets of the MQTT control packets.", "direction"),
		upstreamDrops:       desc("upstream_drops_total", "What was dropped on the broker side, by reason.", "reason"),
		tlsHandshakes:       desc("upstream_tls_handshakes_total", "TLS handshakes with the broker that have succeeded, by kind.", "kind"),
		tlsFailures:         desc("upstream_tls_failures_total", "TLS handshakes with the broker that have failed or could not begin, by reason.", "reason"),
		webUpgrades:         desc("upstream_websocket_upgrades_total", "Connections to the broker that have become one of WebSocket."),
		webFailures:         desc("upstream_websocket_failures_total", "Connections to the broker that have failed in WebSocket, or at a proxy, by reason.", "reason"),
		tlsBadFiles:         desc("upstream_tls_bad_files_total", "Changes of certificate or key files that could not be used."),
		socketReceiveBuffer: desc("socket_receive_buffer_bytes", "Receive buffer the system has granted.", "listener"),
		socketDrops:         desc("socket_drops_total", "Datagrams the system dropped because the receive buffer was full.", "listener"),
		build:               desc("build_info", "Always 1; the version is in the labels.", "version", "goversion"),
		store:               newStoreDescs(),
	}
}

// New returns the registry of one gateway.
func New(o Options) (*Metrics, error) {
	m := &Metrics{opts: o, registry: prometheus.NewRegistry(), desc: newDescs()}
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

// NewCounters returns counters for one writer, to be included in every scrape.
func (m *Metrics) NewCounters() *Counters {
	n := len(session.ReasonNames())
	c := &Counters{reasons: make([]atomic.Uint64, n), ended: make([]atomic.Uint64, n), retransmitted: make([]atomic.Uint64, len(dialogue.KindNames()))}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counters = append(m.counters, c)
	return c
}

// Handler serves the registry. A scrape that fails in part serves the rest.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
	})
}

// Describe implements prometheus.Collector. It asks no source, so the registry can be
// made before what it looks at runs.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	d := &m.desc
	for _, desc := range []*prometheus.Desc{
		d.messages, d.bytes, d.drops, d.retransmissions,
		d.sessions, d.sessionsEnded, d.queueDepth, d.queueCapacity, d.sleepMessages, d.sleepBytes, d.spoolMessages, d.spoolBytes,
		d.memoryLimit, d.memoryUsed,
		d.brokerUp, d.unread, d.upstreamOpen, d.upstreamProgress, d.upstreamWaiting, d.upstreamConnects, d.upstreamRefusals,
		d.brokerUsed, d.failovers, d.failBacks, d.upstreamLosses, d.upstreamParked, d.upstreamReturned, d.upstreamRenewed, d.upstreamUnrenewed, d.upstreamPackets, d.upstreamBytes, d.upstreamDrops,
		d.tlsHandshakes, d.tlsFailures, d.tlsBadFiles,
		d.webUpgrades, d.webFailures,
		d.socketReceiveBuffer, d.socketDrops, d.build,
	} {
		ch <- desc
	}
	for _, desc := range d.store.all() {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.collectCounters(ch)
	m.collectSessions(ch)
	m.collectUpstream(ch)
	for _, l := range m.opts.Listeners() {
		address := l.Conn.LocalAddr().String()
		gauge(ch, m.desc.socketReceiveBuffer, float64(l.ReceiveBuffer), address)
		if drops, known := l.KernelDrops(); known {
			count(ch, m.desc.socketDrops, drops, address)
		}
	}
	m.desc.store.collect(ch, m.opts.Store)
	gauge(ch, m.desc.build, 1, m.opts.Version, runtime.Version())
}

func (m *Metrics) collectCounters(ch chan<- prometheus.Metric) {
	byType := func(direction string, pick func(c *Counters) *[256]atomic.Uint64) {
		var reserved uint64
		for t := range 256 {
			n := m.sum(func(c *Counters) *atomic.Uint64 { return &pick(c)[t] })
			if name := sn12.Type(t); name.Known() {
				count(ch, m.desc.messages, n, name.String(), direction)
			} else {
				reserved += n
			}
		}
		count(ch, m.desc.messages, reserved, dialogue.Reserved.String(), direction)
	}
	byType("in", func(c *Counters) *[256]atomic.Uint64 { return &c.received })
	byType("out", func(c *Counters) *[256]atomic.Uint64 { return &c.sent })
	for k, name := range dialogue.KindNames() {
		count(ch, m.desc.retransmissions, m.sum(func(c *Counters) *atomic.Uint64 { return &c.retransmitted[k] }), name)
	}
	count(ch, m.desc.bytes, m.sum(func(c *Counters) *atomic.Uint64 { return &c.bytesIn }), "in")
	count(ch, m.desc.bytes, m.sum(func(c *Counters) *atomic.Uint64 { return &c.bytesOut }), "out")
	for _, why := range DropReasons() {
		count(ch, m.desc.drops, m.Drops(why), why.String())
	}
	for _, why := range EndReasons() {
		count(ch, m.desc.sessionsEnded, m.Ends(why), why.String())
	}
}

// sum adds up what all writers have counted.
func (m *Metrics) sum(pick func(c *Counters) *atomic.Uint64) (total uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.counters {
		total += pick(c).Load()
	}
	return total
}

// Drops is how often something was dropped for a reason.
func (m *Metrics) Drops(why session.Reason) uint64 {
	return m.sum(func(c *Counters) *atomic.Uint64 { return &c.reasons[why] })
}

// Ends is how many sessions have ended for a reason.
func (m *Metrics) Ends(why session.Reason) uint64 {
	return m.sum(func(c *Counters) *atomic.Uint64 { return &c.ended[why] })
}

func (m *Metrics) collectSessions(ch chan<- prometheus.Metric) {
	states := session.StateNames()
	sessions := make([]int64, len(states))
	m.opts.Sessions(sessions)
	for i, state := range states {
		gauge(ch, m.desc.sessions, float64(sessions[i]), state)
	}
	queues := func(desc *prometheus.Desc, n QueueLengths, shard ...string) {
		gauge(ch, desc, float64(n.Datagrams), append(shard, "datagrams")...)
		gauge(ch, desc, float64(n.Strangers), append(shard, "strangers")...)
		gauge(ch, desc, float64(n.Events), append(shard, "events")...)
	}
	for i, n := range m.opts.Shards() {
		queues(m.desc.queueDepth, n, strconv.Itoa(i))
	}
	queues(m.desc.queueCapacity, m.opts.QueueCapacity)
	messages, octets := m.opts.SleepBuffer()
	gauge(ch, m.desc.sleepMessages, float64(messages))
	gauge(ch, m.desc.sleepBytes, float64(octets))
	messages, octets = m.opts.Spool()
	gauge(ch, m.desc.spoolMessages, float64(messages))
	gauge(ch, m.desc.spoolBytes, float64(octets))
	limit, used := m.opts.Memory()
	gauge(ch, m.desc.memoryLimit, float64(limit))
	gauge(ch, m.desc.memoryUsed, float64(used))
}

func (m *Metrics) collectUpstream(ch chan<- prometheus.Metric) {
	gauge(ch, m.desc.brokerUp, oneIf(m.opts.BrokerUp()))
	count(ch, m.desc.unread, m.opts.Unread())
	s, inUse := m.opts.Upstream()
	gauge(ch, m.desc.upstreamOpen, float64(s.Open.Load()))
	gauge(ch, m.desc.upstreamProgress, float64(s.Dialling.Load()))
	gauge(ch, m.desc.upstreamWaiting, float64(s.Waiting.Load()))
	m.collectConnects(ch, s)
	for i, broker := range m.opts.Brokers {
		gauge(ch, m.desc.brokerUsed, oneIf(i == inUse), broker)
	}
	count(ch, m.desc.failovers, s.Failovers.Load())
	count(ch, m.desc.failBacks, s.FailBacks.Load())
	count(ch, m.desc.upstreamLosses, s.Losses.Load())
	count(ch, m.desc.upstreamParked, s.Parkings.Load())
	count(ch, m.desc.upstreamReturned, s.Reconnects.Load())
	count(ch, m.desc.upstreamRenewed, s.Renewals.Load())
	count(ch, m.desc.upstreamUnrenewed, s.FailedRenewals.Load())
	for i, name := range packetTypes {
		if name != "" {
			count(ch, m.desc.upstreamPackets, s.PacketsIn[i].Load(), name, "in")
			count(ch, m.desc.upstreamPackets, s.PacketsOut[i].Load(), name, "out")
		}
	}
	count(ch, m.desc.upstreamBytes, s.BytesIn.Load(), "in")
	count(ch, m.desc.upstreamBytes, s.BytesOut.Load(), "out")
	for i := range upstreamDrops {
		count(ch, m.desc.upstreamDrops, upstreamDrops[i].of(s).Load(), upstreamDrops[i].reason)
	}
	m.collectTLS(ch, &s.TLS)
	count(ch, m.desc.webUpgrades, s.WebSocket.Upgrades.Load())
	for i, name := range websocket.ReasonNames() {
		count(ch, m.desc.webFailures, s.WebSocket.Failures[i].Load(), name)
	}
}

func (m *Metrics) collectTLS(ch chan<- prometheus.Metric, s *secure.Stats) {
	count(ch, m.desc.tlsHandshakes, s.Full.Load(), "full")
	count(ch, m.desc.tlsHandshakes, s.Resumed.Load(), "resumed")
	for i, name := range secure.ReasonNames() {
		count(ch, m.desc.tlsFailures, s.Failures[i].Load(), name)
	}
	count(ch, m.desc.tlsBadFiles, s.BadFiles.Load())
}

// collectConnects tells how connects to the broker have ended.
func (m *Metrics) collectConnects(ch chan<- prometheus.Metric, s *upstream.Stats) {
	var refused uint64
	for i, code := range refusalCodes {
		n := s.Refusals[1+i].Load()
		refused += n
		count(ch, m.desc.upstreamRefusals, n, code)
	}
	failed := s.DialsFailed.Load() // the refused among them
	count(ch, m.desc.upstreamConnects, s.DialsSucceeded.Load(), "accepted")
	count(ch, m.desc.upstreamConnects, refused, "refused")
	count(ch, m.desc.upstreamConnects, failed-min(refused, failed)+s.DialsBusy.Load(), "failed")
}

func gauge(ch chan<- prometheus.Metric, desc *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
}

func count(ch chan<- prometheus.Metric, desc *prometheus.Desc, n uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
}
