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
	"net"
	"sync"
	"time"
)

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

// count counts one of stats up.
func (c *Client) count(counter *uint64) {
	c.mu.Lock()
	*counter++
	c.mu.Unlock()
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

func (s slots) put() { <-s }
