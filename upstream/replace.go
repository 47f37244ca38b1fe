package upstream

import (
	"time"

	"sngate/upstream/dial"
)

// This file replaces a connection before its credentials end: see renewing.

// renewDue begins a renewal, or gives one up that has taken too long.
func (l *dedicated) renewDue(now time.Duration) {
	if l.renew.ready {
		l.giveWay(now)
		return
	}
	if l.renew.conn != nil {
		l.renewLater(now)
		return
	}
	proceed := make(chan struct{})
	c, g, err := l.begin(&dial.Request{Announce: true, Hold: proceed}, true)
	if err != nil {
		l.renewLater(now)
		return
	}
	r := l.renew
	r.at, r.conn, r.proceed, r.greeting, r.by = Never, c, proceed, g, Never
}

// renewLater plans the next try after one that came to nothing.
func (l *dedicated) renewLater(now time.Duration) {
	life, at := l.renew.life, l.renew.later(now, l.d.opt.Rand())
	l.renew.stop()
	l.renew.life, l.renew.at = life, at
	l.d.stats.FailedRenewals.Add(1)
}

// renewal takes what the new connection tells while the old one is in use.
func (l *dedicated) renewal(now time.Duration, in *dial.Input) {
	switch in.Kind {
	case dial.Dialling:
		l.renew.by = now + l.d.opt.ConnectTimeout
	case dial.Refused:
		l.renewLater(now)
	case dial.Opened:
		if in.Conn.Broker() != l.out.conn.Broker() { // the old one is about to be moved
			l.renewLater(now)
			return
		}
		l.renew.ready, l.out.holding = true, true
		l.giveWay(now)
	}
}

// giveWay ends the old connection for the new one that is there, if there is one. A clean session
// ends with it: exchanges of QoS 2 are finished before, if the broker does so in time, as it would
// pass on twice what is published to it anew.
func (l *dedicated) giveWay(now time.Duration) {
	r := l.renew
	if r == nil || !r.ready || l.params.CleanSession && l.t.win.out.exchanging() && now < r.by {
		return
	}
	r.ready, r.silent = false, true
	l.t.hold()
	l.disconnect(now, stateMoving)
}

// renewNow lets the new connection say CONNECT: the old one has gone.
func (l *dedicated) renewNow(now time.Duration) {
	r := l.renew
	l.out.conn, l.greeting, r.conn = r.conn, r.greeting, nil
	l.state, l.until = stateReconnecting, now+l.d.opt.ConnectTimeout
	l.greeting.c = l.connectParams()
	l.out.conn.SetPaused(l.t.keepAlive.paused)
	close(r.proceed)
}

// renewFailed tells the owner of a connection that did not come back.
func (l *dedicated) renewFailed() {
	if l.renew.unnoticed() {
		l.renew.silent = false
		l.t.closed()
	}
}
