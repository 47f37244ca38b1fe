// Package upstreamtest holds what tests of and around package upstream need: a Link
// that records, an Inbox, an in-memory network connection, a small MQTT broker and one
// that misbehaves by script. All of it works in a testing/synctest bubble.
package upstreamtest

import (
	"slices"
	"time"

	"sngate/upstream"
)

// Call is one call of a method of [Link]. Method is its name; the other fields are the
// arguments it has.
type Call struct {
	Method   string
	Connect  *upstream.Connect
	Will     *upstream.Will
	Token    upstream.Token
	Topic    string // or the filter
	Payload  []byte
	QoS      uint8
	Retain   bool
	Exchange uint16
	Identity upstream.Identity
	Awaited  bool
	Again    bool
	Released bool
	Handle   upstream.Handle
	Mode     upstream.CloseMode
	When     upstream.ReopenMode
}

// Link is an upstream.Link that connects to nothing: it lists the calls made, and
// reports the events a test gives it. Deadline, Events, Want, Advance, Input and
// Flush are not listed. It belongs to one goroutine, as every Link does.
type Link struct {
	Calls    []Call
	IsPaused bool          // Pause was called last
	HomeIs   string        // what Home says
	Wanted   bool          // as Want was called last
	Due      time.Duration // what Deadline says; the zero value is Never
	Advanced []time.Duration
	Flushes  int

	queued []upstream.Event
}

var _ upstream.Link = (*Link)(nil)

// Queue adds events for the next AppendEvents.
func (l *Link) Queue(events ...upstream.Event) { l.queued = append(l.queued, events...) }

// Take returns the calls since the last Take.
func (l *Link) Take() []Call {
	calls := l.Calls
	l.Calls = nil
	return calls
}

func (l *Link) record(c Call) { l.Calls = append(l.Calls, c) }

// Want implements upstream.Link.
func (l *Link) Want(_ time.Duration, wanted bool) { l.Wanted = wanted }

// Connect implements upstream.Link.
func (l *Link) Connect(_ time.Duration, c *upstream.Connect) {
	l.record(Call{Method: "Connect", Connect: cloneConnect(c)})
}

// Reopen implements upstream.Link.
func (l *Link) Reopen(_ time.Duration, c *upstream.Connect, when upstream.ReopenMode) {
	l.record(Call{Method: "Reopen", Connect: cloneConnect(c), When: when})
}

func cloneConnect(c *upstream.Connect) *upstream.Connect {
	own := *c
	own.Will, own.Unreleased = cloneWill(c.Will), slices.Clone(c.Unreleased)
	return &own
}

// SetWill implements upstream.Link.
func (l *Link) SetWill(w *upstream.Will) { l.record(Call{Method: "SetWill", Will: cloneWill(w)}) }

func cloneWill(w *upstream.Will) *upstream.Will {
	if w == nil {
		return nil
	}
	own := *w
	own.Message = append([]byte{}, w.Message...)
	return &own
}

// Publish implements upstream.Link.
func (l *Link) Publish(_ time.Duration, m upstream.Publish) {
	l.record(Call{
		Method: "Publish", Token: m.Token, Topic: m.Topic, Payload: append([]byte{}, m.Payload...), QoS: m.QoS, Retain: m.Retain,
		Exchange: m.Exchange, Again: m.Again, Released: m.Released,
	})
}

// Release implements upstream.Link.
func (l *Link) Release(_ time.Duration, t upstream.Token) {
	l.record(Call{Method: "Release", Token: t})
}

// Complete implements upstream.Link.
func (l *Link) Complete(message upstream.Identity) {
	l.record(Call{Method: "Complete", Identity: message})
}

// Retract implements upstream.Link. The link has nothing to give back.
func (l *Link) Retract(t upstream.Token) (upstream.Publish, bool) {
	l.record(Call{Method: "Retract", Token: t})
	return upstream.Publish{}, false
}

// Await implements upstream.Link.
func (l *Link) Await(t upstream.Token, awaited bool) {
	l.record(Call{Method: "Await", Token: t, Awaited: awaited})
}

// Subscribe implements upstream.Link.
func (l *Link) Subscribe(_ time.Duration, t upstream.Token, filter string, qos uint8) {
	l.record(Call{Method: "Subscribe", Token: t, Topic: filter, QoS: qos})
}

// Unsubscribe implements upstream.Link.
func (l *Link) Unsubscribe(_ time.Duration, t upstream.Token, filter string) {
	l.record(Call{Method: "Unsubscribe", Token: t, Topic: filter})
}

// Ack implements upstream.Link.
func (l *Link) Ack(_ time.Duration, h upstream.Handle) { l.record(Call{Method: "Ack", Handle: h}) }

// Ping implements upstream.Link.
func (l *Link) Ping(_ time.Duration, t upstream.Token) { l.record(Call{Method: "Ping", Token: t}) }

// Close implements upstream.Link.
func (l *Link) Close(_ time.Duration, mode upstream.CloseMode) {
	l.record(Call{Method: "Close", Mode: mode})
}

// Pause implements upstream.Link.
func (l *Link) Pause() {
	l.IsPaused = true
	l.record(Call{Method: "Pause"})
}

// Resume implements upstream.Link.
func (l *Link) Resume() {
	l.IsPaused = false
	l.record(Call{Method: "Resume"})
}

// Home implements upstream.Link.
func (l *Link) Home() string { return l.HomeIs }

// Nudge implements upstream.Link.
func (l *Link) Nudge(time.Duration) {
	l.record(Call{Method: "Nudge"})
}

// Deadline implements upstream.Link.
func (l *Link) Deadline() time.Duration {
	if l.Due == 0 {
		return upstream.Never
	}
	return l.Due
}

// Advance implements upstream.Link.
func (l *Link) Advance(now time.Duration) { l.Advanced = append(l.Advanced, now) }

// Input implements upstream.Link.
func (l *Link) Input(time.Duration, *upstream.Input) {}

// AppendEvents implements upstream.Link.
func (l *Link) AppendEvents(dst []upstream.Event) []upstream.Event {
	dst = append(dst, l.queued...)
	l.queued = nil
	return dst
}

// Flush implements upstream.Link.
func (l *Link) Flush(time.Duration) { l.Flushes++ }
