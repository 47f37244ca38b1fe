package session

// Token names one request made of the upstream link; its result carries the same
// Token. 0 means that no result is wanted.
type Token uint32

// Handle names a QoS 1 or 2 message received from the broker until it is
// acknowledged; 0 for QoS 0.
type Handle uint32

// ActionKind says what an Action asks for.
type ActionKind uint8

// What a session asks of its shell. Those up to ActionWant concern the upstream link.
const (
	ActionConnect     ActionKind = iota + 1 // open the upstream session: Clean, KeepAlive, Will
	ActionSetWill                           // Will, for later reconnects
	ActionPublish                           // Token, Topic, Payload, QoS, Retain; PacketID, Again, Released
	ActionCancel                            // Token: take the PUBLISH back if it was never written
	ActionKeep                              // Token: take ActionCancel back
	ActionRetract                           // Token: give the message back, to be stored
	ActionSubscribe                         // Token, Topic, QoS
	ActionUnsubscribe                       // Token, Topic
	ActionAck                               // Handle
	ActionPing                              // Token: barrier
	ActionCloseClean                        // DISCONNECT, then close: no will
	ActionCloseDrain                        // the same once everything published is acknowledged
	ActionCloseAbort                        // close without DISCONNECT: the broker publishes the will
	ActionPause                             // stop reading from the broker
	ActionResume                            // go on reading
	ActionReopen                            // open it as after a loss, until it succeeds: Clean, KeepAlive, Will; Lazy
	ActionRelease                           // Token: PUBREL may be sent
	ActionComplete                          // PacketID: PUBCOMP may be sent
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

	// Lazy: not before the device speaks.
	Lazy bool

	// Wanted: there are messages for the broker, so the link is to be tried again.
	Wanted bool

	// PacketID is not 0 when the session has chosen it, for a QoS 2 message that is in the
	// store: then EventReceived is answered with ActionRelease. Again: it may have been
	// sent before. Released: its PUBREL may have been.
	PacketID uint16
	Again    bool
	Released bool
}
