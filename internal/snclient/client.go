// Package snclient is an MQTT-SN 1.2 client: the device's side of the protocol, for
// the command-line clients, tests and load generators of this module.
//
// # Concurrency
//
// A Client has one goroutine, which reads. It answers what the gateway sends,
// matches answers to requests, and keeps the connection alive, with the read
// deadline of the transport as its only timer. Requests are calls that block until
// the gateway answers, with their retransmissions made by the calling goroutine;
// they may come from any number of goroutines. What the specification allows only
// once at a time (REGISTER; SUBSCRIBE or UNSUBSCRIBE; QoS 1 and 2 PUBLISH up to
// Options.Window) waits in line.
//
// # Received messages
//
// Messages go to Options.Handler or, without one, into the bounded channel of
// [Client.Messages]. When the handler returns false or the channel is full the
// message is not taken: at QoS 0 it is lost and counted, at QoS 1 and 2 it is not
// acknowledged, so that the gateway sends it again after its Tretry.
//
// # Retransmission
//
// A request without an answer is repeated every Options.RetryInterval (Tretry), at
// most Options.RetryCount times (Nretry), with DUP where the message has that flag;
// then it fails with ErrTimeout and the client counts as disconnected (MQTT-SN 1.2
// section 6.13).
package snclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Conn is a connected datagram transport: one Write is one datagram. A net.Conn of
// network "udp" is one; Read must return one datagram at a time and heed the
// deadline. Write must not keep the slice.
type Conn interface {
	Read(b []byte) (int, error)
	Write(b []byte) (int, error)
	SetReadDeadline(t time.Time) error
	Close() error
}

// Will is what the broker shall publish when the client is lost (MQTT-SN 1.2
// section 6.3).
type Will struct {
	Topic   string
	Message []byte
	QoS     uint8 // 0..2
	Retain  bool
}

// Options says how a Client behaves. The zero value of each field but ClientID is a
// usable default.
type Options struct {
	// ClientID is 1 to 23 octets by the specification. Longer ones are sent as they
	// are: what to do about them is the gateway's choice.
	ClientID     string
	CleanSession bool
	// KeepAlive is a whole number of seconds, 0 to 65535. 0 switches supervision off.
	// Otherwise PINGREQ is sent early enough for one repetition to be in time.
	KeepAlive time.Duration
	// Will is offered in the will dialogue of every Connect. nil: CONNECT without Will.
	Will *Will

	RetryInterval time.Duration // Tretry, default 10 s
	RetryCount    int           // Nretry, default 3; negative for none
	// Window is how many QoS 1 and 2 PUBLISH exchanges may be open at once, 1 to 1024,
	// default 1 as the specification has it.
	Window int
	// MaxPacketSize is the largest datagram that is read, in octets; what is longer is
	// cut off and so dropped as malformed. Default and maximum 65535.
	MaxPacketSize int

	// Handler takes received messages. It runs on the reading goroutine, one call at
	// a time: it must not block and must not call methods of the Client that wait for
	// the gateway, nor Close. false: the message is not taken (see the package
	// documentation).
	Handler func(Message) bool
	// Buffer is the capacity of the Messages channel without a Handler, default 64.
	Buffer int
	// Predefined gives received pre-defined topic ids their names. It is only read.
	Predefined map[uint16]string

	// Trace sees every datagram sent and received, on the goroutine that sends or
	// receives. It must not keep the slice.
	Trace func(sent bool, datagram []byte)
}

const (
	defaultRetryInterval = 10 * time.Second
	defaultRetryCount    = 3
	defaultBuffer        = 64
	maxWindow            = 1024
	maxPacketSize        = 65535
	maxSeconds           = 65535
)

func (o *Options) check() error {
	if o.ClientID == "" {
		return errors.New("snclient: ClientID is empty")
	}
	if _, err := seconds(o.KeepAlive); err != nil {
		return fmt.Errorf("snclient: KeepAlive: %w", err)
	}
	if o.Will != nil && (o.Will.Topic == "" || o.Will.QoS > 2) {
		return fmt.Errorf("snclient: Will: topic %q, QoS %d: want a topic and QoS 0 to 2", o.Will.Topic, o.Will.QoS)
	}
	if o.Window < 0 || o.Window > maxWindow {
		return fmt.Errorf("snclient: Window %d: want 1 to %d", o.Window, maxWindow)
	}
	if o.MaxPacketSize < 0 || o.MaxPacketSize > maxPacketSize {
		return fmt.Errorf("snclient: MaxPacketSize %d: want 1 to %d", o.MaxPacketSize, maxPacketSize)
	}
	if o.RetryInterval < 0 || o.Buffer < 0 {
		return errors.New("snclient: RetryInterval and Buffer must not be negative")
	}
	return nil
}

