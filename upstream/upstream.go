// Package upstream is the MQTT side of the gateway: MQTT 3.1.1 sessions with a
// broker, one per device.
//
// It is split the way the rest of the gateway is. A [Link] is a state machine
// owned by one goroutine (a shard of the gateway): it holds the in-flight
// messages, the de-duplication of received QoS 2 messages, keep-alive, backoff
// and the order of things, and has no lock and no goroutine of its own. Package dial
// has those: it bounds connects, and one reader goroutine per open connection frames
// and decodes what the broker sends and hands it, as an [Input], to the owner through
// its [Inbox]. Package mqtt has the packets.
//
// What a broker answers is reported in words of this package, such as [Refusal]:
// return codes of MQTT are known to nobody else.
//
// # Calls and results
//
// No method of a Link blocks, and none returns the result of the exchange it
// starts: results come back as an [Event] appended to the Link's event list, which
// the owner collects with [Link.AppendEvents] after each call. An owner that wants to
// stop reading from the broker calls [Link.Pause]: the reader goroutine then stops
// and TCP pushes back, so nothing is lost and nothing acknowledged.
//
// # Time
//
// Every method that depends on time takes it as an argument: the monotonic time
// since the process started. A Link names the time at which it next wants
// [Link.Advance] by [Link.Deadline].
//
// # Ownership of buffers
//
// Topics and payloads passed to a Link are copied before the call returns. Topics
// and payloads in an Event belong to its receiver.
package upstream

import (
	"errors"
	"time"

	"sngate/internal/eventloop"
	"sngate/upstream/dial"
)

// Never is the deadline of something that waits for no time.
const Never = time.Duration(1<<63 - 1)

// Token names one request made of a Link; its result carries the same Token. The
// owner chooses it; 0 means that no result is wanted.
type Token uint32

// Handle names one QoS 1 or 2 message received from the broker, for [Link.Ack].
// 0 means that there is nothing to acknowledge (QoS 0).
type Handle uint32

// Identity names one QoS 2 message of the broker, the same in all its deliveries, connections
// and processes, and another one than any other message that the broker has under way. The
// zero Identity is none's. What is in it is the Link's business; an owner may compare and
// store it.
type Identity [10]byte

// Connect holds what one MQTT CONNECT carries (MQTT 3.1.1 section 3.1).
type Connect struct {
	ClientID     string
	CleanSession bool
	KeepAlive    uint16 // seconds, 0..65535, as told to the broker
	Will         *Will  // nil: no will
	// Home is what Link.Home said in an earlier process, for a Link that has not been
	// connected in this one. Another broker's session is taken for one from before, and
	// SessionPresent is false.
	Home string
	// Unreleased are the QoS 2 messages for which the owner answers, and of which it has not had
	// EventReleased or EventForgotten, in whichever process that was: the Link acknowledges
	// their redelivery (one with DUP), and does not report it, until the broker has lost the
	// session. It does not keep the slice.
	Unreleased []Identity
}

// Will is the message the broker publishes when the connection ends without a
// DISCONNECT (MQTT 3.1.1 section 3.1.2.5).
type Will struct {
	Topic   string
	Message []byte
	QoS     uint8
	Retain  bool
}

// Publish is one message for the broker (MQTT 3.1.1 section 3.3). A Link copies Topic and
// Payload.
type Publish struct {
	Token   Token // of its events; 0: nobody waits for them, as for a will
	Topic   string
	Payload []byte
	QoS     uint8 // 0..2
	Retain  bool

	// Exchange, of a QoS 2 message with a Token, is a number by which the owner names the
	// exchange, because it keeps the message itself and goes on with it after a restart:
	// 1..MaxExchanges and not in use, or the message fails with ErrInvalid. The Link makes
	// the same packet identifier of the same number, in every process. 0: the owner does
	// not go on with it. For other messages it is ignored, as Again and Released are where
	// it is 0.
	//
	// With a number, PUBREC is reported by EventReceived and answered by Link.Release.
	Exchange uint16
	// Again: an earlier process may have written the message. DUP is set from the first
	// time, and Cancel does not take it back before.
	Again bool
	// Released: an earlier process, or an earlier time that the message was with the Link, had
	// the broker's PUBREC. Only PUBREL is sent, as after Link.Release, unless the broker has
	// lost the session since, or has and the owner has not handled the event that says so: then
	// the message is published again and everything begins anew. An owner that has handled it
	// does not set this for messages of the session before.
	Released bool
}

