package gateway

import (
	"strings"
	"time"

	"sngate/gateway/session"
	"sngate/internal/deadline"
)

// isOwn reports whether this is the gateway's own connection.
func (e *entry) isOwn() bool { return e.session == nil }

// partly stands before the home of a session whose subscriptions are being repeated.
// Alone it is no address: earlier versions wrote it so.
const partly = "-"

// homeNow returns the address of the broker that has the session, "" if none ever had.
func (e *entry) homeNow() string {
	home := e.home
	if e.link != nil {
		home = e.link.Home()
	}
	if e.session.Resubscribing() && !strings.HasPrefix(home, partly) {
		home = partly + home
	}
	return home
}

// setHome takes back what homeNow has said in an earlier process.
func (e *entry) setHome(home string) {
	e.home = home
	if rest, found := strings.CutPrefix(home, partly); found && rest != "" {
		e.home = rest
		e.session.Resubscribe()
	}
}

// idle reports whether e has nothing on the way to the broker.
func (e *entry) idle() bool {
	spooled, _ := e.session.Spooled()
	return spooled == 0 && (e.link == nil || e.link.Deadline() == deadline.Never)
}

// keptFor is how long a session of a device that has gone (CleanSession=0) is kept
// however full the gateway is, so that a crowd of strangers cannot push it out.
const keptFor = time.Hour

// known reports whether e has been here for long enough, or has shown that it is where it
// says it is, so that it is not one of a crowd that has just come.
func (e *entry) known(now time.Duration) bool {
	return e.accepted && (now-e.acceptedAt >= keptFor || e.session.Proven())
}

// live reports whether a session in this state could be stolen: one that has ended and
// is kept may come back from anywhere.
func live(st session.State) bool {
	return st != session.StateNew && st != session.StateDisconnected && st != session.StateLost
}

func connected(st session.State) bool {
	return st == session.StateActive || st == session.StateAsleep || st == session.StateAwake
}
