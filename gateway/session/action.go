package session

import "sngate/snpacket/sn12"

// Token names one request made of the upstream link; its result carries the same
// Token. 0 means that no result is wanted.
type Token uint32

// Handle names a QoS 1 or 2 message received from the broker until it is
// acknowledged; 0 for QoS 0.
type Handle uint32

// Will is what is published when the device is lost (MQTT-SN 1.2 section 6.3). It is
// never changed once made, so that it can be shared.
type Will struct {
	Topic   string
	Message []byte
	QoS     uint8
	Retain  bool
}

func (w *Will) equal(v *Will) bool {
	if w == nil || v == nil {
		return w == v
	}
	return w.Topic == v.Topic && string(w.Message) == string(v.Message) && w.QoS == v.QoS && w.Retain == v.Retain
}

// ActionKind says what an Action asks for.
type ActionKind uint8

// What a session asks of its shell. Those up to ActionComplete concern the upstream link.
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

	// PacketID is not 0 when the session has chosen it, for a QoS 2 message that is in the
	// store: then EventReceived is answered with ActionRelease. Again: it may have been
	// sent before. Released: its PUBREL may have been.
	PacketID uint16
	Again    bool
	Released bool
}

// Out collects what one step of a session produces: datagrams for the device,
// actions for the shell, drops to count. The shell owns it, carries it out after the
// step in the order datagrams, actions, and resets it for the next step; nothing is
// allocated once its slices have grown.
type Out struct {
	arena   []byte
	ends    []int // where each datagram ends in arena
	Actions []Action
	Drops   []Reason
	Retries []sn12.Type // messages sent again, to count
	abouts  []aboutDrop // see About

	// Records are changes to be stored together, as one batch. When Batch is not 0, its
	// result is awaited: EventStored.
	Records []Record
	Batch   Token
}

// Reset empties o and keeps its memory, unless a rare huge step has grown it.
func (o *Out) Reset() {
	const keep = 256 << 10
	if cap(o.arena) > keep {
		o.arena = nil
	}
	clear(o.Actions) // lets go of topics and payloads
	clear(o.Records)
	clear(o.abouts)
	o.Records, o.Batch = o.Records[:0], 0
	o.arena, o.ends = o.arena[:0], o.ends[:0]
	o.Actions, o.Drops, o.Retries, o.abouts = o.Actions[:0], o.Drops[:0], o.Retries[:0], o.abouts[:0]
}

// Datagrams returns how many datagrams there are to send.
func (o *Out) Datagrams() int { return len(o.ends) }

// Datagram returns the i-th datagram. It is valid until the next step.
func (o *Out) Datagram(i int) []byte {
	start := 0
	if i > 0 {
		start = o.ends[i-1]
	}
	return o.arena[start:o.ends[i]]
}

// message is what send needs of an MQTT-SN message.
type message interface {
	Append(b []byte) ([]byte, error)
}

// send queues one datagram for the device. Messages are built by the session itself
// and sized before, so Append does not fail; were it to, nothing is sent.
func send[M message](st *step, m M) {
	b, err := m.Append(st.arena)
	if err != nil {
		return
	}
	st.arena = b
	st.ends = append(st.ends, len(b))
}

// raw queues a datagram that has been made before.
func (o *Out) raw(datagram []byte) {
	o.arena = append(o.arena, datagram...)
	o.ends = append(o.ends, len(o.arena))
}

func (o *Out) do(a Action)       { o.Actions = append(o.Actions, a) }
func (o *Out) drop(r Reason)     { o.Drops = append(o.Drops, r) }
func (o *Out) retry(t sn12.Type) { o.Retries = append(o.Retries, t) }
