// Package loadgen loads a gateway with simulated MQTT-SN devices and measures what it does:
// the load generator behind "sngate bench".
//
// Every message carries the time at which it was sent, its device and its number, so that
// loss, duplicates and reordering are exact and latencies need no agreement of clocks: one
// process sends and receives. On the broker's side one MQTT connection subscribes to what the
// devices publish, and publishes to them.
//
// One engine owns all devices, under one lock: the goroutine of the clock, the one that reads
// the devices' datagrams and the one that reads the connection to the broker take turns. There
// is no goroutine for each device where the system allows that (see openWire), and no
// allocation for each message.
package loadgen

import (
	"errors"
	"fmt"
	"time"
)

// Mode is what a run does.
type Mode string

// The modes.
const (
	Up      Mode = "up"      // devices publish, the broker's subscriber counts
	Down    Mode = "down"    // devices subscribe, the broker's publisher publishes to each
	Mixed   Mode = "mixed"   // up and down at once, half of the rate each
	Connect Mode = "connect" // devices connect, and then are idle
	Sleep   Mode = "sleep"   // devices sleep, have messages held for them, and wake up
)

// Modes lists all modes.
func Modes() []Mode { return []Mode{Up, Down, Mixed, Connect, Sleep} }

// Limits of the options.
const (
	MinPayload = 16 // octets: the stamp of a message
	MaxPayload = 8192
	MaxDevices = 1_000_000
)

// Options describe a run. There are no defaults but zero.
type Options struct {
	Mode    Mode
	Gateway string // host:port, UDP
	Broker  string // host:port, TCP; not needed by Connect

	Username string // for the broker, "" for none
	Password []byte // nil: none

	Devices int
	QoS     uint8   // 0 to 2, of publications and subscriptions
	Payload int     // octets of each message
	Rate    float64 // messages per second of all devices; 0: closed loop, each device has one message under way
	Loss    float64 // probability from 0 to below 1 that a datagram, in either direction, is thrown away
	Seed    uint64  // of the loss

	AtOnce        int           // how many devices connect, or wake up, at the same time
	RetryInterval time.Duration // until a device repeats what is not answered
	RetryCount    int           // repeats until it gives up
	KeepAlive     uint16        // seconds, in CONNECT

	WarmUp   time.Duration // Up, Down, Mixed: load before the measurement
	Duration time.Duration // Up, Down, Mixed: the measurement
	Drain    time.Duration // Up, Down, Mixed: longest wait for what is under way in the end
	Hold     time.Duration // Connect: how long the devices are idle; Sleep: how long they sleep on when all is published
	Messages int           // Sleep: for each device

	Ops string // host:port of the gateway's ops.address, "" for none
	PID int    // process id of the gateway, 0 for none

	// Progress is called about twice a second from the goroutine of [Run]; nil for none.
	Progress func(Progress)
}

// Progress is where a run is.
type Progress struct {
	Phase          string // "connecting", "warming up", "measuring", ...
	Connected      int
	Sent, Received int64
	Repeats        int64
}

// check refuses options that make no sense.
func (o *Options) check() error {
	switch {
	case o.Devices < 1 || o.Devices > MaxDevices:
		return fmt.Errorf("%d devices: want 1 to %d", o.Devices, MaxDevices)
	case o.Payload < MinPayload || o.Payload > MaxPayload:
		return fmt.Errorf("payload of %d octets: want %d to %d", o.Payload, MinPayload, MaxPayload)
	case o.QoS > 2:
		return fmt.Errorf("QoS %d: want 0 to 2", o.QoS)
	case o.Rate < 0 || o.Loss < 0 || o.Loss >= 1:
		return errors.New("rate below 0, or loss not from 0 to below 1")
	case o.AtOnce < 1 || o.RetryInterval <= 0 || o.RetryCount < 0:
		return errors.New("no devices at once, no retry interval, or a retry count below 0")
	case o.traffic() && o.Duration <= 0:
		return errors.New("nothing to measure: the duration is 0")
	case o.Mode == Sleep && o.Messages < 1:
		return errors.New("no messages for the sleeping devices")
	}
	for _, m := range Modes() {
		if o.Mode == m {
			return nil
		}
	}
	return fmt.Errorf("unknown mode %q", o.Mode)
}

// traffic reports whether the mode measures messages under way.
func (o *Options) traffic() bool { return o.Mode == Up || o.Mode == Down || o.Mode == Mixed }

// up and down report whether messages go there.
func (o *Options) up() bool   { return o.Mode == Up || o.Mode == Mixed }
func (o *Options) down() bool { return o.Mode == Down || o.Mode == Mixed || o.Mode == Sleep }

// closed reports whether the answer to a message lets the next one go.
func (o *Options) closed() bool { return o.Rate == 0 && o.Mode != Sleep }
