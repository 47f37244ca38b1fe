package upstream

import (
	"time"
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
	paused  bool          // the owner wants nothing to be read
	resumed bool          // since the last advance: reading has begun again
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
func (o *Options) pingTimes(keepAlive uint16) (every, limit time.Duration) {
	every = o.PingInterval
	whole := every
	if told := time.Duration(keepAlive) * time.Second; told > 0 {
		every, whole = min(every, told*3/4), min(every, told)
	}
	return every, min(o.PingTimeout, whole*3/2-every)
}

// keepAlive is what the broker is told, in seconds, of a keep-alive that an owner wants.
func (o *Options) keepAlive(wanted uint16) uint16 {
	switch {
	case o.KeepAliveMax == 0:
		return wanted
	case wanted == 0:
		return o.KeepAliveMax
	}
	return min(max(wanted, o.KeepAliveMin), o.KeepAliveMax)
}

// setPaused reports whether that changes anything.
func (k *keepAlive) setPaused(paused bool) bool {
	if k.paused == paused {
		return false
	}
	k.paused, k.resumed = paused, !paused
	return true
}

// opened begins a connection. early is how much sooner than after the interval it is first
// pinged: thousands that have connected together are not to be pinged together for ever.
func (k *keepAlive) opened(now, every, limit, early time.Duration) {
	*k = keepAlive{heardAt: now, sentAt: now - early, every: every, limit: limit, paused: k.paused}
}

// sent notes a PINGREQ.
func (k *keepAlive) sent(now time.Duration, p ping) {
	if n := len(k.pings); p.token == 0 && !p.probe && n > 0 && k.pings[n-1].token == 0 && !k.pings[n-1].probe {
		k.pings[n-1].n++
	} else {
		k.pings = append(k.pings, p)
	}
	if !k.waiting || k.paused {
		k.waiting, k.pingAt = true, now
	}
	k.sentAt = now
}

// answered takes the oldest PINGREQ off; false if there is none.
func (k *keepAlive) answered() (p ping, ok bool) {
	if len(k.pings) == 0 {
		return ping{}, false
	}
	p = k.pings[0]
	if k.pings[0].n--; k.pings[0].n == 0 {
		if k.pings = k.pings[1:]; len(k.pings) == 0 {
			k.pings = nil
		}
	}
	return p, true
}

// due returns when the connection next wants attention: to count as lost if
// silent is set, else to be pinged. A connection is pinged when nothing was sent for
// the interval, and also when nothing was heard for it: one that only sends would
// otherwise not notice that nobody is there.
//
// A paused connection hears nothing because it does not listen. It is pinged instead of
// given up: as long as it is paused the system ends it when what was written is not
// acknowledged by TCP (see dial.Request), which the next write notices.
func (k *keepAlive) due() (at time.Duration, silent bool) {
	if k.resumed {
		return 0, false // at once: the time of the pause does not count
	}
	at = k.sentAt + k.every
	if !k.waiting {
		return min(at, k.heardAt+k.every), false
	}
	if lost := k.pingAt + k.limit; lost <= at {
		return lost, !k.paused
	}
	return at, false
}
