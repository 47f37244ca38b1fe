// Package dial connects to brokers: it says when a connect begins (slots and pace), to which
// of several brokers (fail-over and the way back), and reads and writes the connections. What
// has a lock or a goroutine is here; what a connection is used for is its owner's business.
package dial

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// Errors of a connect or of a connection, possibly wrapped.
var (
	ErrTimeout   = errors.New("upstream: no answer in time")
	ErrBusy      = errors.New("upstream: too many connects waiting")
	ErrCancelled = errors.New("upstream: cancelled")
	// ErrUnsent: nothing was sent, so that it says nothing of the broker.
	ErrUnsent = errors.New("upstream: not connected to the broker")
)

// Options configures a [Dialer]. upstream.Options says more of each field.
type Options struct {
	Addresses      []string      // host:port each; the first is preferred
	FailBack       time.Duration // how often the preferred broker is tried while another is in use; 0: never
	Probe          Greeter       // of those trials
	ConnectTimeout time.Duration // of those trials
	MaxDials       int           // connects in progress
	DialRate       int           // connects begun per second; 0: any number
	MaxWaiting     int           // connects in each queue
	// ConnectInterval is the least time between two CONNECTs of one client, or with one client id, to whichever
	// broker. 0: any. A connect that comes sooner waits, without a slot.
	ConnectInterval time.Duration
	Quiet           time.Duration // a broker with open connections that was heard in this time does not fail
	WriteTimeout    time.Duration // a write may make no progress for so long
	MaxPayload      int           // bytes of a received PUBLISH; a larger one is skipped
	Moved           func(from, to string)
	Trace           func(owner any, sent bool) (show func(packet string))
	Dial            func(ctx context.Context, network, address string) (net.Conn, error)
}

// Greeting is how a client presents itself to a broker.
type Greeting struct {
	Client string // who connects, for Options.ConnectInterval
	// Secure is given the connection, and returns the one to use, as of TLS or WebSocket, or an
	// error and has closed it. nil: the connection is used as it is.
	Secure func(ctx context.Context, nc net.Conn) (net.Conn, error)
	// Hello returns CONNECT when the connection is there, and the client id in it. An error: nothing
	// is sent.
	Hello func() (packet []byte, clientID string, err error)
}

// Greeter returns the Greeting for the broker at an address. It is asked by the goroutine of a
// connect that has its slot, so it may read files. An error: nothing is dialled.
type Greeter func(address string) (Greeting, error)

// Stats counts what connections do, by MQTT control packet type where it is an array of 16
// (MQTT 3.1.1 section 2.2.1). Fields are read at any time; each only grows, except the three
// gauges.
type Stats struct {
	// Connects. A connect that was cancelled by its owner is counted as failed.
	DialsStarted   atomic.Uint64
	DialsSucceeded atomic.Uint64
	DialsFailed    atomic.Uint64
	DialsBusy      atomic.Uint64    // refused at once: too many waiting
	Refusals       [7]atomic.Uint64 // CONNACK by return code; [6] is every code above 5

	// Gauges.
	Dialling atomic.Int64 // connects in progress
	Waiting  atomic.Int64 // connects waiting for a slot
	Open     atomic.Int64 // accepted connections

	Failovers atomic.Uint64 // the next broker was taken into use because one had failed
	FailBacks atomic.Uint64 // the preferred broker was taken into use again

	PacketsIn      [16]atomic.Uint64
	PacketsOut     [16]atomic.Uint64 // CONNECT; the others are counted by owners
	BytesIn        atomic.Uint64
	BytesOut       atomic.Uint64
	Oversize       atomic.Uint64 // payloads skipped unread
	ProtocolErrors atomic.Uint64 // connections ended because of what the broker sent
	BadPackets     atomic.Uint64 // packets dropped because of what is in them
	WriteStalls    atomic.Uint64 // connections ended because the broker did not read
}
