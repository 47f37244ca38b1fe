package upstream

import (
	"sync/atomic"

	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
	"sngate/upstream/secure"
	"sngate/upstream/websocket"
)

// Stats counts what the Links of one Dialer do. Fields are read at any time and
// written by this package and dial alone; each only grows, except the three gauges.
type Stats struct {
	dial.Stats // of connections; PacketsOut counts what Links write as well
	TLS        secure.Stats
	WebSocket  websocket.Stats

	Losses         atomic.Uint64 // accepted connections that ended unasked
	Parkings       atomic.Uint64 // losses taken for a device that has moved away
	Reconnects     atomic.Uint64 // EventUp
	Renewals       atomic.Uint64 // connections replaced before their credentials ended
	FailedRenewals atomic.Uint64 // tries of that which came to nothing

	// Drops and faults by reason.
	DroppedDown        atomic.Uint64 // QoS 0 published while there was no connection
	DroppedCongested   atomic.Uint64 // QoS 0 published while the broker did not read
	DroppedPublishRate atomic.Uint64 // QoS 0 beyond those that may wait for Options.PublishRate
	Outside            atomic.Uint64 // messages received to topics outside of the topic map
	DroppedInvalid     atomic.Uint64 // QoS 0 published with an impossible topic or size
	DroppedWills       atomic.Uint64 // messages nobody waited for, not published in time
	RefusedCongested   atomic.Uint64 // messages with a Token answered with ErrCongested
	Duplicates         atomic.Uint64 // received messages suppressed as repetitions
	RejectedMessages   atomic.Uint64 // messages given up because the broker ends connections on them
	RejectedRequests   atomic.Uint64 // SUBSCRIBE and UNSUBSCRIBE given up for that
	AnswerTimeouts     atomic.Uint64 // connections ended because a packet was not answered
	PingTimeouts       atomic.Uint64 // connections ended because the broker was silent
	StaleAcks          atomic.Uint64 // acknowledgements that fit nothing outstanding
}

// passes counts the messages the broker has taken, for all Links of the Dialer.
func (s *Stats) passes() uint64 {
	return s.PacketsIn[mqtt.TypePuback].Load() + s.PacketsIn[mqtt.TypePubcomp].Load()
}
