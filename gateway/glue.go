package gateway

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/snpacket/sn12"
	"sngate/upstream"
)

// This file joins the parts: what metrics, the operator's server, discovery and the log
// are told about the rest.

// stuckAfter is how long a shard may take for one turn of its loop before the process
// counts as stuck.
const stuckAfter = 30 * time.Second

// loggedIDLimit is how many octets of a client id that was not accepted are logged.
const loggedIDLimit = 64

func (g *Gateway) metricNames() metricNames {
	return metricNames{
		typeName: func(t byte) (string, bool) {
			return sn12.Type(t).String(), sn12.Type(t).Known()
		},
		reasons:         session.ReasonNames(),
		dropReasons:     dropReasons(),
		endReasons:      endReasons(),
		states:          session.StateNames(),
		upstreamReasons: upstreamReasons(),
		packetTypes:     packetTypes[:],
		refusalCodes:    refusalCodes[:],
		brokers:         slices.Concat([]string{g.opts.Upstream.Address}, g.opts.Upstream.Fallbacks),
		version:         g.opts.Version,
	}
}

// endReasons are what sessions end for. The last four are those of a CONNECT that
// comes to nothing, and what it asked for is dropped for them as well.
func endReasons() []int {
	return []int{
		int(session.ReasonClientDisconnect), int(session.ReasonKeepAliveExpired), int(session.ReasonSleepExpired),
		int(session.ReasonRetriesExhausted), int(session.ReasonAddressReused), int(session.ReasonGatewayStop),
		int(session.ReasonWill), int(session.ReasonBrokerRefused), int(session.ReasonBrokerUnreachable),
		int(session.ReasonMaxSessions),
	}
}

// dropReasons are all reasons but those that are only ends of sessions.
func dropReasons() []int {
	ends := endReasons()
	ends = ends[:len(ends)-4]
	var drops []int
	for i := range session.ReasonNames() {
		if i != int(session.ReasonNone) && !slices.Contains(ends, i) {
			drops = append(drops, i)
		}
	}
	return drops
}

// packetTypes are the MQTT control packets by number (MQTT 3.1.1 section 2.2.1).
var packetTypes = [...]string{
	"", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT",
}

// refusalCodes name upstream.Stats.Refusals from index 1 on.
var refusalCodes = [...]string{"1", "2", "3", "4", "5", "other"}

func (g *Gateway) metricSources() metricSources {
	return metricSources{
		sessions: g.countSessions,
		shards: func() []queueLengths {
			lengths := make([]queueLengths, len(g.shards))
			for i, s := range g.shards {
				lengths[i] = queueLengths{datagrams: len(s.arrivals), strangers: len(s.strangers), events: len(s.inputs)}
			}
			return lengths
		},
		queueCapacity: queueLengths{datagrams: arrivalQueue, strangers: strangerQueue, events: inputQueue},
		brokerUp:      g.brokerReady.Load,
		sleepBuffer: func() (messages, octets int64) {
			for _, s := range g.shards {
				messages += s.heldMessages.Load()
				octets += s.heldOctets.Load()
			}
			return messages, octets
		},
		spool: func() (messages, octets int64) {
			for _, s := range g.shards {
				messages += s.spoolMessages.Load()
			}
			return messages, g.spoolOctets.Load()
		},
		memory:    func() (limit, used int64) { return g.budget.limit, g.budget.used.Load() },
		upstream:  g.upstreamStats,
		listeners: g.listenerStats,
		store:     g.opts.Store,
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
		"protocol_error", "write_stall", "ping_timeout", "stale_ack", "will",
		"bad_packet", "answer_timeout", "rejected_message", "rejected_request",
	}
}

