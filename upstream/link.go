package upstream

import (
	"slices"
	"time"

	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
)

type linkState uint8

const (
	stateIdle    linkState = iota // no connection, and none wanted
	stateDormant                  // reopened; the first connect starts when the device has spoken
	stateOpening                  // a connect waits, dials, or expects CONNACK
	stateUp
	stateBackoff // lost; the next connect starts at retryAt
	stateParked  // lost alone; the next connect starts when the device has spoken, or at retryAt
	stateClosing // DISCONNECT is sent; the broker's end is awaited until closeBy
	stateMoving  // the same; then another broker is connected to
)

const (
	closeWait = time.Second // how long the broker has to end a connection
	// A connection that has lived for settleTime is not part of the fault before it.
	settleTime  = 10 * time.Second
	maxRequests = 64 // SUBSCRIBE, UNSUBSCRIBE and barrier PINGREQ outstanding, each
)

// dedicated is a Link with a connection of its own. All of it belongs to the owner
// goroutine.
type dedicated struct {
	d    *Dialer
	mail mailbox

	now    time.Duration // of the call in progress, where it has one
	params Connect       // of the last Connect; a will of its own
	state  linkState
	conn   *dial.Conn   // opening, up, closing and moving only
	home   *dial.Broker // of the last accepted connection: it may have the session; nil: none

	// What the owner is owed and what it has asked for.
	answer   bool // EventConnected or EventRefused
	closes   int  // EventClosed, this many times
	redial   bool // closing: connect when it is done
	draining bool
	paused   bool
	renewed  bool // the broker has begun a session with this Link
	wanted   bool // see Want
	// willRefused: the broker closes connections at CONNECT with the will of params.
	willRefused bool

	connectBy time.Duration // opening; Never: no time runs before the dial begins
	closeBy   time.Duration // closing and moving
	drainBy   time.Duration // draining
	retryAt   time.Duration // backoff and parked

	// The fault being lived through; see lost.
	attempts  int  // since a connection settled
	brokers   int  // taken into use since one has accepted
	classify  bool // the next expiry of backoff asks whether to park
	quick     bool // lost soon after an automatic reconnect, the device silent
	taken     bool // the broker has said that another connection has the session
	parks     int  // since the device spoke, or a connection lived for long
	automatic bool // the open connection is a reconnect of our own
	upAt      time.Duration
	lostAt    time.Duration
	spokeAt   time.Duration // last sign of life of the device
	mark      lossMark

	keep     keepAlive
	care     caution
	requests []request
	out      outbox
	in       inbound
	wbuf     *mqtt.Buffer // to be written by Flush; nil while empty

	events *eventList
	handed *eventList // given to the owner by Events, until the next call
}

func newDedicated(d *Dialer, inbox Inbox, owner any) *dedicated {
	// A broker that remembers packet identifiers of an earlier life of the gateway
	// would take a new QoS 2 message with one of them for a repetition.
	first := uint16(d.opt.Rand() * MinOwnerID)
	l := &dedicated{d: d, out: outbox{lastID: first}}
	l.mail = mailbox{inbox, l, owner}
	return l
}

// Connect implements Link. A Connect that is followed by another, or by Close,
// before it has been answered gets no answer of its own.
func (l *dedicated) Connect(now time.Duration, c *Connect) {
	l.reclaim()
	l.setParams(c)
	l.answer, l.draining, l.redial = true, false, false
	l.now, l.spokeAt = now, now
	l.attempts, l.parks, l.classify = 0, 0, false
	// What the owner had not acknowledged it has not got any more: the broker sends it again.
	l.in.release()
	// The device is back: a will that has not been published yet would be false.
	l.d.stats.DroppedWills.Add(uint64(l.out.forgo()))
	if c.CleanSession {
		l.discard()
	}
	if err := checkConnect(c); err != nil {
		l.report(Event{Kind: EventRefused, Err: err})
		l.answer = false
		l.leave(now)
		return
	}
	l.connectBy = now + l.d.opt.ConnectTimeout
	l.redial = true
	l.leave(now)
}

// setParams takes over what later connects carry.
func (l *dedicated) setParams(c *Connect) {
	l.params = *c
	l.SetWill(c.Will)
	if l.home == nil {
		l.home = l.d.dial.BrokerAt(c.Home)
	}
}

// SetWill implements Link.
func (l *dedicated) SetWill(w *Will) {
	l.reclaim()
	if w != nil {
		own := *w
		own.Message = slices.Clone(w.Message)
		w = &own
	}
	l.params.Will, l.willRefused = w, false
}

// Close implements Link.
func (l *dedicated) Close(now time.Duration, mode CloseMode) {
	l.reclaim()
	l.now = now
	l.closes++
	l.answer, l.redial = false, false
	l.in.release()
	if mode == CloseDrain && l.out.len() > 0 && l.state != stateIdle && l.state != stateClosing {
		if !l.draining {
			l.draining, l.drainBy = true, now+l.d.opt.DrainTimeout
		}
		l.wake(now)
		return
	}
	l.draining = false
	if mode == CloseAbort && l.conn != nil {
		l.Flush(now)
		l.drop(now)
		return
	}
	l.leave(now)
}

