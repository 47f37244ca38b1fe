package upstream

import (
	"time"

	"sngate/internal/eventloop"
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
	connectBy time.Duration // the end of the last Connect, if it has not had to wait for a slot
	greeting  *greeting     // of the connect in progress; nil: there is none
	home      *dial.Broker  // of the last accepted connection: it may have the session; nil: none
	homeMark  mapMark       // of the topics of that session
	closes    int32         // EventClosed is owed, this many times
	drainBy   time.Duration // a CloseDrain waits until then; Never: none does

	retry retry
	renew *renewing // nil: the credentials of the connection do not end
	out   output
	t     traffic
}

func newDedicated(d *shared, inbox Inbox, owner any) *dedicated {
	l := &dedicated{d: d, drainBy: Never, out: output{d: d}}
	l.mail = mailbox{inbox: inbox, link: l, owner: owner}
	l.mail.looper, _ = inbox.(Looper)
	l.t = newTraffic(d, &l.events, &l.out)
	return l
}

func (l *dedicated) draining() bool { return l.drainBy != Never }

// mailbox addresses what the connections of a Link have to tell it. It never changes, so
// they may use it.
type mailbox struct {
	inbox  Inbox
	looper Looper // inbox, if it is one; or nil
	link   *dedicated
	owner  any
}

// loop is the loop that the owner waits in; nil: it does not.
func (m *mailbox) loop() *eventloop.Loop {
	if m.looper == nil {
		return nil
	}
	return m.looper.Loop()
}

// Push implements dial.Inbox.
func (m *mailbox) Push(in *dial.Input, done <-chan struct{}) bool {
	return m.inbox.Push(Input{Link: m.link, Owner: m.owner, in: *in}, done)
}
