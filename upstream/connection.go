package upstream

import (
	"errors"
	"fmt"
	"time"

	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
)

// This file is the life of a connection as its Link sees it: opened, accepted, refused, lost,
// tried again, and left.

// dial starts a connect, which is to be over at by; urgent if a device waits for it.
func (l *dedicated) dial(now time.Duration, state linkState, by time.Duration, urgent bool) {
	l.state, l.until = state, by
	var err error
	if l.out.conn, l.greeting, err = l.begin(&dial.Request{Announce: state == stateReconnecting}, urgent); err != nil {
		l.refused(now, refusalOf(err, 0), err)
	}
}

// dialAgain starts a connect the owner did not ask for. Thousands may wait with it, when
// the broker comes back or the process has been started, so its time runs from the
// moment it has a slot, which its Conn announces.
func (l *dedicated) dialAgain(now time.Duration, urgent bool) {
	l.dial(now, stateReconnecting, Never, urgent)
}

// wake makes a Link that waits for its device connect, and a connect that is queued one
// that a device waits for.
func (l *dedicated) wake(now time.Duration) {
	switch l.state {
	case stateParked, stateDormant:
		l.dialAgain(now, true)
	case stateConnecting, stateReconnecting:
		l.out.conn.Hurry()
	}
}

// Input implements Link.
func (l *dedicated) Input(now time.Duration, in *Input) { l.take(now, &in.in) }

// Deliver implements dial.Inbox.
func (m *mailbox) Deliver(in *dial.Input) {
	m.link.take(m.looper.Now(), in)
	m.looper.Read(m.owner)
}

// take takes what a connection tells.
func (l *dedicated) take(now time.Duration, in *dial.Input) {
	l.t.now = now
	c := in.Conn
	if c == nil {
		return
	}
	in.Done()
	if c == l.renew.next() {
		l.renewal(now, in)
		return
	}
	if c != l.out.conn {
		return // of a connection that is history
	}
	switch in.Kind {
	case dial.Received:
		c.Broker().Heard(now)
		l.received(now, &in.Packet)
	case dial.Dialling:
		if l.state.opening() {
			l.until = now + l.d.opt.ConnectTimeout
		}
	case dial.Accepted:
		c.Broker().Heard(now)
		c.Answered()
		l.accepted(now, in.Packet.SessionPresent)
	case dial.Refused:
		l.notAccepted(now, in)
	case dial.Ended:
		if l.state.leaving() {
			l.left(now)
		} else {
			l.lost(now, in.Err)
		}
	case dial.Move:
		if l.state == stateUp {
			l.move(now)
		}
	case dial.Writable:
		l.t.pump()
	}
}

// received takes one packet from the broker.
func (l *dedicated) received(now time.Duration, p *mqtt.Packet) {
	l.t.keepAlive.heardAt, l.t.keepAlive.waiting = now, false
	if l.closes > 0 && p.Kind == mqtt.TypePublish && p.Fault == mqtt.FaultNone {
		return // not acknowledged: the broker sends it again in the next connection
	}
	l.t.packet(p)
	switch p.Kind {
	case mqtt.TypePuback, mqtt.TypePubrec, mqtt.TypePubcomp:
		l.closeDrained(now)
		l.giveWay(now)
	}
}

// accepted begins the use of a connection.
func (l *dedicated) accepted(now time.Duration, present bool) {
	if l.state.leaving() {
		l.out.disconnect()
		return
	}
	b := l.out.conn.Broker()
	// A session that another broker has kept is one from before: what is in flight, and
	// what the owner has subscribed to, is not in it.
	// Nor is it where the topics are somewhere else now.
	topics := &l.greeting.topics
	mark := topics.mark()
	present = present && !l.params.CleanSession && (l.home == nil || l.home == b && l.homeMark == mark)
	l.home, l.homeMark = b, mark
	l.t.remap(topics)
	e := l.acceptedAs(now)
	e.SessionPresent = present
	l.renew = renewingOf(now, l.greeting)
	l.state, l.out.open, l.greeting = stateUp, true, nil
	l.d.losses.opened()
	l.d.closers.forget(l.params.ClientID)
	dropped := l.t.opened(present, l.params.KeepAlive)
	l.events.report(e)
	for _, m := range dropped {
		l.events.report(Event{Kind: EventPublishFailed, Token: m.token, Err: ErrCancelled})
	}
	l.t.pump()
	l.closeDrained(now)
}