// leave ends the connection in good order: DISCONNECT, then the broker's end. A
// connect that has come as far as dialling is given the time to get there: cut off
// between CONNECT and CONNACK the broker would publish the will.
func (l *dedicated) leave(now time.Duration) {
	switch l.state {
	case stateClosing:
		return
	case stateMoving: // it is on its way
		l.state = stateClosing
		return
	case stateUp:
		l.d.losses.closed()
		l.put(mqtt.TypeDisconnect)
		l.conn.Leave()
	case stateOpening:
		if l.conn.Unqueue() {
			l.conn = nil
			l.ended(now)
			return
		}
		l.conn.Leave()
	default:
		l.ended(now)
		return
	}
	l.state, l.closeBy = stateClosing, now+closeWait
}

// drop ends the connection at once.
func (l *dedicated) drop(now time.Duration) {
	if l.state == stateUp {
		l.d.losses.closed()
	}
	l.cut()
	l.ended(now)
}

// cut lets go of the connection, whatever its state.
func (l *dedicated) cut() {
	if !l.conn.Unqueue() {
		l.conn.Abandon()
	}
	l.conn = nil
	l.dropBuffer()
}

// ended is reached when a connection is gone that was to be ended, and settles what
// waited for it.
func (l *dedicated) ended(now time.Duration) {
	l.conn = nil
	l.dropBuffer()
	l.state = stateIdle
	l.draining = false
	l.dropQoS0()
	l.failRequests()
	for ; l.closes > 0; l.closes-- {
		l.report(Event{Kind: EventClosed})
	}
	if l.redial {
		l.redial = false
		l.dial(now, true)
	}
}

// discard forgets the session: everything in flight, both ways.
func (l *dedicated) discard() {
	for _, t := range l.out.clear() {
		l.report(Event{Kind: EventPublishFailed, Token: t, Err: ErrCancelled})
	}
	l.in.clear()
}

// Pause implements Link.
func (l *dedicated) Pause() { l.setPaused(true) }

// Resume implements Link.
func (l *dedicated) Resume() { l.setPaused(false) }

func (l *dedicated) setPaused(paused bool) {
	l.reclaim()
	if l.paused == paused {
		return
	}
	l.paused = paused
	if l.conn != nil {
		l.conn.SetPaused(paused)
	}
	l.keep.resumed = !paused
}

// Parked implements Link.
func (l *dedicated) Parked() bool { return l.state == stateParked }

// Home implements Link.
func (l *dedicated) Home() string {
	if l.home == nil {
		return ""
	}
	return l.home.Address()
}

// Nudge implements Link.
func (l *dedicated) Nudge(now time.Duration) {
	l.reclaim()
	l.spoke(now)
}

// Deadline implements Link.
func (l *dedicated) Deadline() time.Duration {
	at := Never
	switch l.state {
	case stateOpening:
		at = l.connectBy
	case stateUp:
		at, _ = l.keepAliveDue()
		at = min(at, l.answerDue(), l.provenDue())
	case stateBackoff, stateParked:
		at = l.retryAt
	case stateClosing, stateMoving:
		at = l.closeBy
	}
	if l.draining {
		at = min(at, l.drainBy)
	}
	return at
}

// Advance implements Link.
func (l *dedicated) Advance(now time.Duration) {
	l.reclaim()
	l.now = now
	if l.draining && now >= l.drainBy {
		l.draining = false
		l.d.stats.DroppedWills.Add(uint64(l.out.forgo()))
		l.leave(now)
	}
	switch l.state {
	case stateOpening:
		if now >= l.connectBy {
			c := l.conn
			l.cut()
			l.connectFailed(now, c)
			l.refused(now, 0, ErrTimeout)
		}
	case stateUp:
		if l.keepAliveAdvance(now); l.state == stateUp {
			l.answerAdvance(now)
		}
		if l.state == stateUp && now >= l.provenDue() {
			l.care.proven = true
			l.pump()
		}
	case stateParked:
		if now >= l.retryAt {
			l.dialAgain(now, false)
		}
	case stateBackoff:
		if now >= l.retryAt {
			l.retry(now)
		}
	case stateClosing:
		if now >= l.closeBy {
			l.cut()
			l.ended(now)
		}
	case stateMoving:
		if now >= l.closeBy {
			l.cut()
			l.moved(now)
		}
	}
}

// report appends to the list of events.
func (l *dedicated) report(e Event) {
	if l.events == nil {
		l.events = eventLists.Get().(*eventList)
	}
	l.events.list = append(l.events.list, e)
}

// Events implements Link.
func (l *dedicated) Events() []Event {
	l.reclaim()
	if l.events == nil {
		return nil
	}
	l.handed, l.events = l.events, nil
	return l.handed.list
}

// reclaim takes back the slice given out by Events, so that an idle Link holds none.
func (l *dedicated) reclaim() {
	if l.handed != nil {
		putEvents(l.handed)
		l.handed = nil
	}
}
