package gateway

import (
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream"
)

// This file joins the parts: what metrics, the operator's server, discovery and the log
// are told about the rest.

// stuckAfter is how long a shard may take for one turn of its loop before the process
// counts as stuck.
const stuckAfter = 30 * time.Second

// Limits of GWINFOs sent by the whole gateway.
const (
	answersPerSecond = 100
	answerBurst      = 200
)

// eventsPerSecond bounds the log lines that devices and their senders can cause.
const eventsPerSecond = 100

func sampled(log zerolog.Logger) zerolog.Logger {
	return log.Sample(&zerolog.BurstSampler{Burst: eventsPerSecond, Period: time.Second})
}

func (g *Gateway) metricNames() metricNames {
	return metricNames{
		typeName: func(t byte) (string, bool) {
			return sn12.Type(t).String(), sn12.Type(t).Known()
		},
		reasons:         session.ReasonNames(),
		states:          session.StateNames(),
		upstreamReasons: upstreamReasons(),
		version:         g.opts.Version,
	}
}

func (g *Gateway) metricSources() metricSources {
	return metricSources{
		sessions: g.countSessions,
		shards: func() []int {
			depths := make([]int, len(g.shards))
			for i, s := range g.shards {
				depths[i] = len(s.arrivals) + len(s.inputs)
			}
			return depths
		},
		queueCapacity: arrivalQueue + inputQueue,
		sleepBuffer: func() (messages, octets int64) {
			for _, s := range g.shards {
				messages += s.heldMessages.Load()
				octets += s.heldOctets.Load()
			}
			return messages, octets
		},
		upstream:  func() upstreamStats { return toUpstreamStats(g.dialer.Stats()) },
		listeners: g.listenerStats,
	}
}

func (g *Gateway) countSessions(byState []int64) {
	for _, s := range g.shards {
		for i := range byState {
			byState[i] += s.byState[i].Load()
		}
	}
}

// upstreamReasons names the drops of toUpstreamStats, in the same order.
func upstreamReasons() []string {
	return []string{
		"down", "congested", "invalid", "refused_congested", "oversize", "duplicate",
		"protocol_error", "write_stall", "ping_timeout", "stale_ack",
	}
}

func toUpstreamStats(s *upstream.Stats) upstreamStats {
	var refused uint64
	for i := range s.Refusals {
		refused += s.Refusals[i].Load()
	}
	failed := s.DialsFailed.Load()
	return upstreamStats{
		open:       s.Open.Load(),
		inProgress: s.Dialling.Load(),
		waiting:    s.Waiting.Load(),
		accepted:   s.DialsSucceeded.Load(),
		refused:    refused,
		failed:     failed - min(refused, failed) + s.DialsBusy.Load(),
		drops: []uint64{
			s.DroppedDown.Load(), s.DroppedCongested.Load(), s.DroppedInvalid.Load(), s.RefusedCongested.Load(),
			s.Oversize.Load(), s.Duplicates.Load(), s.ProtocolErrors.Load(), s.WriteStalls.Load(),
			s.PingTimeouts.Load(), s.StaleAcks.Load(),
		},
	}
}

func (g *Gateway) listenerStats() []listenerStats {
	stats := make([]listenerStats, len(g.listeners))
	for i, l := range g.listeners {
		stats[i] = listenerStats{listener: l.Conn.LocalAddr().String(), receiveBuffer: l.ReceiveBuffer}
		if k, ok := l.Conn.(kernelDrops); ok {
			stats[i].drops, stats[i].dropsKnown = k.KernelDrops()
		}
	}
	return stats
}

func (g *Gateway) opsOptions() opsOptions {
	return opsOptions{
		address: g.opts.OpsAddress,
		version: g.opts.Version,
		metrics: g.metrics.handler(),
		stuck: func() (faults []string) {
			for i, s := range g.shards {
				if since := g.now() - time.Duration(s.lastTurn.Load()); since > stuckAfter {
					faults = append(faults, fmt.Sprintf("shard %d has been busy for %s", i, since.Round(time.Second)))
				}
			}
			return faults
		},
		notReady: func() (faults []string) {
			if g.stopping.Load() {
				faults = append(faults, "stopping")
			}
			if !g.brokerReady.Load() {
				faults = append(faults, "no connection to the broker")
			}
			return faults
		},
		sessions: func() []stateCount {
			names := session.StateNames()
			byState := make([]int64, len(names))
			g.countSessions(byState)
			counts := make([]stateCount, len(names))
			for i, name := range names {
				counts[i] = stateCount{State: name, Count: byState[i]}
			}
			return counts
		},
	}
}

