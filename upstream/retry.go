package upstream

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"sngate/upstream/mqtt"
)

const (
	// A connection that has lived for stableTime is not part of the fault before it.
	stableTime = 10 * time.Second
	// longLife is how long a connection has to live to say that no other gateway wants the
	// session.
	longLife = 10 * time.Minute
	maxParks = 6 // how often the pause of a parked Link doubles at the most
	// Where there are several brokers the first quickTries pauses are at most twice quickPause,
	// so that a gateway with few Links finds out soon, too.
	quickTries = 6
	quickPause = 2 * time.Second
)

// retry says when a Link connects again by itself after a loss, and whether at all.
//
// The latter is decided when the first pause is over, because by then it shows who else was
// lost. If the broker closed this connection and left the most of the others alone, the
// device has probably connected through another gateway: coming back would take the session
// away from it, and so on for ever. So the Link parks: until the device speaks here, or for a
// long pause if there are messages for the broker (see Link.Want). A Link without company
// cannot compare; it parks when the broker closed it twice in a row, the second time within
// stableTime of a reconnect of its own, and the device was silent in between. A connection
// that ended while the broker owed an answer is not taken for a takeover: see blame.
type retry struct {
	at       time.Duration // of the next connect; backoff and parked
	attempts int           // since a connection was stable
	brokers  int           // taken into use since one has accepted
	parks    int           // since the device spoke, or a connection lived for long
	wanted   bool          // parked: see Link.Want
	spokeAt  time.Duration // last sign of life of the device

	// Of the open or last connection.
	upAt      time.Duration
	lostAt    time.Duration
	automatic bool // it is a reconnect of our own
	mark      lossMark

	// Of the last loss.
	classify  bool // the next expiry of backoff asks whether to park
	quick     bool // lost soon after an automatic reconnect, the device silent
	takenOver bool // the broker has said that another connection has the session
}

// begin forgets the fault being lived through.
func (r *retry) begin() { r.attempts, r.parks, r.classify = 0, 0, false }

// spoke notes a sign of life of the device.
func (r *retry) spoke(now time.Duration) { r.spokeAt, r.parks = now, 0 }

// up notes that the broker has accepted; own: a connect the owner did not ask for.
func (r *retry) up(now time.Duration, own bool) {
	r.upAt, r.automatic, r.brokers = now, own, 0
}

// lost notes the end of a connection that nobody asked for: owed answers were awaited, and
// progress had been made.
func (r *retry) lost(now time.Duration, err error, mark lossMark, owed int, progress bool) {
	r.mark, r.lostAt = mark, now
	byPeer, short := endedByPeer(err), now-r.upAt < stableTime
	r.takenOver = saysTakenOver(err)
	r.classify = byPeer && owed == 0 || saysGoodbye(err) || r.takenOver
	r.quick = byPeer && short && r.automatic && r.spokeAt <= r.upAt
	if !short || progress {
		r.attempts = 0
	}
	if now-r.upAt >= longLife {
		r.parks = 0
	}
}

// connectFailed notes a connect that came to nothing; outdated: another broker is in use now.
// That is tried soon; but each only once, or a failure of all would be one of short pauses.
func (r *retry) connectFailed(outdated bool, o *Options) {
	if outdated && r.brokers < len(o.Fallbacks) {
		r.attempts = 0
		r.brokers++
	}
}

// pause plans the next connect: after ReconnectMin doubling to ReconnectMax, each time
// between the half and the whole of the interval, but never less than ReconnectMin.
func (r *retry) pause(now time.Duration, o *Options, longest bool) {
	lo, half := o.ReconnectMin, o.ReconnectMax/2
	if len(o.Fallbacks) > 0 && r.attempts < quickTries && !longest {
		half = min(half, quickPause)
	}
	for range r.attempts {
		if lo >= half {
			break
		}
		lo *= 2
	}
	if lo = max(min(lo, half), o.ReconnectMin); longest {
		lo = max(half, o.ReconnectMin)
	}
	span := min(lo, o.ReconnectMax-lo)
	r.attempts++
	r.at = now + lo + time.Duration(o.Rand()*float64(span))
}

// elsewhere reports, when a pause is over, whether the device has probably connected through
// another gateway. soon: it cannot be told yet, but at r.at.
func (r *retry) elsewhere(now time.Duration, all *losses) (yes, soon bool) {
	if !r.classify {
		return false, false
	}
	r.classify = false
	isolated, lone := all.alone(r.mark)
	if r.spokeAt > r.lostAt || !r.takenOver && !isolated && !(lone && r.quick) {
		return false, false
	}
	if seen := r.lostAt + lossSlots*lossSlot; now < seen && !r.takenOver { // a broker may take its time to die
		r.classify, r.at = true, seen
		return false, true
	}
	return true, false
}

// park has the Link wait for the device.
func (r *retry) park() {
	r.parks++
	r.at, r.wanted = Never, false
}

// want has a parked Link wait for a long pause, if there are messages for the broker.
func (r *retry) want(now time.Duration, wanted bool, o *Options) {
	if r.wanted == wanted {
		return
	}
	r.wanted, r.at = wanted, Never
	if wanted {
		span := max(o.ReconnectMax/2, o.ReconnectMin) << min(r.parks-1, maxParks)
		r.at = now + span + time.Duration(o.Rand()*float64(span))
	}
}

// saysGoodbye reports whether the broker has ended the connection by DISCONNECT without a
// reason, as brokers do at a takeover and at a stop.
func saysGoodbye(err error) bool { return errors.Is(err, mqtt.Disconnected(0)) }

// saysTakenOver reports whether it has, because another connection has the session.
func saysTakenOver(err error) bool { return errors.Is(err, mqtt.Disconnected(mqtt.CodeTakenOver)) }

// endedByPeer reports whether a reader ended with err because the broker closed.
func endedByPeer(err error) bool {
	var d mqtt.Disconnected
	return errors.As(err, &d) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, net.ErrClosed)
}
