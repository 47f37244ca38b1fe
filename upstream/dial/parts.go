package dial

import (
	"container/list"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sngate/internal/eventloop"
	"sngate/internal/rate"
	"sngate/upstream/mqtt"
)

// Dialer opens connections to one broker, or to whichever of several is in use, and bounds
// what that costs: at most Options.MaxDials connects are in progress at once and
// Options.DialRate are begun in a second, the others wait in bounded queues in which they
// are no more than an entry: those a device waits for, and after them the others. It is
// safe for concurrent use.
type Dialer struct {
	opt   Options
	stats *Stats

	mu       sync.Mutex
	active   int       // slots taken
	urgent   list.List // of *Conn: a device waits for it
	waiting  list.List // of *Conn
	pace     pace
	resting  []chan *Conn       // workers that wait for a connect; none when no connect waits
	answered time.Time          // when a connect was answered last
	conns    map[*Conn]struct{} // with a goroutine
	interval *interval
	late     map[*Conn]struct{} // put off, see interval
	closed   bool
	fail     failover
	life     context.Context // ends with Close
	end      context.CancelFunc
	wg       sync.WaitGroup
}

// Conn is one attempt to connect and the connection it leads to. It has one goroutine at a
// time, a worker of the Dialer and after it the reader, or the owner where that has a loop;
// what is said below c.mu that shares with the owner and with the flusher, a goroutine that
// exists only while a broker does not take what is written.
//
// To an owner that has not abandoned it, a Conn pushes exactly one last Input:
// Refused or Ended.
type Conn struct {
	d      *Dialer
	req    Request       // Paused: of mu; Greet: of the worker
	done   chan struct{} // closed when the owner wants to hear no more
	queued *list.Element // in Dialer.urgent or Dialer.waiting; of Dialer.mu
	urgent bool          // in Dialer.urgent; of Dialer.mu

	// Set with the slot.
	broker *Broker // nil: there was none yet
	began  time.Time
	turn   turn

	serving, moving bool // accepted; asked to move to another broker; of Dialer.mu

	backlog atomic.Int64 // bytes pending or being written
	starved atomic.Bool  // the owner waits for Writable

	mu        sync.Mutex
	readable  sync.Cond // of mu: the reader may go on
	cancel    context.CancelFunc
	nc        *line
	wr        writer
	abandoned bool
	cause     error                       // why this side closed it; nil: it did not
	leaving   bool                        // DISCONNECT is sent: read on to the end, paused or not
	owed      struct{ inputs, bytes int } // what the owner has not taken in
	pending   []byte
	flushing  bool

	looped *looped // nil: a reader goroutine reads; set before Accepted is pushed
}

// turn is when a connect may begin that has come too soon, and from when its time counts. It
// belongs to the Dialer's lock.
type turn struct {
	timer  *time.Timer // it is put off; nil: it is not
	freed  time.Time   // it was put off until then
	before time.Time   // when the broker had last answered a connect, or freed if that is later; of the slot
}

// line is a connection to a broker.
type line struct {
	net.Conn        // that MQTT goes over
	under    *below // what that is TLS or WebSocket over; nil: it is the socket
	// hello returns CONNECT when it may be sent, unless done is closed before; nil: it is sent.
	hello func(done <-chan struct{}) ([]byte, error)
}

// below is the connection below TLS: the socket, until the owner of the Conn reads it in its
// loop. From then on nothing blocks. Read says mqtt.ErrAgain where nothing has come, after which
// TLS goes on. Write takes all, because TLS would not go on after an error: it is a part of the
// records that follow. The Conn writes that to the socket.
//
// It belongs to the Conn's worker, and after that to the owner's goroutine.
type below struct {
	net.Conn // the socket

	in      io.Reader    // of the socket, without blocking; nil: it blocks
	left    int          // octets that may be read in this turn
	dry     bool         // in this turn the socket has had less than was asked for: ask no more
	out     *mqtt.Buffer // what TLS has written; nil: nothing
	answers int          // octets that it has written by itself while others waited
}

