package session

// Token names one request made of the upstream link; its result carries the same
// Token. 0 means that no result is wanted.
type Token uint32

// Handle names a QoS 1 or 2 message received from the broker until it is
// acknowledged; 0 for QoS 0.
type Handle uint32

// Identity names a QoS 2 message of the broker, in all its deliveries, after a restart too. What
// is in it is the link's business. The zero Identity is none's.
type Identity [10]byte

// ActionKind says what an Action asks for.
type ActionKind uint8

// What a session asks of its shell. Those up to ActionWant concern the upstream link.
const (
	ActionConnect     ActionKind = iota + 1 // open the upstream session: Clean, KeepAlive, Will, Taken
	ActionSetWill                           // Will, for later reconnects
	ActionPublish                           // Token, Topic, Payload, QoS, Retain; Exchange, Again, Released
	ActionAwait                             // Token, Awaited: whether the device waits for the PUBLISH; if not, take it back if it was never written
	ActionRetract                           // Token: give the message back, to be stored
	ActionSubscribe                         // Token, Topic, QoS
	ActionUnsubscribe                       // Token, Topic
	ActionAck                               // Handle
	ActionPing                              // Token: barrier
	ActionCloseClean                        // DISCONNECT, then close: no will
	ActionCloseDrain                        // the same once everything published is acknowledged
	ActionCloseAbort                        // close without DISCONNECT: the broker publishes the will
	ActionPause                             // stop reading from the broker
	ActionResume                            // read from the broker again
	ActionReopen                            // open it as after a loss, until it succeeds: Clean, KeepAlive, Will, Taken; Lazy
	ActionRelease                           // Token: PUBREL may be sent
	ActionComplete                          // Identity: PUBCOMP may be sent
	ActionWant                              // after EventParked: Wanted
	ActionState                             // the session has entered State because of Reason (to log)
	ActionFree                              // the session is over; forget it
	ActionGivenUp                           // a message for the device is given up: Reason, Topic, Payload, QoS (to log)
)

// Action is one thing a session asks of its shell. See ActionKind for the fields in
// use.
type Action struct {
	Kind      ActionKind
	QoS       uint8
	Retain    bool
	Clean     bool
	KeepAlive uint16 // seconds
	State     State
	Reason    Reason
	Token     Token
	Handle    Handle
	Topic     string
	Payload   []byte // aliases the datagram that is being handled, or is shared: copy it
	Will      *Will

	Unreleased []Identity // QoS 2 messages of the broker that are ours: the link acknowledges their redelivery
	Identity   Identity

	// Lazy: not before the device speaks.
	Lazy bool
	// Wanted: there are messages for the broker, so the link is to be tried again.
	Wanted  bool
	Awaited bool

	// Exchange, 1..MaxExchanges, is the number of the exchange of a QoS 2 message that is in
	// the store, the same whenever and wherever it is sent, and no other's before it is over:
	// then EventReceived is answered with ActionRelease. 0: there is none. Again: it may have
	// been sent before. Released: its PUBREL may have been.
	Exchange uint16
	Again    bool
	Released bool
}

// Will is what is published when the device is lost (MQTT-SN 1.2 section 6.3). It is
// never changed once made, so that it can be shared.
type Will struct {
	Topic   string
	Message []byte
	QoS     uint8
	Retain  bool
}
