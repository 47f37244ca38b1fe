package upstream

import (
	"time"

	"sngate/upstream/mqtt"
)

// keepAlive is the PINGREQ side of an open connection. PINGRESPs carry nothing to
// tell them apart, but they come in the order of the PINGREQs: so they are counted.
type keepAlive struct {
	every   time.Duration // between PINGREQs of an idle connection
	limit   time.Duration // how long after a PINGREQ the broker may stay silent
	sentAt  time.Duration // last write
	heardAt time.Duration // last Input
	pingAt  time.Duration // oldest PINGREQ since anything was heard
	waiting bool          // there is one
	resumed bool          // since the last Advance: reading has begun again
	pings   []ping        // outstanding, in order
}

// ping stands for n PINGREQs in a row whose answer interests nobody, or for one with
// a Token.
type ping struct {
	token   Token
	n       int
	probe   bool // its answer shows that what was written before it has arrived
	message bool // a QoS 0 message
}

// pingTimes returns the interval of PINGREQs and how long the answer may take. The broker
// gives up a connection that is silent for one and a half of the keep-alive it was told
// (MQTT 3.1.1 section 3.1.2.10); so does this side, where Options.PingInterval counts
// like a keep-alive, if it is shorter or none was told.
func (l *dedicated) pingTimes() (every, limit time.Duration) {
	every = l.d.opt.PingInterval
	whole := every
	if told := time.Duration(l.params.KeepAlive) * time.Second; told > 0 {
		every, whole = min(every, told*3/4), min(every, told)
	}
	return every, min(l.d.opt.PingTimeout, whole*3/2-every)
}

// Ping implements Link.
func (l *dedicated) Ping(now time.Duration, t Token) {
	l.reclaim()
	l.spoke(now)
	switch {
	case l.state != stateUp:
		l.report(Event{Kind: EventPong, Token: t, Err: ErrLost})
	case len(l.keep.pings) >= maxRequests:
		l.report(Event{Kind: EventPong, Token: t, Err: ErrCongested})
	default:
		l.sendPing(now, t)
	}
}

func (l *dedicated) sendPing(now time.Duration, t Token) { l.queuePing(now, ping{token: t, n: 1}) }

// sendProbe sends PINGREQ to learn that what was written before it has arrived.
func (l *dedicated) sendProbe(message bool) {
	l.queuePing(l.now, ping{n: 1, probe: true, message: message})
}

func (l *dedicated) queuePing(now time.Duration, p ping) {
	k := &l.keep
	if n := len(k.pings); p.token == 0 && !p.probe && n > 0 && k.pings[n-1].token == 0 && !k.pings[n-1].probe {
		k.pings[n-1].n++
	} else {
		k.pings = append(k.pings, p)
	}
	if !k.waiting || l.paused {
		k.waiting, k.pingAt = true, now
	}
	l.put(mqtt.TypePingreq)
	k.sentAt = now
}

// pong takes one PINGRESP.
func (l *dedicated) pong() {
	k := &l.keep
	if len(k.pings) == 0 {
		l.d.stats.StaleAcks.Add(1)
		return
	}
	first := &k.pings[0]
	probe, message := first.probe, first.message
	if first.token != 0 {
		l.report(Event{Kind: EventPong, Token: first.token})
	}
	if first.n--; first.n == 0 {
		if k.pings = k.pings[1:]; len(k.pings) == 0 {
			k.pings = nil
		}
	}
	l.care.loose = 0
	if probe {
		l.proved(message)
	}
}

// keepAliveDue returns when the connection next wants attention: to count as lost if
// silent is set, else to be pinged. A connection is pinged when nothing was sent for
// the interval, and also when nothing was heard for it: one that only sends would
// otherwise not notice that nobody is there.
//
// A paused connection hears nothing because it does not listen. It is pinged instead of
// given up: as long as it is paused the system ends it when what was written is not
// acknowledged by TCP (see limitUnacked), which the next write notices.
func (l *dedicated) keepAliveDue() (at time.Duration, silent bool) {
	k := &l.keep
	if k.resumed {
		return 0, false // at once: the time of the pause does not count
	}
	at = k.sentAt + k.every
	if !k.waiting {
		return min(at, k.heardAt+k.every), false
	}
	if lost := k.pingAt + k.limit; lost <= at {
		return lost, !l.paused
	}
	return at, false
}

func (l *dedicated) keepAliveAdvance(now time.Duration) {
	k := &l.keep
	if k.resumed {
		k.resumed = false
		k.pingAt = now
	}
	at, silent := l.keepAliveDue()
	switch {
	case now < at:
	case silent:
		l.d.stats.PingTimeouts.Add(1)
		c := l.conn
		l.lost(now, ErrTimeout)
		c.Abandon()
	default:
		l.sendPing(now, 0)
	}
}
