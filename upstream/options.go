package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"sngate/upstream/credential"
	"sngate/upstream/dial"
	"sngate/upstream/mqtt"
	"sngate/upstream/secure"
	"sngate/upstream/websocket"
)

// Options configures a [Dialer] and the Links made by it. A zero field takes the
// default named beside it.
type Options struct {
	// Address is the broker's host:port. The host is resolved again at every dial,
	// so a broker whose name changes its address is found again.
	Address string
	// Fallbacks are further brokers, each host:port and named once, in the order in
	// which they are used. All Links use the same broker. When it fails (three connects
	// in a row end without CONNACK, or with return code 3, over ten seconds, and no open
	// connection has been heard lately), the next is taken into use, after the last the
	// first; while none answers, each has up to four times as long. To an owner the session of another broker is a new one: SessionPresent is
	// false even where that broker remembers an old one.
	Fallbacks []string
	// FailBack is how often it is tried, while another broker is in use, whether Address
	// answers CONNECT; when it does, it is taken into use again, and the connections are
	// moved to it over a minute or so, each after a DISCONNECT. 0: never.
	FailBack time.Duration
	// ProbeClientID is the client identifier of those trials, which begin and end clean
	// sessions; it should be used by nobody else. ProbeAs is the client whose certificate they
	// present.
	ProbeClientID, ProbeAs string
	// Moved is called when another broker is taken into use, from an owner's goroutine or
	// one of the Dialer: it must not block. nil: nobody is told.
	Moved func(from, to string)

	// Habit is called once for each broker and each habit of it that an operator should
	// know of, from an owner's goroutine: it must not block. nil: nobody is told.
	Habit func(broker string, h Habit)

	// Credentials says as whom a client connects, by its Connect.ClientID, which may be another
	// one to the broker. It is asked for each connect, by the owner before that waits for a slot
	// and by the goroutine of the connect when it has one, and must not block. An error refuses the connect before anything is sent
	// (RefusedWithoutCredentials). Before their Life is over the Link takes another
	// connection (EventRenewed). nil: everybody connects by its own client identifier, and with
	// Username and Password.
	Credentials func(clientID string) (credential.Connect, error)
	// Username and Password go into every CONNECT (MQTT 3.1.1 section 3.1.3.4).
	// HasUsername sends the user name even when it is empty; a user name that is not
	// empty is always sent. Password nil means none; MQTT 3.1.1 allows no password
	// without a user name (section 3.1.2.9).
	Username    string
	HasUsername bool
	Password    []byte

	// ConnectTimeout bounds a connect: waiting for a slot, name resolution, TCP, a proxy, TLS,
	// the upgrade to WebSocket and CONNACK together. The time of a Connect that waits for a slot begins anew whenever the broker
	// answers another connect; that of a reconnect or a Reopen begins with the slot. 10 s.
	ConnectTimeout time.Duration
	// SlotWait bounds how long a Connect waits for a slot, whomever the broker answers
	// meanwhile. ConnectTimeout, if that is longer.
	SlotWait time.Duration
	// MaxDials bounds the connects in progress, from the dial to CONNACK. 64.
	MaxDials int
	// DialRate bounds the connects started per second; a tenth of a second's worth may
	// start at once, and those that wait for their time start in slices of 25 ms. 0: as many
	// as MaxDials allows.
	DialRate int
	// MaxWaiting bounds the connects waiting for a slot, once for those a device waits
	// for and once for the others, which come after them; one more is refused at once
	// with ErrBusy. 10,000.
	MaxWaiting int
	// ConnectInterval is the least time between two CONNECTs of one client id as the broker is
	// told it, over all connections, brokers and Links. One that comes sooner waits, and its time
	// does not run meanwhile, for up to SlotWait. The first of each waits so long after NewDialer:
	// there may have been one before, of another process. 0: any.
	ConnectInterval time.Duration

	// PingInterval bounds how long a connection stays idle before PINGREQ. The time
	// in force is the smaller of it and 3/4 of the keep-alive told to the broker. 60 s.
	PingInterval time.Duration
	// PingTimeout is how long after a PINGREQ the broker may stay silent. It is cut to
	// what is left of one and a half of the keep-alive, or of PingInterval if that is
	// shorter or the keep-alive is 0: within that time a dead connection is noticed. 20 s.
	PingTimeout time.Duration
	// KeepAliveMin and KeepAliveMax bound the keep-alive that the broker is told, in seconds,
	// whatever the owner's Connect says; a KeepAlive of 0, which is none, becomes KeepAliveMax.
	// KeepAliveMax 0: it is as the Connect says.
	KeepAliveMin, KeepAliveMax uint16

	// PublishRate bounds the PUBLISH packets that a Link sends per second: none follows another
	// sooner than after its share of a second, also over the connections of the Link. Messages
	// wait for their time in their order; of QoS 0 as many as MaxInFlight and WriteBuffer let
	// wait, and those beyond are dropped. 0: any number.
	PublishRate int

	// AnswerTimeout is how long the broker may leave a PUBLISH of QoS 1 or 2, a PUBREL, a
	// SUBSCRIBE or an UNSUBSCRIBE unanswered, from when it has answered what was sent before
	// it. Then the connection is ended, and the message is sent again in the next one. 20 s.
	AnswerTimeout time.Duration

	// ReconnectMin and ReconnectMax bound the pause before a lost connection is tried
	// again; it doubles from one to the other, and is jittered. 1 s and 60 s.
	ReconnectMin time.Duration
	ReconnectMax time.Duration

	// WriteBuffer bounds, in bytes per Link, what waits to be written to a broker
	// that does not read, and what is in flight unacknowledged. One message of any
	// size is always taken. 256 KiB.
	WriteBuffer int
	// WriteTimeout is how long a write may make no progress before the connection
	// counts as lost. 10 s.
	WriteTimeout time.Duration
	// MaxPayload bounds the payload of a received PUBLISH, in bytes; a larger one is
	// skipped unread and reported as Oversize. 65,535.
	MaxPayload int
	// MaxInFlight bounds the QoS 1 and 2 messages of a Link that are not yet
	// acknowledged by the broker, 1..32,000. 64.
	MaxInFlight int
	// SendWindow bounds how many of them are written and unacknowledged at a time; the
	// others follow as acknowledgements come. Brokers have such a limit for what they
	// receive and may close the connection beyond it: 20 is usual. 16.
	SendWindow int
	// DrainTimeout bounds CloseDrain. 10 s.
	DrainTimeout time.Duration

	// Trace is asked for each packet of a Link, sent or received, with the owner that was
	// given to NewLink; what it returns, if not nil, is called with the packet in words, in
	// which there is no password. It is called from the goroutines of owners and of
	// connections, and must not block. nil: nothing is traced.
	Trace func(owner any, sent bool) (show func(packet string))

	// TLS says which brokers speak TLS, and how. Its zero value: none does.
	TLS secure.Options

	// WebSocket says which brokers are reached by WebSocket, above TLS where they speak that as
	// well, and through which proxies. Its zero value: none is.
	WebSocket websocket.Options

	// LocalAddresses are addresses of this machine from which connections are opened in turn;
	// see [dial.Net]. Empty: the system chooses. Not with Dial.
	LocalAddresses []netip.Addr
	// Dial opens the connection. nil: the system's network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Rand returns a number in [0, 1) for jitter and for the first packet
	// identifier. It is called from every owner goroutine. nil: math/rand/v2.
	Rand func() float64
}