func (g *Gateway) discoveryOptions() discoveryOptions {
	listeners := make([]discoveryListener, len(g.listeners))
	for i, l := range g.listeners {
		listeners[i] = discoveryListener{conn: l.Conn, group: l.Group}
	}
	shared := g.metrics.newCounters()
	return discoveryOptions{
		gwID:             g.opts.ID,
		advertiseEvery:   g.opts.AdvertiseInterval,
		answersPerSecond: answersPerSecond,
		answerBurst:      answerBurst,
		listeners:        listeners,
		counters:         shared,
		brokerReady:      g.brokerReady.Load,
		now:              g.now,
		drop: func(reason discoveryDrop, err error) {
			shared.drop(int(discoveryReasons[reason]))
			if err != nil && reason >= discoveryReadFailed {
				g.eventLog.Warn().Err(err).Msg("discovery")
			}
		},
	}
}

// discoveryReasons are discovery's drops in the terms of all others.
var discoveryReasons = [...]session.Reason{
	discoveryMalformed:    session.ReasonMalformed,
	discoveryOtherGateway: session.ReasonOtherGateway,
	discoveryUnexpected:   session.ReasonUnexpectedMessage,
	discoveryRateLimited:  session.ReasonRateLimited,
	discoveryBusy:         session.ReasonShardFull,
	discoveryNoMemory:     session.ReasonShardFull,
	discoveryReadFailed:   session.ReasonReceiveFailed,
	discoverySendFailed:   session.ReasonSendFailed,
}

func (g *Gateway) logListener(o ListenerOptions, l Listener) {
	ev := g.log.Info().Str("addr", l.Conn.LocalAddr().String()).Int("receive_buffer", l.ReceiveBuffer)
	if l.Group != nil {
		ev = ev.Str("multicast", l.Group.Group().String())
	}
	ev.Msg("listening")
	if want := o.ReceiveBuffer; want > 0 && l.ReceiveBuffer < want {
		g.log.Warn().Int("wanted", want).Int("granted", l.ReceiveBuffer).
			Msg("receive buffer smaller than asked: bursts may be dropped by the system; raise net.core.rmem_max")
	}
}

// logState logs one change of a session's state: sleeping and waking are everyday and
// logged at debug level.
func (g *Gateway) logState(e *entry, from session.State, a *session.Action) {
	level := zerolog.InfoLevel
	switch {
	case a.State == session.StateActive && from != session.StateConnecting,
		a.State != session.StateActive && a.State != session.StateDisconnected && a.State != session.StateLost:
		level = zerolog.DebugLevel
	case a.State == session.StateLost:
		level = zerolog.WarnLevel
	}
	ev := g.eventLog.WithLevel(level)
	if !ev.Enabled() {
		return
	}
	ev.Str("client_id", e.session.ClientID()).Str("addr", e.peer.String()).Stringer("state", a.State)
	if a.Reason != session.ReasonNone {
		ev.Stringer("reason", a.Reason)
	}
	ev.Msg("session")
}

// brokerUp notes whether the broker can be reached.
func (g *Gateway) brokerUp(up bool, err error) {
	if g.brokerReady.Swap(up) == up {
		return
	}
	if up {
		g.log.Info().Str("broker", g.opts.Upstream.Address).Msg("connected to the broker")
	} else {
		g.log.Warn().Err(err).Str("broker", g.opts.Upstream.Address).Msg("connection to the broker lost")
	}
}

// brokerRefused logs why the gateway's own connection was not accepted.
func (g *Gateway) brokerRefused(ev *upstream.Event) {
	err := ev.Err
	if ev.Code != 0 {
		err = errors.Join(err, fmt.Errorf("the broker answers CONNECT with return code %d (%s)", ev.Code, refusal(ev.Code)))
	}
	g.log.Warn().Err(err).Str("broker", g.opts.Upstream.Address).Dur("retry_in", g.own.wait).Msg("broker not available")
}

// refusal names a CONNACK return code (MQTT 3.1.1 section 3.2.2.3).
func refusal(code uint8) string {
	switch code {
	case 1:
		return "protocol version"
	case 2:
		return "client identifier"
	case 3:
		return "server unavailable"
	case 4:
		return "user name or password"
	case 5:
		return "not authorized"
	}
	return "unknown"
}
