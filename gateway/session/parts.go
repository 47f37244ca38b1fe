package session

// All state of a session is declared here, part by part. What the parts ask each other is in
// questions.go, and what they do in files of their own.

import (
	"sngate/gateway/session/dialogue"
	"sngate/internal/rate"
	"sngate/topicreg"
)

// Session is the gateway's side of one device. All methods are called by
// the one goroutine that owns it. See the package documentation.
type Session struct {
	cfg      *Config
	dialogue dialogue.Dialogue // what the device speaks
	clientID string
	state    State
	clean    bool
	kept     bool // the session outlives its connection (accepted with CleanSession=0)
	assigned bool // the client id is of the shell's making: the device does not know it

	// The parts of the session. Each is a struct with methods of its own, in the files that
	// docs/ARCHITECTURE.md lists; nobody else assigns to its fields.
	journal   journal
	handshake handshake
	presence  presence
	addr      address
	wills     wills
	broker    brokerLink
	ids       topicIDs
	subs      subscriptions
	up        uplink
	down      downlink
	custody   custody
	announcer announcer
	wake      waking
}

// uplink has what the device publishes on its way to the broker: with the link, or in the
// spool.
type uplink struct {
	s *Session

	window []inflight // QoS 1 and 2 PUBLISHes of the device, oldest first
	msgIDs deviceIDs

	messages, octets rate.Bucket // of Config.MessageRate and ByteRate

	spool         spool
	awaitsConnect bool // the first connection to the broker after a restart has neither come nor failed
}

// inflight is one QoS 1 or 2 PUBLISH of the device that is not finished.
type inflight struct {
	waitUntil Time // when the device is refused for now; Never once it is
	token     Token
	sum       uint32 // of what was published
	msgID     uint16
	topicID   uint16
	qos       uint8
	number    uint32 // of the message in the spool
	stage     upState
	stored    bool // there is a RecordReceived
	old       bool // from an earlier connection of the device
}

// deviceIDs tells devices that count their MsgIds from those that use one for all their
// messages: of the former, a QoS 2 PUBLISH with the MsgId of an exchange that has just been
// completed is a duplicate that the network has delivered late; of the latter it is the
// next message. A device that has published once may be either, and is taken for the
// latter: no message is lost then.
type deviceIDs struct {
	last   uint16 // of its last message of QoS 1 or 2; 0: none has come
	counts bool
}

// spool holds messages of the device that are in the store, or on the way there, until
// the broker has them: those of QoS 2, and all while the broker is away or older ones
// wait. It is in the order in which the device sent them.
type spool struct {
	msgs      []spooled
	octets    int
	last      uint32              // number of the newest
	exchange  uint16              // last one begun
	exchanges map[uint16]struct{} // those that are not over
	retryAt   Time                // when the link, which had no room, is asked again
	before    []uint32            // while loading: of RecordReleased
}

// spooled is one of them.
type spooled struct {
	number   uint32 // of RecordSpool; 0: QoS 0 that only keeps its place in memory
	token    Token  // with the link
	at       Time   // when it came
	topic    string
	payload  []byte
	exchange uint16 // QoS 2: its number, see Action.Exchange; 0: none
	qos      uint8
	retain   bool
	stage    upState
	again    bool // the broker may have seen it
	released bool // QoS 2: RecordReleased is in the store
	doubted  bool // connections have ended of it: others go before it, but for those to its topic
}

// downlink has the messages for the device: held, and the one on its way.
type downlink struct {
	s *Session

	queue     queue    // messages for the device
	delivery  delivery // the one being delivered
	retry     retry    // of the PUBLISH or PUBREL under way
	proceedAt Time     // end of the pause after the device's "congestion"
	tallies   tallies
	nextMsgID uint16
	maxSize   uint16 // octets of the longest datagram that the device may be sent
	paused    bool   // the link has been told to stop reading
}

// address is where the device is said to be, and what is known of that.
type address struct {
	s *Session

	reach *reach // account of an address that is not proven; nil: there is no bound
	rival *rival // nil: nobody has contested the session
}