// acceptedAs is what the owner is told of a connection that has been accepted.
func (l *dedicated) acceptedAs(now time.Duration) Event {
	own := l.state == stateReconnecting
	if own {
		l.d.stats.Reconnects.Add(1)
	}
	if l.renew.unnoticed() { // what has been lived through stays as it was
		l.d.stats.Renewals.Add(1)
		had, has := l.greeting.c.Will, l.params.Will
		return Event{Kind: EventRenewed, NoWill: had == nil, OldWill: had != nil && had != has}
	}
	l.retry.up(now, own)
	if own {
		return Event{Kind: EventUp, NoWill: l.bare()}
	}
	return Event{Kind: EventConnected, NoWill: l.bare()}
}

// notAccepted takes the end of a connect that came to nothing.
func (l *dedicated) notAccepted(now time.Duration, in *dial.Input) {
	l.out.conn = nil
	why := refusalOf(in.Err, in.Packet.Code)
	switch {
	case errors.Is(in.Err, dial.ErrUnsent):
	case !why.passes():
		in.Conn.Answered()
	default:
		l.retry.connectFailed(in.Conn.Failed(now), &l.d.opt)
		if why.Kind == NotRefused && l.closedAtConnect(now, in) {
			why.Kind = RefusedByClosing
		}
	}
	if l.state.leaving() {
		l.left(now)
	} else {
		l.refused(now, why, in.Err)
	}
}

// refused ends a connect that has failed: the owner's for good, others until
// the next try. A refusal that a new try is unlikely to change waits longest.
func (l *dedicated) refused(now time.Duration, why Refusal, err error) {
	if l.state == stateConnecting {
		l.state = stateIdle
		l.events.report(Event{Kind: EventRefused, Refusal: why, Err: err})
		return
	}
	l.events.report(Event{Kind: EventDown, Refusal: why, Err: err})
	l.renewFailed()
	l.backoff(now, !why.passes())
}

// closedAtConnect reports, of a connect without an answer, whether the broker has closed this
// client's connections at CONNECT time and again while it serves others. On the way back from
// a loss it is the will that may have changed, so the next try is without one.
func (l *dedicated) closedAtConnect(now time.Duration, in *dial.Input) bool {
	b := in.Conn.Broker()
	if in.Err == nil || b == nil || !endedByPeer(in.Err) || !l.d.closers.note(now, l.params.ClientID, b.Serving(now)) {
		return false
	}
	if l.state != stateConnecting && l.state != stateReplacing && l.params.Will != nil && !l.willRefused {
		l.willRefused = true
		l.d.stats.DroppedWills.Add(1)
		return false
	}
	return true
}

// lost handles the end of an accepted connection that nobody asked for: see retry.
func (l *dedicated) lost(now time.Duration, err error) {
	l.d.stats.Losses.Add(1)
	l.renew.stop()
	owed, _, _ := l.t.win.unanswered()
	l.retry.lost(now, err, l.d.losses.lost(now), owed, l.t.win.care.progress)
	l.out.detach()
	if endedByPeer(err) {
		l.t.win.blame(now, nil) // before the owner takes back what is in flight
	}
	l.events.report(Event{Kind: EventDown, Err: fmt.Errorf("%w: %w", ErrLost, err)})
	l.t.closed()
	l.backoff(now, false)
}

func (l *dedicated) backoff(now time.Duration, longest bool) {
	l.retry.pause(now, &l.d.opt, longest)
	l.state = stateBackoff
}

