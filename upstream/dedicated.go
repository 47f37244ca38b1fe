package upstream

import (
	"time"

	"sngate/upstream/dial"
)

// dedicated is a Link with a connection of its own: it says when there is one (connection.go),
// and leaves what goes over it to its traffic. All of it belongs to the owner goroutine.
type dedicated struct {
	d      *shared
	mail   mailbox
	events eventLog
	params Connect // of the last Connect; a will of its own
	// willRefused: the broker closes connections at CONNECT with the will of params.
	willRefused bool

	state     linkState
	until     time.Duration // the end of connecting, reconnecting, closing, replacing and moving
	connectBy time.Duration // replacing: the end of the connecting that follows
	home      *dial.Broker  // of the last accepted connection: it may have the session; nil: none
	closes    int           // EventClosed is owed, this many times
	drainBy   time.Duration // a CloseDrain waits until then; Never: none does

	retry retry
	out   output
	t     traffic
}

func newDedicated(d *shared, inbox Inbox, owner any) *dedicated {
	l := &dedicated{d: d, drainBy: Never, out: output{d: d}}
	l.mail = mailbox{inbox, l, owner}
	l.t = newTraffic(d, &l.events, &l.out)
	return l
}

func (l *dedicated) draining() bool { return l.drainBy != Never }