// MaxExchanges is the greatest number of an exchange (Publish.Exchange), and so how many an
// owner may have under way.
const MaxExchanges = 0x7FFF

// ReopenMode says when Link.Reopen connects.
type ReopenMode uint8

// When Link.Reopen connects.
const (
	// ReopenNow connects as soon as there is a slot.
	ReopenNow ReopenMode = iota
	// ReopenWhenNudged waits for Nudge, or another call that a message of the device
	// causes: Publish, Subscribe, Unsubscribe, Ack, Ping.
	ReopenWhenNudged
)

// CloseMode says how a connection ends.
type CloseMode uint8

// How a connection ends.
const (
	// CloseGraceful sends DISCONNECT: the broker discards the will.
	CloseGraceful CloseMode = iota
	// CloseDrain waits, up to Options.DrainTimeout and reconnecting where needed,
	// until everything published is acknowledged, then closes as CloseGraceful does.
	CloseDrain
	// CloseAbort drops the connection without DISCONNECT: the broker publishes the
	// will.
	CloseAbort
)

// EventKind says what an Event reports.
type EventKind uint8

// What an Event reports.
const (
	// EventConnected answers Connect: the broker accepted. SessionPresent is set.
	EventConnected EventKind = iota + 1
	// EventRefused answers Connect: Refusal says how, or Err why no answer was had in time.
	// The Link is closed and does not try again.
	EventRefused
	// EventDown: an accepted connection was lost, or ended because another broker is in
	// use now (ErrMoved). The Link tries again by itself
	// (see EventParked for the exception). Requests in progress stay in progress. It
	// comes again for each try that fails, with Err, or Refusal if the broker refused.
	EventDown
	// EventUp: the Link has reconnected after EventDown. SessionPresent tells
	// whether the broker still has the subscriptions.
	EventUp
	// EventPublished: the QoS 1 or 2 message of Token is with the broker: PUBACK, or PUBCOMP.
	// One of QoS 0 is on its way there, and has no other end.
	EventPublished
	// EventPublishFailed: the message of Token was not sent and will not be. Err says
	// why: refused at once (ErrInvalid, ErrTooLarge, ErrCongested), cancelled or
	// discarded (ErrCancelled), or what connections ended of, time and again, while other
	// messages passed (ErrRejected; Topic, QoS and Retain are set, also where Token is 0
	// because nobody waits for it). The Link has forgotten it. If it was written, the broker may
	// have it all the same. The owner of its Exchange may then publish it once more with
	// the same number and Again, at once or later, which goes on with the same exchange; or
	// give it up, and then not use the number for another message before the broker has
	// begun a new session.
	EventPublishFailed
	// EventSubscribed: the broker answered SUBSCRIBE to Topic: Granted, or Refusal. Err is set
	// when the connection went away first; it is ErrRejected, and Refusal RefusedForGood, when
	// connections end of it time and again.
	EventSubscribed
	// EventUnsubscribed: the broker answered UNSUBSCRIBE (Err as above).
	EventUnsubscribed
	// EventMessage: a message from the broker.
	EventMessage
	// EventPong: everything the broker had sent before it answered the Ping of
	// Token has been reported. Err is set when the connection went away first.
	EventPong
	// EventClosed answers Close: the connection is gone. It comes exactly once for
	// every Close, also when there was none to close.
	EventClosed
	// EventReceived: PUBREC for the message of Token, which has an Exchange. The
	// Link waits for Release. It comes once per session of the broker: again only when
	// the broker has come back without the session and the message was published anew.
	EventReceived
	// EventReleased: the broker's PUBREL for the QoS 2 message of Identity, or one it
	// repeats. The broker does not send that message again, so the owner may forget the
	// identity, and then has PUBCOMP sent by Link.Complete.
	EventReleased
	// EventForgotten: the broker has begun to send another message in place of the QoS 2
	// message of Identity, and so does not send that one again: the owner may forget the
	// identity. A broker that was killed may have lost the end of its work.
	EventForgotten
	// EventDoubted: connections have ended of the message of Token. Other messages go before
	// it now, but for those to its topic.
	EventDoubted
	// EventRepeated: the broker has repeated a message of QoS, and has been acknowledged once
	// more: it may go on behind that.
	EventRepeated
	// EventBadPacket: a packet from the broker was dropped, and acknowledged if it was a
	// PUBLISH, because of what is in it. Err says what; Topic is set if it was a PUBLISH.
	EventBadPacket
	// EventParked: the Link lost its connection alone, probably because the device is
	// connected through another gateway now. It does not connect before Nudge, unless Want
	// says that it is wanted. It comes each time the Link would have connected.
	EventParked
	// EventRenewed: an accepted connection has been replaced by another before its credentials
	// ended, and what was under way still is. SessionPresent is as with EventUp.
	EventRenewed
)

