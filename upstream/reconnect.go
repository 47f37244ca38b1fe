package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
)

// This file is the life of a connection as its Link sees it: opened, accepted,
// refused, lost and tried again.

// dial starts a connect; urgent if a device waits for it. connectBy is set.
func (l *dedicated) dial(now time.Duration, urgent bool) {
	params := l.params
	if l.bare() {
		params.Will = nil
	}
	_, limit := l.pingTimes()
	r := dial.Request{Hello: l.d.opt.connect(&params), Inbox: &l.mail, Owner: l.mail.owner, Announce: !l.answer, Paused: l.paused}
	r.Unacked = limit * 3 / 4 // so that the next PINGREQ finds it over
	l.state = stateOpening
	var err error
	if l.conn, err = l.d.dial.Connect(&r, urgent); err != nil {
		l.refused(now, 0, err)
	}
}

// dialAgain starts a connect the owner did not ask for. Thousands may wait with it, when
// the broker comes back or the process has been started, so its time runs from the
// moment it has a slot, which the conn announces.
func (l *dedicated) dialAgain(now time.Duration, urgent bool) {
	l.connectBy = Never
	l.dial(now, urgent)
}

// Reopen implements Link.
func (l *dedicated) Reopen(now time.Duration, c *Connect, when ReopenMode) {
	l.reclaim()
	if l.state != stateIdle {
		return
	}
	if err := checkConnect(c); err != nil {
		l.report(Event{Kind: EventDown, Err: err})
		return
	}
	l.setParams(c)
	l.now, l.attempts, l.parks, l.classify = now, 0, 0, false
	if when == ReopenWhenNudged {
		l.state = stateDormant
		return
	}
	l.dialAgain(now, false)
}

// spoke notes a sign of life of the device: every call that a device's message causes is
// taken for one. The owner causes a few itself (it acknowledges what it drops); at worst
// a Link without company then connects once more before it parks.
func (l *dedicated) spoke(now time.Duration) {
	l.now, l.spokeAt, l.parks = now, now, 0
	if l.state != stateUp {
		l.wake(now)
	}
}

// wake makes a Link that waits for its device connect, and a connect that is queued one
// that a device waits for.
func (l *dedicated) wake(now time.Duration) {
	switch l.state {
	case stateParked, stateDormant:
		l.dialAgain(now, true)
	case stateOpening:
		l.conn.Hurry()
	}
}

// Input implements Link.
func (l *dedicated) Input(now time.Duration, in *Input) {
	l.reclaim()
	l.now = now
	l.take(now, &in.in)
}

func (l *dedicated) take(now time.Duration, in *dial.Input) {
	if in.Conn == nil {
		return
	}
	in.Taken()
	if in.Conn != l.conn {
		return // of a connection that is history
	}
	switch in.Kind {
	case dial.Received:
		in.Conn.Broker().Heard(now)
		l.keep.heardAt, l.keep.waiting = now, false
		l.packet(now, &in.Packet)
	case dial.Dialling:
		if l.state == stateOpening {
			l.connectBy = now + l.d.opt.ConnectTimeout
		}
	case dial.Accepted:
		in.Conn.Broker().Heard(now)
		in.Conn.Answered()
		l.accepted(now, in.Packet.SessionPresent)
	case dial.Refused:
		l.conn = nil
		code := in.Packet.Code
		if code != 0 && code != mqtt.CodeUnavailable {
			in.Conn.Answered()
		} else {
			l.connectFailed(now, in.Conn)
			code = l.closedAtConnect(now, in, code)
		}
		if l.state == stateClosing {
			l.ended(now)
		} else {
			l.refused(now, code, in.Err)
		}
	case dial.Ended:
		switch l.state {
		case stateClosing:
			l.ended(now)
		case stateMoving:
			l.moved(now)
		default:
			l.lost(now, in.Err)
		}
	case dial.Move:
		if l.state == stateUp {
			l.move(now)
		}
	case dial.Writable:
		l.pump()
	}
}

