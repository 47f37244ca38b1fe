package upstream

// How many messages a Link sends per second: Options.PublishRate.

import (
	"time"

	"sngate/internal/rate"
)

// pace lets one PUBLISH after the other through, each when its share of a second is over: a
// burst at once would be counted by the broker together with what follows it in the same second.
// It outlives connections. Acknowledgements and PUBREL do not count, but stay in their order.
type pace struct {
	bucket rate.Bucket
	at     time.Duration // when what waits may be sent; Never: nothing waits for that
}

// publishLimit is how fast messages may follow each other.
func (o *Options) publishLimit() rate.Limit {
	if o.PublishRate <= 0 {
		return rate.Limit{}
	}
	// Rounded up, so that not one more fits into a second.
	share := (time.Second + time.Duration(o.PublishRate) - 1) / time.Duration(o.PublishRate)
	return rate.Every(share, share)
}

// sent notes a PUBLISH.
func (p *pace) sent(l rate.Limit, now time.Duration) { p.bucket.Take(l, now, 1) }

// left returns how long the next PUBLISH has to wait.
func (p *pace) left(l rate.Limit, now time.Duration) time.Duration { return p.bucket.Wait(l, now, 1) }

// holds reports whether what waits, if anything does, has to wait until p.at.
func (p *pace) holds(l rate.Limit, now time.Duration, waits bool) bool {
	p.at = Never
	left := p.left(l, now)
	if !waits || left == 0 {
		return false
	}
	p.at = now + left
	return true
}
