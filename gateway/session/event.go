package session

// EventKind says what an Event reports.
type EventKind uint8

// What the upstream link reports to a session.
const (
	EventConnected     EventKind = iota + 1 // answers ActionConnect: SessionPresent
	EventRefused                            // answers ActionConnect: Refused, or NotRefused when there was no answer
	EventDown                               // connection lost; the link tries again
	EventUp                                 // connected again: SessionPresent
	EventParked                             // the link waits for the device to speak before it tries again, or for ActionWant
	EventPublished                          // Token: the message is with the broker
	EventPublishFailed                      // Token: not sent, and will not be
	EventSubscribed                         // Token: Granted or Refused, or Failed
	EventUnsubscribed                       // Token, or Failed
	EventMessage                            // a message from the broker
	EventPong                               // Token, or Failed
	EventClosed                             // answers the ActionClose kinds
	EventReceived                           // Token: PUBREC for a message with an Exchange
	EventReleased                           // Identity: the broker does not send the message again, and waits for ActionComplete
	EventForgotten                          // Identity: the broker does not send the message again, and does not know of it
	EventStored                             // Token: the batch is in the store, or Failed
	EventRepeated                           // QoS: the broker has been acknowledged a message once more, and may go on
	EventDoubted                            // Token: connections have ended of the message; others may go before it
	EventRenewed                            // the connection has been replaced, and what was under way still is: SessionPresent
	EventRetracted                          // answers ActionRetract: Token, Topic, Payload, Retain, Dup; Failed: the link does not have it
)

// Refusal is how the broker refuses a connection or a subscription.
type Refusal uint8

// How the broker refuses.
const (
	NotRefused    Refusal = iota
	RefusedForNow         // it may pass by itself
	RefusedForGood
	RefusedWithoutCredentials // by this side: it is not known as whom to connect
)

// Event is one thing the upstream link reports. Topic and Payload belong to the
// session from then on.
type Event struct {
	Kind           EventKind
	Granted        uint8 // EventSubscribed: the QoS, 0..2
	Refused        Refusal
	SessionPresent bool
	Failed         bool
	Congested      bool // EventPublishFailed: there was no room; it may go later
	Rejected       bool // EventPublishFailed, EventSubscribed: connections end of it time and again
	NoWill         bool // EventUp, EventRenewed: the connection carries no will
	OldWill        bool // EventRenewed: it carries the one from before the last ActionSetWill
	Token          Token

	Identity Identity // EventReleased, EventForgotten, and EventMessage of QoS 2

	// EventMessage only.
	Handle   Handle
	QoS      uint8
	Retain   bool
	Dup      bool
	Oversize bool // the payload was too large and was not read
	Topic    string
	Payload  []byte
}
