package upstream

import (
	"sngate/internal/rate"
	"sngate/upstream/dial"
)

// shared is what the Links of a Dialer have in common. It is safe for concurrent use.
type shared struct {
	dial    *dial.Dialer
	layers  *layers
	opt     Options
	stats   Stats
	losses  losses
	ill     illness
	closers closers
	keys    keys
	rate    rate.Limit // of PUBLISH; see pace

	unmapped topicMap // leaves topics as they are: of the Links without a map
}

// notice reports a habit, the first time.
func (d *shared) notice(b *dial.Broker, h Habit) {
	if b.First(uint8(h)) && d.opt.Habit != nil {
		d.opt.Habit(b.Address(), h)
	}
}