func (o *Options) setDefaults() {
	if o.RetryInterval == 0 {
		o.RetryInterval = defaultRetryInterval
	}
	if o.RetryCount == 0 {
		o.RetryCount = defaultRetryCount
	}
	o.RetryCount = max(o.RetryCount, 0)
	o.Window = max(o.Window, 1)
	if o.MaxPacketSize == 0 {
		o.MaxPacketSize = maxPacketSize
	}
	if o.Buffer == 0 {
		o.Buffer = defaultBuffer
	}
}

// seconds turns a duration into a Duration field (u16, seconds).
func seconds(d time.Duration) (uint16, error) {
	if d < 0 || d > maxSeconds*time.Second || d%time.Second != 0 {
		return 0, fmt.Errorf("%v: want whole seconds from 0 to %d", d, maxSeconds)
	}
	return uint16(d / time.Second), nil
}

// State is the client's own view of its connection (MQTT-SN 1.2 section 6.14).
type State uint8

// The states.
const (
	Disconnected State = iota
	Connecting
	Active
	Asleep
	Awake // asleep, but fetching what the gateway holds
)

// String returns the name of the state in lower case.
func (s State) String() string {
	return [...]string{"disconnected", "connecting", "active", "asleep", "awake"}[s]
}

// Stats counts what a Client did since New.
type Stats struct {
	Sent, Received uint64 // datagrams
	Retransmitted  uint64 // of those sent
	Malformed      uint64 // received, and not understood or not meant for a client
	Unexpected     uint64 // received in a state in which nothing may be sent to the client, such as asleep
	Messages       uint64 // taken by the handler or channel
	Duplicates     uint64 // QoS 2 messages received again and not delivered again
	Dropped        uint64 // QoS 0 messages not taken, and lost
	NotTaken       uint64 // QoS 1 and 2 messages not taken, and left unacknowledged
}

// Client is one MQTT-SN client. Make it with New or Dial; end it with Close.
type Client struct {
	conn     Conn
	o        Options
	messages chan Message
	lost     chan error
	done     chan struct{} // closed when the reading goroutine has ended

	// One slot per request that may be open at a time.
	registering, subscribing, publishing slots

	// handling is taken by the reading goroutine while it handles a datagram.
	handling slots

	// wmu is held while a datagram is chosen and written, so that a repetition picked
	// before an answer came cannot be written after what that answer led to: a PUBLISH
	// after its PUBREL would be a second message. Taken before mu.
	wmu sync.Mutex

	// mu guards everything below. It is never held while writing.
	mu            sync.Mutex
	state         State
	closing       bool
	open          map[key]*exchange
	lastID        uint16 // MsgId handed out last
	topics        topicIDs
	inbound       inboundIDs
	connectPacket []byte    // the CONNECT of the latest Connect
	lastSent      time.Time // for the keep-alive: when something was sent that is answered
	pingAt        time.Time // when the keep-alive PINGREQ was last sent
	pings         int       // how often it was sent since the last PINGRESP
	stats         Stats
}

// New makes a Client on a transport, which it then owns: Close closes it. Nothing
// is sent before the first request. It fails on options out of range.
func New(conn Conn, o Options) (*Client, error) {
	c, err := newClient(conn, o)
	if err != nil {
		return nil, err
	}
	go c.read()
	return c, nil
}

// newClient is New without the reading goroutine.
func newClient(conn Conn, o Options) (*Client, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o.setDefaults()
	c := &Client{
		conn:        conn,
		o:           o,
		messages:    make(chan Message, o.Buffer),
		lost:        make(chan error, 1),
		done:        make(chan struct{}),
		registering: newSlots(1),
		subscribing: newSlots(1),
		publishing:  newSlots(o.Window),
		handling:    newSlots(1),
		open:        make(map[key]*exchange),
		topics:      newTopicIDs(),
	}
	if c.o.Handler == nil {
		c.o.Handler = c.enqueue
	}
	return c, nil
}

// Dial makes a Client on a UDP socket connected to address ("host:port").
func Dial(ctx context.Context, address string, o Options) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	c, err := New(conn, o)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the client without a word to the gateway, for which it is then a lost
// client: call Disconnect before for a normal end. Open requests fail with
// ErrClosed. It returns when the reading goroutine has ended.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	err := c.conn.Close()
	<-c.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Messages is the channel received messages go to when Options.Handler is nil. It
// is never closed.
func (c *Client) Messages() <-chan Message { return c.messages }

// Lost reports the end of a connection that the client did not ask for: the gateway
// sent DISCONNECT, stopped answering, or the transport ended. It holds the latest
// such event since the last Connect.
func (c *Client) Lost() <-chan error { return c.lost }

// State returns the client's view of its connection.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Stats returns the counters.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

func (c *Client) enqueue(m Message) bool {
	select {
	case c.messages <- m:
		return true
	default:
		return false
	}
}

// slots limits how many requests of one kind are open.
type slots chan struct{}

func newSlots(n int) slots { return make(slots, n) }

func (s slots) take(ctx context.Context, done <-chan struct{}) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return ErrClosed
	}
}

func (s slots) release() { <-s }
