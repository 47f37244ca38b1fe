//go:build unix

package bench

import (
	"maps"
	"time"

	"sngate/internal/loadgen"
	"sngate/test/testgateway"
)

// peer is a program that is loaded.
type peer string

const (
	gateway peer = "sngate"
	floor   peer = "floor"
	before  peer = "before" // another sngate, of -yardstick.before
)

// load is one way of loading a program.
type load struct {
	name     string
	peers    []peer
	options  loadgen.Options
	settings testgateway.Settings // of the gateway
}

// The names of the loads that measures speak of.
const (
	up100, up1000, up5000 = "up, 100 devices", "up, 1000 devices", "up, 5000 devices"
	upQoS0                = "up, QoS 0"
	upClosed              = "up, closed loop"
	downClosed            = "down, closed loop"
	upQoS2                = "up, QoS 2, closed loop, store"
	storm                 = "storm"
	idle                  = "idle"
	asleep                = "asleep, store"
	held                  = "held, store"
)

// loads are those of docs/PERFORMANCE.md. The peer before takes part if there is one.
func loads() []load {
	both, alone := []peer{gateway, floor}, []peer{gateway}
	traffic := func(mode loadgen.Mode, devices int, qos uint8, rate float64) loadgen.Options {
		o := common(mode, devices, qos)
		o.Rate, o.WarmUp, o.Duration, o.Drain = rate, time.Second, 5*time.Second, 20*time.Second
		return o
	}
	stormy := common(loadgen.Connect, 5000, 0)
	stormy.AtOnce, stormy.Hold, stormy.RetryCount = stormy.Devices, time.Second, 20
	// Two of the gateway's pings to the broker (broker.ping_interval).
	quiet := common(loadgen.Connect, 5000, 0)
	quiet.AtOnce, quiet.Hold = 200, 125*time.Second
	sleepy := common(loadgen.Sleep, 100, 1)
	sleepy.Messages, sleepy.Rate, sleepy.Hold = 20, 2000, 3*time.Second
	full := common(loadgen.Sleep, 1000, 1)
	full.Messages, full.Rate, full.Hold = 100, 10000, 3*time.Second
	return []load{
		{up100, both, traffic(loadgen.Up, 100, 1, 5000), inMemory()},
		{up1000, both, traffic(loadgen.Up, 1000, 1, 5000), inMemory()},
		{up5000, both, traffic(loadgen.Up, 5000, 1, 5000), inMemory()},
		{upQoS0, both, traffic(loadgen.Up, 1000, 0, 5000), inMemory()},
		{upClosed, both, traffic(loadgen.Up, 100, 1, 0), inMemory()},
		{downClosed, alone, traffic(loadgen.Down, 1000, 1, 0), inMemory()},
		{upQoS2, []peer{gateway, before}, traffic(loadgen.Up, 100, 2, 0), onDisk()},
		{storm, both, stormy, inMemory()},
		{idle, alone, quiet, inMemory()},
		{asleep, alone, sleepy, onDisk()},
		{held, alone, full, onDisk()},
	}
}

// common are options of every load. The devices repeat themselves after a second.
func common(mode loadgen.Mode, devices int, qos uint8) loadgen.Options {
	return loadgen.Options{
		Mode: mode, Devices: devices, QoS: qos, Payload: 32, Seed: 1, AtOnce: 100,
		RetryInterval: time.Second, RetryCount: 5, KeepAlive: 3600,
	}
}

// onDisk and inMemory are the settings of a gateway under load: no lines for each device in
// its log, and no bound for what one device sends.
func onDisk() testgateway.Settings {
	return testgateway.Settings{"log.level": `"info"`, "log.sessions": "false", "session.message_rate": "0", "session.datagram_rate": "0"}
}

func inMemory() testgateway.Settings {
	s := maps.Clone(onDisk())
	s["store.path"] = `""`
	return s
}