// again is reached when the pause of backoff or parked is over.
func (l *dedicated) again(now time.Duration) {
	if l.state == stateBackoff && !l.draining() {
		switch yes, soon := l.retry.elsewhere(now, &l.d.losses); {
		case soon:
			return
		case yes:
			l.d.stats.Parkings.Add(1)
			l.state = stateParked
			l.retry.park()
			l.events.report(Event{Kind: EventParked})
			return
		}
	}
	l.dialAgain(now, false)
}

// patient reports whether the owner's connect, whose time is over, may go on until l.until: it
// waits for its slot, or has waited for it, while the broker answered others. So its time does
// not run while the device waits because of the pace of this side, within SlotWait.
func (l *dedicated) patient(now time.Duration) bool {
	if l.state == stateReconnecting {
		if _, waiting := l.out.conn.TimeLeft(0); waiting { // put off: its slot is announced again
			l.until = Never
		}
		return l.until == Never
	}
	if l.state != stateConnecting {
		return false
	}
	left, waiting := l.out.conn.TimeLeft(l.d.opt.ConnectTimeout)
	if by := l.connectBy + l.d.opt.SlotWait - l.d.opt.ConnectTimeout; waiting {
		left = min(left, by-now)
	}
	l.until = now + max(left, 0)
	return left > 0
}

// timedOut is reached when a connect, or the end of a connection, has taken too long.
func (l *dedicated) timedOut(now time.Duration) {
	if l.patient(now) {
		return
	}
	c := l.out.conn
	l.cut()
	if l.state.leaving() {
		l.left(now)
		return
	}
	l.retry.connectFailed(c.Failed(now), &l.d.opt)
	l.refused(now, Refusal{}, ErrTimeout)
}

// move ends a connection to a broker that is not in use any more in good order, so that no will
// is published, and connects to the one that is.
func (l *dedicated) move(now time.Duration) {
	l.renew.stop()
	l.disconnect(now, stateMoving)
	l.retry.begin()
	l.events.report(Event{Kind: EventDown, Err: ErrMoved})
	l.t.closed()
}

// leave ends the connection in good order: DISCONNECT, then the broker's end. Then follows
// what state says: closing or replacing. A connect that has come as far as dialling is given
// the time to get there: cut off between CONNECT and CONNACK the broker would publish the
// will.
func (l *dedicated) leave(now time.Duration, state linkState) {
	l.renew.stop()
	l.out.holding = false // nothing is taken any more
	switch l.state {
	case stateClosing, stateReplacing, stateMoving: // it is on its way
		l.state = state
	case stateUp:
		l.disconnect(now, state)
	case stateConnecting, stateReconnecting:
		if l.out.conn.Unqueue() {
			l.state = state
			l.left(now)
			return
		}
		l.out.conn.Leave()
		l.state, l.until = state, now+closeWait
	default:
		l.state = state
		l.left(now)
	}
}

// drop ends the connection at once.
func (l *dedicated) drop(now time.Duration) {
	if l.state == stateUp {
		l.d.losses.closed()
	}
	l.renew.stop()
	l.cut()
	l.state = stateClosing
	l.left(now)
}

// cut lets go of the connection, whatever its state.
func (l *dedicated) cut() {
	if !l.out.conn.Unqueue() {
		l.out.conn.Abandon()
	}
	l.out.detach()
}

// left is reached when a connection is gone that was to be ended, and answers what
// waited for it.
func (l *dedicated) left(now time.Duration) {
	then := l.state
	l.out.detach()
	switch {
	case then == stateMoving && l.renew.next() != nil:
		l.renewNow(now)
		return
	case then == stateMoving:
		l.dialAgain(now, false)
		return
	}
	l.state, l.drainBy = stateIdle, Never
	l.t.closed()
	for ; l.closes > 0; l.closes-- {
		l.events.report(Event{Kind: EventClosed})
	}
	if then == stateReplacing {
		l.dial(now, stateConnecting, l.connectBy, true)
	}
}

// closeDrained closes the connection of a CloseDrain that has nothing left to wait for.
func (l *dedicated) closeDrained(now time.Duration) {
	if l.draining() && l.t.win.out.len() == 0 {
		l.drainBy = Never
		l.leave(now, stateClosing)
	}
}
