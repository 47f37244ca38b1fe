package upstream

import "sngate/upstream/dial"

// mailbox addresses what the connections of a Link have to tell it. It never changes, so
// they may use it.
type mailbox struct {
	inbox Inbox
	link  Link
	owner any
}

// Push implements dial.Inbox.
func (m *mailbox) Push(in *dial.Input, done <-chan struct{}) bool {
	return m.inbox.Push(Input{Link: m.link, Owner: m.owner, in: *in}, done)
}
