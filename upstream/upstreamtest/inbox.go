package upstreamtest

import "sngate/upstream"

// Inbox is an upstream.Inbox that is a channel.
type Inbox chan upstream.Input

// Push implements upstream.Inbox.
func (b Inbox) Push(in upstream.Input, done <-chan struct{}) bool {
	select {
	case b <- in:
		return true
	case <-done:
		return false
	}
}