// accepted begins the use of a connection.
func (l *dedicated) accepted(now time.Duration, present bool) {
	if l.state == stateClosing {
		l.put(mqtt.TypeDisconnect)
		return
	}
	// A session that another broker has kept is one from before: what is in flight, and
	// what the owner has subscribed to, is not in it.
	present = present && !l.params.CleanSession && (l.home == nil || l.home == l.conn.Broker())
	l.home = l.conn.Broker()
	l.state, l.upAt, l.automatic = stateUp, now, !l.answer
	l.d.losses.opened()
	l.d.closers.forget(l.params.ClientID)
	l.care.opened()
	l.in.opened()
	l.keep = keepAlive{heardAt: now, sentAt: now}
	l.keep.every, l.keep.limit = l.pingTimes()
	if !present {
		l.in.clear()
		l.renewed = true
	}
	dropped := l.out.restart(present)
	kind := EventConnected
	if !l.answer {
		kind = EventUp
		l.d.stats.Reconnects.Add(1)
	}
	l.answer, l.brokers = false, 0
	l.report(Event{Kind: kind, SessionPresent: present, NoWill: l.bare()})
	for _, m := range dropped {
		l.report(Event{Kind: EventPublishFailed, Token: m.token, Err: ErrCancelled})
	}
	l.pump()
	l.drained(now)
}

// refused ends a connect that has failed: the first one for good, later ones until
// the next try. A refusal that a new try is unlikely to change waits longest.
func (l *dedicated) refused(now time.Duration, code uint8, err error) {
	if l.answer {
		l.answer = false
		l.state = stateIdle
		l.report(Event{Kind: EventRefused, Code: code, Err: err})
		return
	}
	l.report(Event{Kind: EventDown, Code: code, Err: err})
	l.backoff(now, code != 0 && code != mqtt.CodeUnavailable)
}

// connectFailed notes that the connect c came to nothing. If another broker is in use now, it is
// tried soon; but only once each, or a failure of all would be one of short pauses.
func (l *dedicated) connectFailed(now time.Duration, c *dial.Conn) {
	if c.Failed(now) && l.brokers < len(l.d.opt.Fallbacks) {
		l.attempts = 0
		l.brokers++
	}
}

// move ends a connection to a broker that is not in use any more in good order, so that
// no will is published, and connects to the one that is.
func (l *dedicated) move(now time.Duration) {
	l.d.losses.closed()
	l.put(mqtt.TypeDisconnect)
	l.conn.Leave()
	l.state, l.closeBy = stateMoving, now+closeWait
	l.attempts, l.parks, l.classify = 0, 0, false
	l.report(Event{Kind: EventDown, Err: ErrMoved})
	l.failRequests()
	l.dropQoS0()
}

// moved is reached when the connection that was left is gone.
func (l *dedicated) moved(now time.Duration) {
	l.conn = nil
	l.dropBuffer()
	l.dialAgain(now, false)
}

// lost handles the end of an accepted connection that nobody asked for.
//
// Whether it is tried again at all is decided when the first pause is over, because
// by then it shows who else was lost. If the broker closed this connection and left
// the most of the others alone, the device has probably connected through another
// gateway: coming back would take the session away from it, and so on for ever. So
// the Link parks: until the device speaks here, or for a long pause if there are messages
// for the broker (see Want). A Link without company cannot compare; it parks when the broker
// closed it twice in a row, the second time within settleTime of a reconnect of its own,
// and the device was silent in between. A connection that ended while the broker owed an
// answer is not taken for a takeover: see blame.
func (l *dedicated) lost(now time.Duration, err error) {
	l.d.stats.Losses.Add(1)
	l.mark = l.d.losses.lost(now)
	l.lostAt = now
	l.conn = nil
	l.dropBuffer()
	byPeer := endedByPeer(err)
	owed, _, _ := l.unanswered()
	short := now-l.upAt < settleTime
	l.classify = byPeer && owed == 0 || saysGoodbye(err)
	l.quick = byPeer && short && l.automatic && l.spokeAt <= l.upAt
	if l.taken = errors.Is(err, mqtt.Disconnected(mqtt.CodeTakenOver)); l.taken {
		l.classify = true
	}
	if !short || l.care.progress {
		l.attempts = 0
	}
	if now-l.upAt >= longLife {
		l.parks = 0
	}
	if byPeer {
		l.blame(now, nil) // before the owner takes back what is in flight
	}
	l.report(Event{Kind: EventDown, Err: fmt.Errorf("%w: %w", ErrLost, err)})
	l.dropQoS0()
	l.failRequests()
	l.backoff(now, false)
}