func toUpstreamStats(s *upstream.Stats) upstreamStats {
	refusals, refused := make([]uint64, len(refusalCodes)), uint64(0)
	for i := range refusals {
		refusals[i] = s.Refusals[1+i].Load()
		refused += refusals[i]
	}
	failed := s.DialsFailed.Load()
	load := func(byType *[16]atomic.Uint64) []uint64 {
		n := make([]uint64, len(packetTypes))
		for i := range n {
			n[i] = byType[i].Load()
		}
		return n
	}
	return upstreamStats{
		open:       s.Open.Load(),
		inProgress: s.Dialling.Load(),
		waiting:    s.Waiting.Load(),
		accepted:   s.DialsSucceeded.Load(),
		failed:     failed - min(refused, failed) + s.DialsBusy.Load(),
		refusals:   refusals,
		failovers:  s.Failovers.Load(),
		failBacks:  s.FailBacks.Load(),
		losses:     s.Losses.Load(),
		parked:     s.Parkings.Load(),
		reconnects: s.Reconnects.Load(),
		packetsIn:  load(&s.PacketsIn),
		packetsOut: load(&s.PacketsOut),
		bytesIn:    s.BytesIn.Load(),
		bytesOut:   s.BytesOut.Load(),
		drops: []uint64{
			s.DroppedDown.Load(), s.DroppedCongested.Load(), s.DroppedInvalid.Load(), s.RefusedCongested.Load(),
			s.Oversize.Load(), s.Duplicates.Load(), s.ProtocolErrors.Load(), s.WriteStalls.Load(),
			s.PingTimeouts.Load(), s.StaleAcks.Load(), s.DroppedWills.Load(),
			s.BadPackets.Load(), s.AnswerTimeouts.Load(), s.RejectedMessages.Load(), s.RejectedRequests.Load(),
		},
	}
}

func (g *Gateway) listenerStats() []listenerStats {
	stats := make([]listenerStats, len(g.listeners))
	for i, l := range g.listeners {
		stats[i] = listenerStats{listener: l.Conn.LocalAddr().String(), receiveBuffer: l.ReceiveBuffer}
		stats[i].drops, stats[i].dropsKnown = l.KernelDrops()
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
				faults = append(faults, g.noBroker())
			}
			return faults
		},
		degraded: g.degraded,
		store:    g.storeLine,
		api:      g,
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
	shared := g.metrics.newCounters()
	var trace func(bool, listen.Peer, []byte)
	if g.tracer != nil {
		trace = g.traceDiscovery
	}
	return discoveryOptions{
		malformed:      g.noteMalformed(),
		trace:          trace,
		gwID:           g.opts.ID,
		advertiseEvery: g.opts.AdvertiseInterval,
		pool:           g.pool,
		listeners:      g.listeners,
		counters:       shared,
		brokerReady:    g.brokerReady.Load,
		now:            g.now,
		drop: func(why session.Reason, err error) {
			shared.drop(int(why))
			if err != nil && (why == session.ReasonReceiveFailed || why == session.ReasonSendFailed) {
				g.lines.at(faultLines, zerolog.WarnLevel, err.Error()).Err(err).Msg("discovery failed to send or receive")
			}
		},
	}
}

func (g *Gateway) traceDiscovery(sent bool, p listen.Peer, datagram []byte) {
	message := fromDevice
	if sent {
		message = toDevice
	}
	g.traceDatagram(message, p, datagram)
}

func (g *Gateway) logListener(o listen.Options, l listen.Listener) {
	ev := g.log.Info().Str("addr", l.Conn.LocalAddr().String()).Int("receive_buffer_bytes", l.ReceiveBuffer)
	if l.Group != nil {
		ev = ev.Str("multicast", l.Group.Group().String())
	}
	ev.Msg("listening")
	if want := o.ReceiveBuffer; want > 0 && l.ReceiveBuffer < want {
		g.log.Warn().Int("wanted_bytes", want).Int("granted_bytes", l.ReceiveBuffer).
			Msg("receive buffer smaller than asked: bursts may be dropped by the system; raise net.core.rmem_max")
	}
}
