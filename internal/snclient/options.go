package snclient

import (
	"errors"
	"fmt"
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
