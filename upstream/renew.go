package upstream

import (
	"time"

	"sngate/upstream/dial"
)

// renewing is what a Link knows of the replacement of its connection before the credentials end,
// of which the owner notices nothing.
//
// A broker has one connection of a client, so the old one has to go before the new one says
// CONNECT. That is all it waits for: until the new connection is there, TLS and all, the old one
// is used as before, and it stays when there are no credentials, no slot or no connection. Then it
// is tried again, until the broker ends the old one. Between the two, which is an exchange with
// the broker each way, messages and requests wait (output.holding).
type renewing struct {
	life time.Duration // of the credentials of the open connection; 0: for ever
	at   time.Duration // when their renewal begins; Never: it does not, or has begun
	// conn is the new connection while the old one is in use or is being ended, and says CONNECT
	// when proceed is closed; nil: there is none.
	conn     *dial.Conn
	proceed  chan struct{}
	greeting *greeting
	by       time.Duration // conn is to be there, and the old one gone, by then; Never: it waits for a slot
	ready    bool          // conn is there, and the old one still in use: no new messages are written to it
	// silent: the old connection has been given up for the new one, and the owner does not know.
	silent bool
}

const (
	// renewRetries is how often a renewal that comes to nothing is tried again in the time that
	// credentials count, and maxRenewRetry how long a pause between two tries is at most.
	renewRetries  = 50
	maxRenewRetry = time.Minute
)

// renewingOf is for a connection that has just been accepted. Its credentials are renewed when four
// fifths of their life are over, or up to a tenth later, so that not all are at once.
func renewingOf(now time.Duration, g *greeting) *renewing {
	if g.life <= 0 {
		return nil
	}
	at := now - time.Since(g.begun) + g.life/5*4 + time.Duration(g.d.opt.Rand()*float64(g.life/10))
	return &renewing{life: g.life, at: at}
}

// next is the new connection; nil: there is none.
func (r *renewing) next() *dial.Conn {
	if r == nil {
		return nil
	}
	return r.conn
}

// unnoticed reports whether the owner does not know of the end of the old one.
func (r *renewing) unnoticed() bool { return r != nil && r.silent }

// due is when there is something to do about an open connection.
func (r *renewing) due() time.Duration {
	switch {
	case r == nil:
		return Never
	case r.conn != nil:
		return r.by
	}
	return r.at
}

// later returns when a try that came to nothing is followed by the next.
func (r *renewing) later(now time.Duration, random float64) time.Duration {
	pause := min(r.life/renewRetries, maxRenewRetry)
	return now + pause/2 + time.Duration(random*float64(pause/2))
}

// stop takes it back.
func (r *renewing) stop() {
	if r == nil {
		return
	}
	if c := r.conn; c != nil && !c.Unqueue() {
		c.Abandon()
	}
	*r = renewing{at: Never}
}