// Event is one thing that happened on a Link. See EventKind for the fields in use.
type Event struct {
	Kind           EventKind
	Token          Token
	Granted        uint8 // EventSubscribed: the QoS, 0..2
	Refusal        Refusal
	SessionPresent bool
	// NoWill, of EventUp and EventRenewed: the connection carries no will. The broker closes those
	// that do, or it may have been taken from another gateway.
	NoWill bool
	// OldWill, of EventRenewed: it carries the will from before the last SetWill.
	OldWill bool
	Err     error

	Identity Identity // EventReleased, EventForgotten, and EventMessage of QoS 2

	// EventMessage only.
	Handle  Handle // to be acknowledged; 0 for QoS 0
	Topic   string
	Payload []byte // nil and Oversize set when larger than Options.MaxPayload
	QoS     uint8
	Retain  bool
	Dup     bool
	// Oversize: the payload was larger than Options.MaxPayload and was skipped
	// unread. The message still has to be acknowledged.
	Oversize bool
}

// Errors an Event may carry, possibly wrapped.
var (
	ErrTimeout    error = dial.ErrTimeout
	ErrBusy       error = dial.ErrBusy
	ErrCancelled  error = dial.ErrCancelled
	ErrCongested        = errors.New("upstream: connection congested")
	ErrMoved            = errors.New("upstream: another broker is in use now")
	ErrLost             = errors.New("upstream: connection lost")
	ErrTooLarge         = errors.New("upstream: message too large for MQTT")
	ErrRejected         = errors.New("upstream: the broker ends the connection on this message")
	ErrUnanswered       = errors.New("upstream: the broker left a packet unanswered")
	ErrInvalid          = errors.New("upstream: not a valid MQTT topic, filter or exchange number")
)