// saysGoodbye reports whether the broker has ended the connection by DISCONNECT without a
// reason, as brokers do at a takeover and at a stop.
func saysGoodbye(err error) bool { return errors.Is(err, mqtt.Disconnected(0)) }

// endedByPeer reports whether a reader ended with err because the broker closed.
func endedByPeer(err error) bool {
	var d mqtt.Disconnected
	return errors.As(err, &d) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, net.ErrClosed)
}

// backoff waits before the next connect: from ReconnectMin doubling to ReconnectMax,
// each time between the half and the whole of the interval, but never less than
// ReconnectMin.
func (l *dedicated) backoff(now time.Duration, longest bool) {
	lo, half := l.d.opt.ReconnectMin, l.d.opt.ReconnectMax/2
	if len(l.d.opt.Fallbacks) > 0 && l.attempts < quickTries && !longest {
		half = min(half, quickPause)
	}
	for range l.attempts {
		if lo >= half {
			break
		}
		lo *= 2
	}
	if lo = max(min(lo, half), l.d.opt.ReconnectMin); longest {
		lo = max(half, l.d.opt.ReconnectMin)
	}
	span := min(lo, l.d.opt.ReconnectMax-lo)
	l.attempts++
	l.state = stateBackoff
	l.retryAt = now + lo + time.Duration(l.d.opt.Rand()*float64(span))
}

// retry is reached when the pause is over.
func (l *dedicated) retry(now time.Duration) {
	if l.classify && !l.draining {
		l.classify = false
		isolated, lone := l.d.losses.alone(l.mark)
		if l.spokeAt <= l.lostAt && (l.taken || isolated || lone && l.quick) {
			if seen := l.lostAt + lossSlots*lossSlot; now < seen && !l.taken { // a broker may take its time to die
				l.classify, l.retryAt = true, seen
				return
			}
			l.park(now)
			return
		}
	}
	l.dialAgain(now, false)
}

// park waits until the device speaks, or for a long pause if there are messages for the
// broker.
func (l *dedicated) park(now time.Duration) {
	l.d.stats.Parkings.Add(1)
	l.state = stateParked
	l.parks++
	l.planReturn(now)
}

// Where there are several brokers the first quickTries pauses are at most twice quickPause,
// so that a gateway with few Links finds out soon, too.
const (
	quickTries = 6
	quickPause = 2 * time.Second
)

const (
	maxParks = 6 // how often the pause of a parked Link doubles at the most
	// longLife is how long a connection has to live to say that no other gateway wants the
	// session.
	longLife = 10 * time.Minute
)

func (l *dedicated) planReturn(now time.Duration) {
	l.retryAt = Never
	if l.wanted {
		span := max(l.d.opt.ReconnectMax/2, l.d.opt.ReconnectMin) << min(l.parks-1, maxParks)
		l.retryAt = now + span + time.Duration(l.d.opt.Rand()*float64(span))
	}
}

// bare reports whether connects carry no will: the broker does not take it, or the device
// may be elsewhere, and the takeover of this connection would publish it.
func (l *dedicated) bare() bool { return l.willRefused || l.parks > 0 }

// Want implements Link.
func (l *dedicated) Want(now time.Duration, wanted bool) {
	if l.wanted == wanted {
		return
	}
	if l.wanted = wanted; l.state == stateParked {
		l.planReturn(now)
	}
}

// closedAtConnect returns the code of a connect without an answer: CodeClosed if the
// broker has closed this client's connections at CONNECT time and again while it serves
// others. On the way back from a loss it is the will that may have changed, so the next
// try is without one.
func (l *dedicated) closedAtConnect(now time.Duration, in *dial.Input, code uint8) uint8 {
	b := in.Conn.Broker()
	if code != 0 || in.Err == nil || b == nil || !endedByPeer(in.Err) || !l.d.closers.note(now, l.params.ClientID, b.Serving(now)) {
		return code
	}
	if !l.answer && l.params.Will != nil && !l.willRefused {
		l.willRefused = true
		l.d.stats.DroppedWills.Add(1)
		return code
	}
	return CodeClosed
}
