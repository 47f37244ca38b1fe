package gateway

import (
	"slices"

	"github.com/rs/zerolog"

	"sngate/gateway/admin"
	"sngate/gateway/discovery"
	"sngate/gateway/listen"
	"sngate/gateway/metrics"
	"sngate/gateway/oplog"
	"sngate/gateway/session"
	"sngate/upstream"
)

// This file joins the parts: what metrics, the operator's server, discovery and the log
// are told about the rest.

// observed is what the metrics look at.
func (g *Gateway) observed() metrics.Options {
	return metrics.Options{
		Version:       g.opts.Version,
		Brokers:       slices.Concat([]string{g.opts.Upstream.Address}, g.opts.Upstream.Fallbacks),
		Sessions:      func(byState []int64) { g.shards.count(byState) }, // there are none yet
		Shards:        func() []metrics.QueueLengths { return g.shards.queued() },
		QueueCapacity: metrics.QueueLengths{Datagrams: arrivalQueue, Strangers: strangerQueue, Events: inputQueue},
		BrokerUp:      g.broker.ready.Load,
		SleepBuffer:   func() (messages, octets int64) { return g.shards.held() },
		Spool:         func() (messages, octets int64) { return g.shards.spooled(), g.limits.spooled.Load() },
		Memory:        func() (limit, used int64) { return g.limits.memory.limit, g.limits.memory.used.Load() },
		Upstream: func() (*upstream.Stats, int) {
			broker, _ := g.dialer.InUse()
			return g.dialer.Stats(), broker
		},
		Unread: func() uint64 {
			if g.opts.UnreadCredentials == nil {
				return 0
			}
			return g.opts.UnreadCredentials()
		},
		Listeners: func() []listen.Listener { return g.listeners },
		Store:     g.opts.Store,
	}
}

func (g *Gateway) opsOptions() admin.Options {
	return admin.Options{
		Address: g.opts.OpsAddress,
		Version: g.opts.Version,
		Metrics: g.metrics.Handler(),
		Stuck:   func() []string { return g.shards.stuck(g.now()) },
		NotReady: func() (faults []string) {
			if g.stopping.Load() {
				faults = append(faults, "stopping")
			}
			if g.shards.loading() {
				faults = append(faults, "loading sessions")
			}
			if !g.broker.ready.Load() {
				faults = append(faults, g.broker.unavailable())
			}
			return faults
		},
		Degraded: g.degraded,
		Store:    g.keeper.Describe,
		API:      g,
		Sessions: g.shards.states,
	}
}

func (g *Gateway) discoveryOptions() discovery.Options {
	shared := g.metrics.NewCounters()
	return discovery.Options{
		Malformed:      g.lines.Malformed(),
		Trace:          g.tracer.Datagram,
		GwID:           g.opts.ID,
		AdvertiseEvery: g.opts.AdvertiseInterval,
		Pool:           g.pool,
		Listeners:      g.listeners,
		Counters:       shared,
		BrokerReady:    g.broker.ready.Load,
		Now:            g.now,
		Drop: func(why session.Reason, err error) {
			shared.Drop(why)
			if err != nil && (why == session.ReasonReceiveFailed || why == session.ReasonSendFailed) {
				g.lines.At(oplog.Faults, zerolog.WarnLevel, err.Error()).Err(err).Msg("discovery failed")
			}
		},
	}
}

func (g *Gateway) logListener(o listen.Options, l listen.Listener) {
	ev := g.opts.Log.Info().Str("addr", l.Conn.LocalAddr().String()).Int("receive_buffer_bytes", l.ReceiveBuffer)
	if l.Group != nil {
		ev = ev.Str("multicast", l.Group.Group().String())
	}
	ev.Msg("listening")
	if want := o.ReceiveBuffer; want > 0 && l.ReceiveBuffer < want {
		g.opts.Log.Warn().Int("wanted_bytes", want).Int("granted_bytes", l.ReceiveBuffer).
			Msg("receive buffer smaller than asked: bursts may be dropped by the system; raise net.core.rmem_max")
	}
}

// degraded returns what the gateway does without for now. It still relays, so
// nobody should take it out of service or restart it for that.
func (g *Gateway) degraded() []string {
	if err := g.storeFault(); err != nil {
		return []string{"store: " + err.Error()}
	}
	return nil
}

// storeFault returns why something that should be in the store is not, or nil.
func (g *Gateway) storeFault() error { return g.keeper.Fault(g.shards.unsaved()) }