// Link is one device's MQTT session with the broker. All methods are called by its
// owner goroutine only.
type Link interface {
	// Connect opens the session: EventConnected or EventRefused follows within
	// Options.ConnectTimeout, which counts as is said there, and at the latest with that
	// after Options.SlotWait. A connection that is open is closed gracefully first,
	// and its end awaited (at most a second), so that the broker does not take the
	// new one for a takeover. CleanSession discards all state of the Link. Messages
	// published with Token 0 that are still in flight are dropped: they are wills.
	Connect(now time.Duration, c *Connect)

	// Reopen puts a Link that is idle (new, or closed) into the state after a loss, for a
	// session from before a restart: it connects now or when the device speaks, reports
	// EventUp when the broker has accepted and EventDown for each try that fails, pauses
	// in between as after a loss, and never reports EventRefused. Each CONNECT carries c
	// as it is; what is in flight is kept, also with CleanSession. Connects the owner or
	// the device asks for go before. A c too large for MQTT is reported by EventDown and
	// ErrTooLarge, and leaves the Link idle. A Link that is not idle is left as it is.
	Reopen(now time.Duration, c *Connect, when ReopenMode)

	// SetWill makes later reconnects of the Link carry w (nil: none). The connection
	// that is open keeps the will it was opened with.
	SetWill(w *Will)

	// Publish sends a message. For QoS 1 and 2, EventPublished or
	// EventPublishFailed follows, however often the connection is lost in between:
	// the Link keeps a copy, and resends with DUP. QoS 0 has no event and is dropped
	// (counted) while the Link is down or congested.
	Publish(now time.Duration, m Publish)

	// Release lets PUBREL follow for the message of t, after EventReceived: from then on
	// the process may end without the message being published twice or not at all. It
	// holds for later connections, too, until the broker has lost the session. At other
	// times it does nothing.
	Release(now time.Duration, t Token)

	// Await says whether anybody awaits that the broker takes the message of t, as it is
	// when it is published. One that nobody awaits is taken back if it has never been
	// written to a connection: EventPublishFailed with ErrCancelled follows. A message that
	// was written stays in flight, and no event follows now; if the connection is lost, one
	// of QoS 1 is not written to another one, and the event follows then. An exchange of
	// QoS 2 is finished.
	Await(t Token, awaited bool)

	// Retract gives the QoS 1 or 2 message of t back to the owner as it was published, and
	// forgets it: no event follows. Again is set if it may have been written, Released if its
	// PUBREL may have been. Topic and Payload are the owner's. It reports false when the Link
	// does not have the message.
	Retract(t Token) (Publish, bool)

	// Subscribe and Unsubscribe: one event each. The Link does not remember
	// subscriptions; after EventUp without SessionPresent the owner repeats them.
	Subscribe(now time.Duration, t Token, filter string, qos uint8)
	Unsubscribe(now time.Duration, t Token, filter string)

	// Ack acknowledges a received message. Unknown and stale handles are ignored.
	Ack(now time.Duration, h Handle)

	// Complete sends PUBCOMP, after EventReleased in this connection. In a later one the
	// broker asks again.
	Complete(message Identity)

	// Ping sends PINGREQ as a barrier: EventPong.
	Ping(now time.Duration, t Token)

	// Close ends the connection and stops reconnecting: EventClosed. What is in
	// flight to the broker is kept for the next Connect with CleanSession false.
	// Messages received and not acknowledged are not the owner's any more: the broker
	// sends them again.
	Close(now time.Duration, mode CloseMode)

	// Pause stops reading from the broker; Resume goes on. What is already on its
	// way to the owner still comes (a bounded amount). Both are idempotent.
	Pause()
	Resume()

	// Nudge says that the device has spoken.
	Nudge(now time.Duration)

	// Want says, after EventParked, whether there are messages for the broker: then the Link
	// is tried again all the same, after pauses that grow, and without a will. Otherwise it
	// waits for Nudge, as it does until Want is called.
	Want(now time.Duration, wanted bool)

	// Home is the address of the broker that accepted last, and may have the session, and
	// behind it a mark of where that has the topics; "" if none has.
	Home() string

	// Deadline is when the Link next wants Advance, or has something to report; Never if it
	// waits for nothing.
	Deadline() time.Duration
	Advance(now time.Duration)

	// Input takes one Input that was addressed to this Link.
	Input(now time.Duration, in *Input)

	// AppendEvents appends what has happened since the last call to dst.
	AppendEvents(dst []Event) []Event

	// Flush writes what the calls before it have queued, without blocking. The owner
	// calls it once after a batch of calls.
	Flush(now time.Duration)
}

// Input is one thing a connection has to tell its Link. It travels through the
// Inbox of the owner, who passes every Input to Link.Input, whatever has become of
// the Link in between: a connection stops reading while too many of its Inputs are
// outstanding. Its content is the Link's business.
type Input struct {
	Link  Link // where it belongs
	Owner any  // as given to Dialer.NewLink
	in    dial.Input
}

// Looper is an Inbox whose owner waits in a loop for all its connections, and reads them. Its
// methods are called by the owner's goroutine only.
type Looper interface {
	Inbox
	// Loop is that loop; nil: the owner does not read.
	Loop() *eventloop.Loop
	// Now is the time for what has just been read, and Read says that the Link of owner has
	// taken it: the owner asks for its events and calls Flush.
	Now() time.Duration
	Read(owner any)
}

// Inbox is where readers and dialers leave Inputs for the owner of a Link. Push may
// block until there is room, or until done is closed, then it reports false. It is
// called from many goroutines.
type Inbox interface {
	Push(in Input, done <-chan struct{}) bool
}
