package gateway

import "sngate/internal/rate"

// Answers to senders without a session, per shard and reader: enough for every device
// of a site to learn at once that the gateway has restarted, and no amplifier.
const (
	repliesPerSecond = 1000
	replyBurst       = 5000
	// A DISCONNECT of a stranger is answered too: the device may not have heard the
	// first answer. It could also be another gateway's answer to a forged datagram, so
	// this rate bounds what two gateways can be made to tell each other.
	farewellsPerSecond = 10
	farewellBurst      = 200
)

// replyLimits bound the answers of one goroutine to senders without a session.
type replyLimits struct {
	all       rate.Limiter
	farewells rate.Limiter // to DISCONNECT where there is no connection
}

func newReplyLimits() replyLimits {
	return replyLimits{
		all:       rate.NewLimiter(rate.PerSecond(repliesPerSecond, replyBurst)),
		farewells: rate.NewLimiter(rate.PerSecond(farewellsPerSecond, farewellBurst)),
	}
}
