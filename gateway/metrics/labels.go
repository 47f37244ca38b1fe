package metrics

import (
	"slices"
	"sync/atomic"

	"sngate/gateway/session"
	"sngate/upstream"
)

// ends are the reasons that sessions end for, and nothing is dropped for.
var ends = [...]session.Reason{
	session.ReasonClientDisconnect, session.ReasonKeepAliveExpired, session.ReasonSleepExpired,
	session.ReasonRetriesExhausted, session.ReasonAddressReused, session.ReasonGatewayStop,
}

// connectEnds are those of a CONNECT that comes to nothing, and what it asked for is dropped
// for them as well.
var connectEnds = [...]session.Reason{
	session.ReasonWill, session.ReasonBrokerRefused, session.ReasonBrokerUnreachable, session.ReasonNoCredentials, session.ReasonMaxSessions,
}

// EndReasons are what sessions end for.
func EndReasons() []session.Reason { return slices.Concat(ends[:], connectEnds[:]) }

// DropReasons are all reasons but those that are only ends of sessions.
func DropReasons() (reasons []session.Reason) {
	for i := range session.ReasonNames() {
		if why := session.Reason(i); why != session.ReasonNone && !slices.Contains(ends[:], why) {
			reasons = append(reasons, why)
		}
	}
	return reasons
}

// packetTypes are the MQTT control packets by number (MQTT 3.1.1 section 2.2.1).
var packetTypes = [...]string{
	"", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT",
}

// refusalCodes name upstream.Stats.Refusals from index 1 on.
var refusalCodes = [...]string{"1", "2", "3", "4", "5", "other"}

// upstreamDrops are the drops of the broker's side, by reason.
var upstreamDrops = [...]struct {
	reason string
	of     func(*upstream.Stats) *atomic.Uint64
}{
	{"down", func(s *upstream.Stats) *atomic.Uint64 { return &s.DroppedDown }},
	{"congested", func(s *upstream.Stats) *atomic.Uint64 { return &s.DroppedCongested }},
	{"invalid", func(s *upstream.Stats) *atomic.Uint64 { return &s.DroppedInvalid }},
	{"publish_rate", func(s *upstream.Stats) *atomic.Uint64 { return &s.DroppedPublishRate }},
	{"outside_topic_map", func(s *upstream.Stats) *atomic.Uint64 { return &s.Outside }},
	{"refused_congested", func(s *upstream.Stats) *atomic.Uint64 { return &s.RefusedCongested }},
	{"oversize", func(s *upstream.Stats) *atomic.Uint64 { return &s.Oversize }},
	{"duplicate", func(s *upstream.Stats) *atomic.Uint64 { return &s.Duplicates }},
	{"protocol_error", func(s *upstream.Stats) *atomic.Uint64 { return &s.ProtocolErrors }},
	{"write_stall", func(s *upstream.Stats) *atomic.Uint64 { return &s.WriteStalls }},
	{"ping_timeout", func(s *upstream.Stats) *atomic.Uint64 { return &s.PingTimeouts }},
	{"stale_ack", func(s *upstream.Stats) *atomic.Uint64 { return &s.StaleAcks }},
	{"will", func(s *upstream.Stats) *atomic.Uint64 { return &s.DroppedWills }},
	{"bad_packet", func(s *upstream.Stats) *atomic.Uint64 { return &s.BadPackets }},
	{"answer_timeout", func(s *upstream.Stats) *atomic.Uint64 { return &s.AnswerTimeouts }},
	{"rejected_message", func(s *upstream.Stats) *atomic.Uint64 { return &s.RejectedMessages }},
	{"rejected_request", func(s *upstream.Stats) *atomic.Uint64 { return &s.RejectedRequests }},
}
