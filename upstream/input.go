package upstream

import "sngate/upstream/dial"

// Input is one thing a connection has to tell its Link. It travels through the
// Inbox of the owner, who passes every Input to Link.Input, whatever has become of
// the Link in between: a connection stops reading while too many of its Inputs are
// outstanding. Its content is the Link's business.
type Input struct {
	Link  Link // where it belongs
	Owner any  // as given to Dialer.NewLink
	in    dial.Input
}

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
