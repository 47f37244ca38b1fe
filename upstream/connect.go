package upstream

import (
	"time"

	"sngate/upstream/dial"
)

// This file is how a connection begins, and how its end begins.

// closeWait is how long the broker has to end a connection.
const closeWait = time.Second

// begin begins a connect with what r says of it.
func (l *dedicated) begin(r *dial.Request, urgent bool) (*dial.Conn, *greeting, error) {
	params := l.connectParams()
	if _, err := l.d.opt.credentials(params.ClientID); err != nil {
		return nil, nil, err // who has none does not have to wait for a slot to hear of it
	}
	g := &greeting{d: l.d, c: params, as: params.ClientID}
	_, limit := l.d.opt.pingTimes(params.KeepAlive)
	r.Greet, r.Inbox, r.Owner, r.Loop = g.make, &l.mail, l.mail.owner, l.mail.loop()
	r.Paused, r.Unacked = l.t.keepAlive.paused, limit*3/4 // so that the next PINGREQ finds it over
	c, err := l.d.dial.Connect(r, urgent)
	return c, g, err
}

// connectParams is what a connect carries that is made now.
func (l *dedicated) connectParams() Connect {
	params := l.params
	if l.bare() {
		params.Will = nil
	}
	return params
}

// bare reports whether connects carry no will: the broker does not take it, or the device
// may be elsewhere, and the takeover of this connection would publish it.
func (l *dedicated) bare() bool { return l.willRefused || l.retry.parks > 0 }

// disconnect sends DISCONNECT; the broker's end is awaited as state says.
func (l *dedicated) disconnect(now time.Duration, state linkState) {
	l.d.losses.closed()
	l.out.disconnect()
	l.out.conn.Leave()
	l.state, l.until = state, now+closeWait
}