// maxInFlightLimit leaves packet identifiers up to lastOwnID for SUBSCRIBE and
// UNSUBSCRIBE.
const maxInFlightLimit = 32000

func orDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// complete fills in the defaults and checks the result.
func (o *Options) complete() error {
	orDefault(&o.ConnectTimeout, 10*time.Second)
	o.SlotWait = max(o.SlotWait, o.ConnectTimeout)
	orDefault(&o.MaxDials, 64)
	orDefault(&o.MaxWaiting, 10_000)
	orDefault(&o.PingInterval, 60*time.Second)
	orDefault(&o.PingTimeout, 20*time.Second)
	orDefault(&o.AnswerTimeout, 20*time.Second)
	orDefault(&o.ReconnectMin, time.Second)
	orDefault(&o.ReconnectMax, 60*time.Second)
	orDefault(&o.WriteBuffer, 256<<10)
	orDefault(&o.WriteTimeout, 10*time.Second)
	orDefault(&o.MaxPayload, 65535)
	orDefault(&o.MaxInFlight, 64)
	orDefault(&o.SendWindow, 16)
	orDefault(&o.DrainTimeout, 10*time.Second)
	o.HasUsername = o.HasUsername || o.Username != ""
	if o.Dial == nil {
		o.Dial = dial.Net(o.LocalAddresses)
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	return o.check()
}

func (o *Options) check() error {
	for i, address := range slices.Concat([]string{o.Address}, o.Fallbacks) {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("upstream: address %q is not host:port: %w", address, err)
		}
		if i > 0 && (address == o.Address || slices.Contains(o.Fallbacks[:i-1], address)) {
			return fmt.Errorf("upstream: address %q is named twice", address)
		}
	}
	if o.Password != nil && !o.HasUsername {
		return errors.New("upstream: MQTT 3.1.1 allows no password without a user name")
	}
	if len(o.Username) > mqtt.MaxString || len(o.Password) > mqtt.MaxString || len(o.ProbeClientID) > mqtt.MaxString {
		return fmt.Errorf("upstream: user name, password and client identifier hold at most %d bytes", mqtt.MaxString)
	}
	if o.MaxInFlight > maxInFlightLimit {
		return fmt.Errorf("upstream: MaxInFlight is at most %d", maxInFlightLimit)
	}
	if o.ReconnectMax < o.ReconnectMin {
		return errors.New("upstream: ReconnectMax is shorter than ReconnectMin")
	}
	if o.KeepAliveMin > o.KeepAliveMax {
		return errors.New("upstream: KeepAliveMin is above KeepAliveMax")
	}
	for _, d := range []time.Duration{o.ConnectTimeout, o.PingInterval, o.PingTimeout, o.AnswerTimeout, o.ReconnectMin, o.WriteTimeout, o.DrainTimeout, o.FailBack, o.ConnectInterval} {
		if d < 0 {
			return errors.New("upstream: a time in Options is negative")
		}
	}
	for _, n := range []int{o.MaxDials, o.DialRate, o.MaxWaiting, o.WriteBuffer, o.MaxPayload, o.MaxInFlight, o.SendWindow, o.PublishRate} {
		if n < 0 {
			return errors.New("upstream: a limit in Options is negative")
		}
	}
	return nil
}

// dial returns what is the connections' business.
func (o *Options) dial(probe dial.Greeter, open websocket.Dial) dial.Options {
	return dial.Options{
		Addresses: slices.Concat([]string{o.Address}, o.Fallbacks), FailBack: o.FailBack,
		Probe:          probe,
		ConnectTimeout: o.ConnectTimeout, MaxDials: o.MaxDials, DialRate: o.DialRate, MaxWaiting: o.MaxWaiting,
		ConnectInterval: o.ConnectInterval,
		Quiet:           o.PingInterval * 3 / 2, WriteTimeout: o.WriteTimeout, MaxPayload: o.MaxPayload,
		Moved: o.Moved, Trace: o.Trace, Dial: open,
	}
}

// checkConnect reports whether c can be sent.
func checkConnect(c *Connect) error {
	if m := (mqtt.Connect{ClientID: c.ClientID, Will: (*mqtt.Will)(c.Will)}); !m.Fits() {
		return ErrTooLarge
	}
	return nil
}
