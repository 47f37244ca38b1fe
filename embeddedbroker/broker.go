// Package embeddedbroker runs an MQTT broker (3.1, 3.1.1 and 5) inside the
// process, so that a gateway with no broker at hand is a working system. It is
// the only package that knows which broker that is.
//
// It serves anonymous clients over plain TCP and keeps everything in memory:
// retained messages and sessions are gone after a restart. It is meant for
// trials and for a single field gateway, not as the broker of a fleet.
//
// Everything it keeps is bounded: connections, sessions, subscriptions and
// unacknowledged messages of a session, the size of a packet, and the bytes of
// retained messages. What is beyond a bound is refused or dropped, and logged.
package embeddedbroker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
)

const (
	// DefaultMaxClients is Options.MaxClients where that is zero.
	DefaultMaxClients = 10_000

	maxPacketBytes      = 256 << 10 // of an MQTT packet; an MQTT-SN message has at most 65,535
	maxInflight         = 1024      // unacknowledged QoS 1 and 2 messages of a session, connected or not
	maxPendingWrites    = 1024      // packets queued for one connection
	maxSubscriptions    = 1024      // of a session
	maxRetainedBytes    = 64 << 20  // of all retained messages together, see retainedCost
	sessionExpirySecs   = 7 * 24 * 3600
	sysTopicSecs        = 60 // each round stops the world for memory statistics
	connBufferBytes     = 1024
	maxTopicAliases     = 32
	oldestVersion       = 3 // MQTT 3.1
	logBurst            = 10
	logPerMinute        = 3
	maxLoggedValueBytes = 200
)

// Options configure the broker.
type Options struct {
	// Address is the TCP address to listen on, "host:port"; port 0 picks a free
	// one, an empty host means every interface.
	Address string

	// MaxClients bounds open connections, and by itself the sessions kept for
	// clients that are away. 0 means DefaultMaxClients. Each connected client
	// costs about 20 KiB.
	MaxClients int

	// Log receives warnings and errors, rate-limited, in the form of a message
	// and alternating keys and values; nil discards them. It is called from
	// several goroutines at once and must not block.
	Log func(level slog.Level, message string, fields []any)
}

// Broker is a running broker. Its methods may be called from any goroutine.
type Broker struct {
	server   *mqtt.Server
	listener *listener
	once     sync.Once
	closed   error // result of Close; written inside once
}

// Start listens on opts.Address and serves until Close. The error says so where
// the address is taken by another program.
func Start(opts Options) (*Broker, error) {
	if opts.MaxClients <= 0 {
		opts.MaxClients = DefaultMaxClients
	}
	logger := slog.New(newLogHandler(opts.Log))
	tcp, err := net.Listen("tcp", opts.Address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("built-in broker: address %s is in use, perhaps by another MQTT broker: set broker.url to use that one, or give the built-in broker another embedded_broker.address: %w", opts.Address, err)
	}
	if err != nil {
		return nil, fmt.Errorf("built-in broker: %w", err)
	}

	server := mqtt.New(&mqtt.Options{
		Capabilities:             capabilities(opts.MaxClients),
		ClientNetReadBufferSize:  connBufferBytes,
		ClientNetWriteBufferSize: connBufferBytes,
		SysTopicResendInterval:   sysTopicSecs,
		Logger:                   logger,
	})
	b := &Broker{server: server, listener: newListener(tcp, opts.MaxClients, logger)}
	if err := b.serve(opts.MaxClients, logger); err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("built-in broker: %w", err)
	}
	return b, nil
}

func (b *Broker) serve(maxClients int, logger *slog.Logger) error {
	if err := b.server.AddHook(newRules(b.server, maxClients, logger), nil); err != nil {
		return err
	}
	if err := b.server.AddHook(newPacketIDs(), nil); err != nil {
		return err
	}
	if err := b.server.AddListener(b.listener); err != nil {
		return err
	}
	return b.server.Serve()
}

// Addr is the address it listens on, with the port that was picked.
func (b *Broker) Addr() net.Addr { return b.listener.tcp.Addr() }

// Close closes the listener and every connection, without DISCONNECT, and
// returns when their goroutines are done. Further calls return the same result.
func (b *Broker) Close() error {
	b.once.Do(func() { b.closed = b.server.Close() })
	return b.closed
}

// Loopback reports whether address, a "host:port" as in Options.Address, can be
// reached from this machine only. The broker lets everyone in, so a caller
// warns where it is false. Names other than "localhost" count as reachable.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func capabilities(maxClients int) *mqtt.Capabilities {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumClients = int64(maxClients)
	c.MaximumClientWritesPending = maxPendingWrites
	c.MaximumSessionExpiryInterval = sessionExpirySecs
	// The interval also removes retained messages, which MQTT 3.1.1 keeps until
	// they are replaced. The bounds on count and bytes do without it.
	c.MaximumMessageExpiryInterval = 0
	c.MaximumPacketSize = maxPacketBytes
	c.ReceiveMaximum = maxInflight
	c.MaximumInflight = maxInflight
	c.TopicAliasMaximum = maxTopicAliases
	c.MinimumProtocolVersion = oldestVersion
	return c
}