// topicIDs are the normal topic ids of the device, on its way to the store included.
type topicIDs struct {
	s *Session

	topics topicreg.Table
}

// subscriptions are what the device has subscribed to, what it is still to be told of that,
// and what the broker is.
type subscriptions struct {
	s *Session

	list           []subscription
	filterOctets   int32     // of the filters in list
	asked          []request // SUBSCRIBE and UNSUBSCRIBE waiting for the broker
	resubscription resubscription
	resubscribeAt  Time // the first that connections have ended of is due again
}

// handshake is how a device comes and goes.
type handshake struct {
	s *Session

	pending *pendingConnect // not nil while a CONNECT is being carried out
}

// presence is whether the device is there, and when it was last heard.
type presence struct {
	s *Session

	duration uint16 // keep-alive of the last CONNECT, seconds
	sleepFor uint16 // duration of the last DISCONNECT that had one, seconds

	// The CONNECT that was accepted, coming again, means that the CONNACK was lost if
	// nothing else has been heard since (fresh), and that the network has delivered it
	// twice if it comes before lateBefore. Otherwise the device has restarted.
	fresh      bool
	moved      bool // what comes now is the first from a new address
	parked     bool // the device may be connected elsewhere: see EventParked
	accepted   connectParams
	lateBefore Time

	lifeAt   Time  // when silence means loss
	probe    retry // of the PINGREQ sent to a device without keep-alive
	askAt    Time  // parked: when the device is asked whether it is here
	askPause Time  // how long that was put off
}

// wills are the will of the device, and what the broker knows of it.
type wills struct {
	s *Session

	current *Will // what loss publishes; nil: nothing
	carried *Will // the will the connection to the broker was opened with
	// late: current has changed while the link was not up; a connect in progress may carry
	// the one before.
	late bool
	due  bool // current has been given to the link and is not known to be with the broker: see WillDue
}

// brokerLink is the connection to the broker.
type brokerLink struct {
	s *Session

	link      linkState
	closeAs   ActionKind // how it is closed when the spool is empty; 0: the device is connected, or nothing is left
	lastToken Token      // of what has been asked of it
	parked    bool       // EventParked is the last that it has said
	wanted    bool       // what it has been told since
}

// custody is what the gateway answers for of messages of the broker: those held in the store,
// and QoS 2 exchanges over the loss of a connection or a restart.
type custody struct {
	s *Session

	unreleased []unreleased   // QoS 2 messages of the broker that are acknowledged, until its PUBREL
	outgoing   outgoingRecord // as in the store; msgID 0: none
	lastQoS2   sentAs         // the last QoS 2 delivery, for its redelivery by the broker
	lastHeld   uint32         // number of the newest RecordHeld
	lastSlot   uint16         // of the newest RecordExchange
}

// announcer tells the device topic ids that it needs for messages.
type announcer struct {
	s *Session

	reg  *registration // of a topic of the queue; nil: none
	mute bool          // the REGISTER sent last has gone unanswered
}

// waking is a sleeper's wake.
type waking struct {
	s *Session

	barrier barrier
}

// connectParams is what two CONNECTs are compared by.
type connectParams struct {
	clean    bool
	will     bool
	duration uint16
}

// pendingConnect is a CONNECT being carried out: the will being asked for, or the broker's
// answer awaited.
type pendingConnect struct {
	connect  connectParams
	reopen   bool // the broker is to be connected to, with what the CONNECT says
	wake     bool // the device was asleep: it still knows its topic ids
	will     *Will
	willSeen bool  // will replaces the stored one
	retry    retry // of what the device is asked for
}

// subscription is what the broker has granted; it is asked for again when the broker
// has forgotten it.
type subscription struct {
	filter string
	qos    uint8 // as requested

	// Connections have ended of it: when it is asked for again, and the pause before.
	askAt, pause Time
}

// resubscription is the repetition of all subscriptions to a broker that has none of them, or of
// those that are due again, a few at a time.
type resubscription struct {
	token Token // of all its requests
	next  int32 // index of the next subscription
	open  uint8 // requests not answered
	due   bool  // only those that connections have ended of
}

