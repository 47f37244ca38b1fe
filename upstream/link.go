package upstream

import (
	"slices"
	"time"

	"sngate/upstream/mqtt"
)

// Connect implements Link. A Connect that is followed by another, or by Close,
// before it has been answered gets no answer of its own.
func (l *dedicated) Connect(now time.Duration, c *Connect) {
	l.t.now = now
	// What the owner had not acknowledged it has not got any more: the broker sends it again.
	l.t.in.forgetUnacked()
	l.setParams(c)
	l.drainBy = Never
	l.retry.begin()
	l.retry.spokeAt = now
	// The device is back: a will that has not been published yet would be false.
	l.t.forgo()
	if c.CleanSession {
		l.t.discard()
	}
	if err := checkConnect(c); err != nil {
		l.events.report(Event{Kind: EventRefused, Err: err})
		l.leave(now, stateClosing)
		return
	}
	l.connectBy = now + l.d.opt.ConnectTimeout
	l.leave(now, stateReplacing)
}

// setParams takes over what later connects carry.
func (l *dedicated) setParams(c *Connect) {
	l.params = *c
	l.params.Unreleased = nil
	l.params.KeepAlive = l.d.opt.keepAlive(c.KeepAlive)
	l.t.in.setUnreleased(c.Unreleased)
	l.SetWill(c.Will)
	if l.home == nil {
		address, mark := splitMark(c.Home)
		l.home, l.homeMark = l.d.dial.BrokerAt(address), mark
	}
}

// SetWill implements Link.
func (l *dedicated) SetWill(w *Will) {
	if w != nil {
		own := *w
		own.Message = slices.Clone(w.Message)
		w = &own
	}
	l.params.Will, l.willRefused = w, false
}

// Reopen implements Link.
func (l *dedicated) Reopen(now time.Duration, c *Connect, when ReopenMode) {
	if l.state != stateIdle {
		return
	}
	if err := checkConnect(c); err != nil {
		l.events.report(Event{Kind: EventDown, Err: err})
		return
	}
	l.setParams(c)
	l.t.now = now
	l.retry.begin()
	if when == ReopenWhenNudged {
		l.state = stateDormant
		return
	}
	l.dialAgain(now, false)
}

// Close implements Link.
func (l *dedicated) Close(now time.Duration, mode CloseMode) {
	l.t.now = now
	l.closes++
	l.t.in.forgetUnacked()
	switch l.state {
	case stateConnecting: // the owner does not wait for it any more
		l.state = stateReconnecting
	case stateReplacing:
		l.state = stateClosing
	}
	if mode == CloseDrain && l.t.win.out.len() > 0 && l.state != stateIdle && l.state != stateClosing {
		if !l.draining() {
			l.drainBy = now + l.d.opt.DrainTimeout
		}
		l.wake(now)
		return
	}
	l.drainBy = Never
	if mode == CloseAbort && l.out.conn != nil {
		l.t.flush()
		l.drop(now)
		return
	}
	l.leave(now, stateClosing)
}

// spoke notes a sign of life of the device: every call that a device's message causes is
// taken for one. The owner causes a few itself (it acknowledges what it drops); at worst
// a Link without company then connects once more before it parks.
func (l *dedicated) spoke(now time.Duration) {
	l.t.now = now
	l.retry.spoke(now)
	if l.state != stateUp {
		l.wake(now)
	}
}

// Publish implements Link.
func (l *dedicated) Publish(now time.Duration, m Publish) {
	l.spoke(now)
	l.t.publish(m)
}

// Release implements Link.
func (l *dedicated) Release(_ time.Duration, t Token) { l.t.release(t) }

// Await implements Link.
func (l *dedicated) Await(t Token, awaited bool) { l.t.await(t, awaited) }

// Retract implements Link.
func (l *dedicated) Retract(t Token) (Publish, bool) { return l.t.retract(t) }

// Subscribe implements Link.
func (l *dedicated) Subscribe(now time.Duration, t Token, filter string, qos uint8) {
	l.spoke(now)
	l.t.request(t, EventSubscribed, filter, min(qos, 2))
}

// Unsubscribe implements Link.
func (l *dedicated) Unsubscribe(now time.Duration, t Token, filter string) {
	l.spoke(now)
	l.t.request(t, EventUnsubscribed, filter, 0)
}

// Ack implements Link.
func (l *dedicated) Ack(now time.Duration, h Handle) {
	if l.t.ack(h) {
		l.spoke(now)
	}
}

// Complete implements Link.
func (l *dedicated) Complete(message Identity) { l.out.putAck(mqtt.TypePubcomp, message.id()) }

// Ping implements Link.
func (l *dedicated) Ping(now time.Duration, t Token) {
	l.spoke(now)
	l.t.ping(t)
}

// Pause implements Link.
func (l *dedicated) Pause() { l.setPaused(true) }

// Resume implements Link.
func (l *dedicated) Resume() { l.setPaused(false) }

func (l *dedicated) setPaused(paused bool) {
	if l.t.keepAlive.setPaused(paused) && l.out.conn != nil {
		l.out.conn.SetPaused(paused)
	}
}

// Home implements Link.
func (l *dedicated) Home() string {
	if l.home == nil {
		return ""
	}
	return withMark(l.home.Address(), l.homeMark)
}

// Nudge implements Link.
func (l *dedicated) Nudge(now time.Duration) { l.spoke(now) }

// Want implements Link.
func (l *dedicated) Want(now time.Duration, wanted bool) {
	if l.state == stateParked {
		l.retry.want(now, wanted, &l.d.opt)
	}
}

// Deadline implements Link.
func (l *dedicated) Deadline() time.Duration {
	if l.events.eventList != nil { // of Flush
		return 0
	}
	at := Never
	switch l.state {
	case stateUp:
		at = min(l.t.deadline(), l.renew.due())
	case stateBackoff, stateParked:
		at = l.retry.at
	case stateConnecting, stateReconnecting, stateClosing, stateReplacing, stateMoving:
		at = l.until
	}
	return min(at, l.drainBy)
}

// Advance implements Link.
func (l *dedicated) Advance(now time.Duration) {
	l.t.now = now
	if now >= l.drainBy {
		l.drainBy = Never
		l.t.forgo()
		l.leave(now, stateClosing)
	}
	switch l.state {
	case stateUp:
		if err := l.t.advance(); err != nil {
			c := l.out.conn
			l.lost(now, err)
			c.Abandon()
		} else if now >= l.renew.due() {
			l.renewDue(now)
		}
	case stateBackoff, stateParked:
		if now >= l.retry.at {
			l.again(now)
		}
	case stateConnecting, stateReconnecting, stateClosing, stateReplacing, stateMoving:
		if now >= l.until {
			l.timedOut(now)
		}
	}
}

// AppendEvents implements Link.
func (l *dedicated) AppendEvents(dst []Event) []Event {
	l.t.renewed.eventsTaken()
	return l.events.appendTo(dst)
}

// Flush implements Link.
func (l *dedicated) Flush(now time.Duration) {
	l.t.now = now
	l.t.flush()
	if l.state == stateUp && l.draining() { // a message of QoS 0 may have been the last that waited
		l.closeDrained(now)
		l.t.flush()
	}
}