// Request says how to connect.
type Request struct {
	Greet    Greeter
	Inbox    Inbox
	Loop     *eventloop.Loop // the owner's goroutine waits in it, and reads the connection if it can; nil: it does not
	Owner    any             // for Options.Trace
	Announce bool            // push Dialling
	Hold     chan struct{}   // push Opened, and send CONNECT when it is closed; nil: at once
	Paused   bool            // as Conn.SetPaused
	Unacked  time.Duration   // while paused the system ends a connection whose octets are unacknowledged for so long, where it can
}

// reader is what the reader goroutine works with. It is not on its stack, which has to
// stay at the two kilobytes a goroutine begins with.
type reader struct {
	mqtt.Decoder
	in Input
}

// Broker is one of the brokers of a Dialer.
type Broker struct {
	address string
	quiet   time.Duration // see serving
	open    atomic.Int64  // connections it has accepted and that are open
	heardAt atomic.Int64  // last packet from it, give or take a second
	seen    atomic.Uint32 // bits of First
}

// failover says which broker is in use. There is one for all Links of a Dialer, because
// the devices behind them want to reach each other. It is guarded by Dialer.mu.
type failover struct {
	brokers  []Broker // as configured: the first is preferred
	current  int
	failures int           // connects to it that came to nothing, in a row
	since    time.Duration // the first of them began
	moves    int           // since a broker has answered
	watching bool          // there is a goroutine watch
	moved    chan struct{} // wakes it
}

// pace spreads connects over time: so many per second, with what a tenth of a second
// brings at once. Those that wait for their time are begun in slices, not one by one: a
// wake-up for each would cost more than the connect, and what begins together shares the
// wake-ups and the commits that follow. It belongs to the Dialer's lock. The zero value does
// not wait.
type pace struct {
	limit  rate.Limit
	bucket rate.Bucket
	began  time.Time   // from where its times are counted
	timer  *time.Timer // of the next slice
	armed  bool        // the timer runs: until then no connect begins
}

// looped is the read side of a Conn whose owner waits in a loop, and reads it: there is no
// reader goroutine then. What the owner is told of what it has read does not go through its
// inbox, so nothing has to bound that.
//
// All of it belongs to the owner's goroutine, but for released.
type looped struct {
	loop     *eventloop.Loop
	fd       int // of the socket of Conn.nc
	rd       *reader
	attached bool        // loop waits for fd
	released atomic.Bool // the connection is closed, and the Dialer knows
}

// Input is one thing a Conn has to tell its owner, who calls Done for each: a Conn stops
// reading while too many are outstanding.
type Input struct {
	Conn   *Conn
	Kind   Kind
	Err    error
	Packet mqtt.Packet
	size   int // bytes of credit it holds; 0: none
}

// Inbox is where a Conn leaves Inputs for its owner. Push copies in. It may block until
// there is room, or until done is closed, then it reports false. It is called from many
// goroutines.
type Inbox interface {
	Push(in *Input, done <-chan struct{}) bool
	// Deliver is Push by the goroutine of Request.Loop: the owner takes in at once.
	Deliver(in *Input)
}

// Kind says what an Input tells.
type Kind uint8

// What an Input tells.
const (
	Received Kind = iota + 1 // Packet
	Dialling                 // the Conn has a slot; only if it announces that
	Opened                   // there is a connection, over which CONNECT can be sent; only if it holds that back
	Accepted                 // CONNACK with code 0: Packet
	Refused                  // no connection: Packet.Code or Err. The last Input of its Conn.
	Ended                    // an accepted connection is gone: Err. The last Input of its Conn.
	Move                     // another broker is in use now
	Writable                 // everything that was pending has been written
)

func newConn(d *Dialer, r *Request) *Conn {
	c := &Conn{d: d, req: *r, done: make(chan struct{})}
	c.readable.L = &c.mu
	return c
}
