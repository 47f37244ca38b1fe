package upstream

import "sync/atomic"

// Stats counts what the Links of one Dialer do. Fields are read at any time and
// written by this package alone; each only grows, except the three gauges.
type Stats struct {
	// Connects. A connect that was cancelled by its owner is counted as failed.
	DialsStarted   atomic.Uint64
	DialsSucceeded atomic.Uint64
	DialsFailed    atomic.Uint64
	DialsBusy      atomic.Uint64    // refused at once: too many waiting
	Refusals       [7]atomic.Uint64 // CONNACK by return code; [6] is every code above 5

	// Gauges.
	Dialling atomic.Int64 // connects in progress
	Waiting  atomic.Int64 // connects waiting for a slot
	Open     atomic.Int64 // accepted connections

	Losses     atomic.Uint64 // accepted connections that ended unasked
	Parkings   atomic.Uint64 // losses taken for a device that has moved away
	Reconnects atomic.Uint64 // EventUp
	Failovers  atomic.Uint64 // the next broker was taken into use because one had failed
	FailBacks  atomic.Uint64 // the preferred broker was taken into use again

	// Traffic, by MQTT control packet type (MQTT 3.1.1 section 2.2.1).
	PacketsIn  [16]atomic.Uint64
	PacketsOut [16]atomic.Uint64
	BytesIn    atomic.Uint64
	BytesOut   atomic.Uint64

	// Drops and faults by reason.
	DroppedDown      atomic.Uint64 // QoS 0 published while there was no connection
	DroppedCongested atomic.Uint64 // QoS 0 published while the broker did not read
	DroppedInvalid   atomic.Uint64 // QoS 0 published with an impossible topic or size
	DroppedWills     atomic.Uint64 // messages nobody waited for, not published in time
	RefusedCongested atomic.Uint64 // QoS 1 and 2 answered with ErrCongested
	Oversize         atomic.Uint64 // payloads skipped unread
	Duplicates       atomic.Uint64 // received messages suppressed as already held
	ProtocolErrors   atomic.Uint64 // connections ended because of what the broker sent
	BadPackets       atomic.Uint64 // packets dropped because of what is in them
	RejectedMessages atomic.Uint64 // messages given up because the broker ends connections on them
	RejectedRequests atomic.Uint64 // SUBSCRIBE and UNSUBSCRIBE given up for that
	AnswerTimeouts   atomic.Uint64 // connections ended because a packet was not answered
	WriteStalls      atomic.Uint64 // connections ended because the broker did not read
	PingTimeouts     atomic.Uint64 // connections ended because the broker was silent
	StaleAcks        atomic.Uint64 // acknowledgements that fit nothing outstanding
}

// countRefusal counts one CONNACK with a code that is not 0.
func (s *Stats) countRefusal(code uint8) {
	s.Refusals[min(int(code), len(s.Refusals)-1)].Add(1)
}
