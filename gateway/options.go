package gateway

import (
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/internal/eventloop"
	"sngate/store"
	"sngate/upstream"
)

// Options configures a Gateway.
type Options struct {
	ID       uint8  // GwId in ADVERTISE and GWINFO
	ClientID string // MQTT client id of the gateway's own connection to the broker
	Shards   int    // goroutines that handle sessions; 0: 1
	Version  string // for metrics and the status page

	// NoEventLoop has goroutines read sockets and connections, as where there is no epoll.
	NoEventLoop bool
	// NewEventLoop makes the loop that a shard waits in, whose times are counted from start;
	// nil: eventloop.New.
	NewEventLoop func(start time.Time) (*eventloop.Loop, error)

	OnStop StopMode

	// StatusTopic is where the gateway publishes, retained, whether it is "online" or
	// "offline"; "": nowhere.
	StatusTopic string

	Listeners     []listen.Options
	AddressChange AddressChange
	MaxSessions   int
	ConnectRates  ConnectRates
	DatagramRate  int           // of one device, per second; twice as many at once; 0: no limit
	StrayRate     int           // QoS -1 of all devices without a session, likewise
	Expiry        time.Duration // how long a session is kept for a device that has gone; 0: for ever
	MemoryLimit   int64         // octets of the messages held for all devices together; 0: no limit
	// AssignClientIDs gives devices that connect without a client id, and with
	// CleanSession=1, one that begins with ClientID.
	AssignClientIDs bool
	Session         *session.Config
	Upstream        upstream.Options
	// UnreadCredentials counts, for the metrics, the times that what Upstream.Credentials
	// answers by has changed and could not be read. nil: that does not happen.
	UnreadCredentials func() uint64

	// Store keeps what has to survive a restart. It is the caller's: the gateway does
	// not close it, and uses it no more when Stop has returned. nil: store.InMemory().
	Store store.Store
	// StoreMaxBytes is how large the store may grow, in octets; 0: no limit. What devices can
	// make the gateway keep in it stays below, so that others are not refused for it.
	StoreMaxBytes int64
	// SpoolTotalBytes bounds the messages for the broker that all devices together have in
	// the store, in octets. They are in memory too, and take at most half of MemoryLimit.
	SpoolTotalBytes int64

	Forwarders      bool           // unwrap encapsulated messages
	AllowForwarders []netip.Prefix // empty: any

	AdvertiseInterval time.Duration // whole seconds, up to 65535; 0: no ADVERTISE

	OpsAddress string // of /metrics, /healthz, /readyz and the API; "": none
	Log        zerolog.Logger
	// QuietSessions leaves out the lines of everyday: devices that connect, sleep, go.
	QuietSessions bool
	// Trace logs every datagram and MQTT packet, at level trace; TraceClients says of which
	// client ids or patterns, empty: of all.
	Trace        bool
	TraceClients []string

	// FirstMsgID returns the MsgId a session counts from, whenever its device is at an
	// address where it has not been, and must be hard to guess: MsgIds prove that a device is
	// where it says it is. nil: a random one.
	FirstMsgID func() uint16

	// NewClientID returns a random number for a client id that is assigned. It is called
	// by several goroutines. nil: one that cannot be guessed.
	NewClientID func() uint64

	// Listen opens a listener. nil: UDP sockets.
	Listen func(listen.Options) (listen.Listener, error)
}

// StopMode says what Gateway.Stop does with the sessions of the devices.
type StopMode uint8

// What Gateway.Stop does with the sessions of the devices.
const (
	// StopDisconnect ends them: devices that listen are sent DISCONNECT.
	StopDisconnect StopMode = iota
	// StopKeep leaves them as they are, and the devices are told nothing: the next
	// process restores what is stored.
	StopKeep
)

// AddressChange says which messages may move a session to the address they come from.
type AddressChange uint8

// The policies of session.address_change.
const (
	AddressChangeAllow   AddressChange = iota // CONNECT, and PINGREQ with the client id
	AddressChangeConnect                      // CONNECT only
	AddressChangeDeny                         // none while the session is live
)