// registration is the REGISTER that tells the device the id of a topic before its first
// message (MQTT-SN 1.2 section 6.10): one at a time. The messages of that topic wait in
// the queue for it; others wait only until it has gone unanswered once.
type registration struct {
	topic   string
	retryAt Time
	phase   announcing
	msgID   uint16
	topicID uint16
	tries   uint8 // how often it has been sent again
	attempts
	overdue bool // other messages pass
	tried   bool // the id is used without REGACK: the device has known it before
	mute    bool // it has begun when the REGISTER before it was left unanswered
	again   bool // it has waited for an id before
	futile  bool // a wake is not kept waiting for it
}

// announcing is what a registration waits for.
type announcing uint8

const (
	allotting   announcing = iota // the store, to have the topic id
	registering                   // REGACK
	waiting                       // an id that can be given to another name
)

// barrier makes sure that what the broker releases because of the acknowledgements of
// a wake is delivered in the same wake: MQTT answers PINGREQ in order, so its PINGRESP
// comes after those messages.
type barrier struct {
	at    Time  // when it is given up
	token Token // of the PINGREQ on its way; 0: none
	done  bool  // no more barriers in this wake

	// rounds is how many PINGREQs what has been acknowledged since the last wake takes, and
	// what the broker could not send because its connection was not read: QoS 1 one, QoS 2
	// two, because there the broker goes on at PUBCOMP. It is sent in answer to the
	// PUBREL which the first PINGRESP comes behind.
	rounds uint8
	sent   int // deliveries begun in this wake
}

// delivery is the message on its way to the device: one at a time (MQTT-SN 1.2 section
// 6.6, mirrored for the gateway).
type delivery struct {
	phase    phase
	idType   dialogue.TopicType
	attempts // of PUBLISH, then of PUBREL
	msgID    uint16
	topicID  uint16
	msg      outgoing
}

// phase is what the device's answer is awaited for.
type phase uint8

const (
	idle       phase = iota
	publishing       // PUBLISH of QoS 1 or 2
	releasing        // PUBREL

	// What the store's answer is awaited for.
	assigning // the MsgId; then PUBLISH of QoS 2
	recording // that PUBREC has come; then PUBREL
)

// unreleased names a QoS 2 message of the broker that the broker has been told about and
// has not released. The link acknowledges its redelivery.
type unreleased struct {
	slot     uint16 // of its record
	identity Identity
}

// outgoingRecord names the QoS 2 delivery to the device that is in progress.
type outgoingRecord struct {
	msgID     uint16
	identity  Identity // zero: the broker does not send the message again
	number    uint32   // of RecordHeld; 0: the message is the broker's
	sum       uint64   // of its content: the number may have come to be another one's
	releasing bool
}

// sentAs remembers under which MsgId a QoS 2 message of the broker was sent to the
// device, until it is acknowledged, so that the broker's redelivery of it does not look new to the device.
type sentAs struct {
	identity Identity // zero: it was held here
	msgID    uint16   // 0: none
}

// linkState is what the session knows of its connection to the broker.
type linkState uint8

const (
	linkClosed  linkState = iota // none, and none wanted
	linkOpening                  // ActionConnect not answered yet
	linkUp
	linkDown    // lost; the link reconnects
	linkClosing // an ActionClose kind not answered yet
)

// over reports whether nothing that the connection brings is wanted any more.
func (l linkState) over() bool { return l == linkClosed || l == linkClosing }

func (s *Session) enter(st *step, state State, why Reason) {
	s.state = state
	st.do(Action{Kind: ActionState, State: state, Reason: why})
}

// after runs c when the records of this step are in the store; at once if it does not wait for
// that.
func (s *Session) after(st *step, p policy, c continuation) {
	if !s.journal.wait(st, p, c) {
		s.run(st, &c, true)
	}
}

func (br *brokerLink) token() Token {
	br.lastToken++
	if br.lastToken == 0 {
		br.lastToken++
	}
	return br.lastToken
}
