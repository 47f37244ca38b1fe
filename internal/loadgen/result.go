package loadgen

import "time"

// Result is what a run has measured. What does not belong to the mode, or is not known, is nil
// or 0.
type Result struct {
	Mode    Mode    `json:"mode"`
	Devices int     `json:"devices"`
	QoS     uint8   `json:"qos"`
	Payload int     `json:"payload_bytes"`
	Rate    float64 `json:"rate"` // 0: closed loop
	Loss    float64 `json:"loss"`

	Connect Connects `json:"connect"`
	Up      *Stream  `json:"up,omitempty"`
	Down    *Stream  `json:"down,omitempty"`
	Window  *Window  `json:"window,omitempty"`
	Sleep   *Wakes   `json:"sleep,omitempty"`
	Gateway *Gateway `json:"gateway,omitempty"`

	Ack  *Latency `json:"ack,omitempty"`  // QoS 1 and 2 up: from PUBLISH to PUBACK or PUBCOMP
	Late *Latency `json:"late,omitempty"` // open loop: how long after it was due a message was sent

	Acknowledged int64   `json:"acknowledged"` // messages of devices
	Refused      int64   `json:"refused"`      // messages of devices, by the gateway
	GivenUp      int64   `json:"given_up"`     // messages of devices that were never answered
	Repeats      int64   `json:"repeats"`      // of requests and messages, by devices, after connecting
	Timeouts     int64   `json:"timeouts"`     // closed loop: messages that did not arrive within the retry interval
	Disconnects  int64   `json:"disconnects"`  // of devices by the gateway
	Invalid      int64   `json:"invalid"`      // datagrams and messages that make no sense
	ThrownAway   int64   `json:"thrown_away"`  // datagrams, for the simulated loss
	OtherCores   float64 `json:"other_cores"`  // CPUs that other processes than gateway and generator were using
	SelfCores    float64 `json:"self_cores"`   // CPUs that the generator was using
}

// Connects is how the devices got their sessions, with registrations and subscriptions.
type Connects struct {
	Connected int64    `json:"connected"`
	Failed    int64    `json:"failed"` // devices that took no further part, in the whole run
	Rejected  int64    `json:"rejected"`
	Seconds   float64  `json:"seconds"` // until all had ended
	PerSecond float64  `json:"per_second"`
	Repeats   int64    `json:"repeats"`
	Connack   *Latency `json:"connack,omitempty"` // from the first CONNECT to CONNACK
}

// Stream is what became of the messages in one direction, in the whole run.
type Stream struct {
	Sent       int64    `json:"sent"`
	Received   int64    `json:"received"` // each once
	Lost       int64    `json:"lost"`
	Duplicates int64    `json:"duplicates"`
	Reordered  int64    `json:"reordered"`
	EndToEnd   *Latency `json:"end_to_end,omitempty"` // of what was sent in the window
}

// Window is the time of the measurement.
type Window struct {
	Seconds           float64 `json:"seconds"`
	SentPerSecond     float64 `json:"sent_per_second"`
	ReceivedPerSecond float64 `json:"received_per_second"`
}

// Wakes is how sleeping devices got their messages.
type Wakes struct {
	Early      int64    `json:"early"`      // messages that reached a device that slept
	FirstWake  int64    `json:"first_wake"` // messages that the first wake brought
	Wakes      int      `json:"wakes"`      // of each device
	Incomplete int      `json:"incomplete"` // devices that miss messages in the end
	Wake       *Latency `json:"wake,omitempty"`
}

// Gateway is what the gateway used.
type Gateway struct {
	Cores            float64 `json:"cores"`                // CPUs, during the window
	MicrosPerMessage float64 `json:"cpu_us_per_message"`   // of messages received
	MicrosPerConnect float64 `json:"cpu_us_per_connect"`   // with registrations and subscriptions
	IdleCores        float64 `json:"idle_cores"`           // CPUs, while the devices were idle
	StartBytes       int64   `json:"rss_start_bytes"`      // resident memory before the first device
	Bytes            int64   `json:"rss_bytes"`            // in the end
	BytesPerDevice   float64 `json:"rss_bytes_per_device"` // more than at the start
	BytesPerHeld     float64 `json:"rss_bytes_per_held"`   // Sleep: for each message held
	Goroutines       int64   `json:"goroutines"`           // with the devices connected; of its metrics, as those below
	SocketDrops      int64   `json:"socket_drops"`         // datagrams, in the whole run
	StoreWritten     int64   `json:"store_written_bytes"`  // in the window, Sleep: from the first message on
	StorePerMessage  float64 `json:"store_bytes_per_message"`
	StoreFile        int64   `json:"store_file_bytes"` // size
}

func (w *way) stream() *Stream {
	return &Stream{w.sent, w.received, w.sent - w.received, w.duplicates, w.reordered, w.latency.latency()}
}

// per returns n for each of many, 0 for none.
func per(n float64, many int64) float64 {
	if many <= 0 {
		return 0
	}
	return n / float64(many)
}

// cores returns the CPUs that were in use between two instants.
func cores(from, to, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return (to - from) / seconds
}

func seconds(a, b usage) float64 { return b.at.Sub(a.at).Seconds() }

// window describes the time from a to b, in which so many messages were sent and received.
func (r *Result) window(a, b usage, sent, received int64) {
	s := seconds(a, b)
	r.Window = &Window{s, float64(sent) / s, float64(received) / s}
	r.others(a, b)
	if g := r.Gateway; g != nil {
		g.Cores = cores(a.cpu, b.cpu, s)
		g.messages(a, b, received)
	}
}

// others notes what else used the CPUs from a to b.
func (r *Result) others(a, b usage) {
	s := seconds(a, b)
	r.SelfCores = cores(a.self, b.self, s)
	r.OtherCores = max(cores(a.machine, b.machine, s)-r.SelfCores-cores(a.cpu, b.cpu, s), 0)
}

// messages notes what the gateway used from a to b for so many messages.
func (g *Gateway) messages(a, b usage, count int64) {
	g.MicrosPerMessage = per((b.cpu-a.cpu)*1e6, count)
	g.StoreWritten = b.stored - a.stored
	g.StorePerMessage = per(float64(g.StoreWritten), count)
}

// totals fills in what is counted over the whole run.
func (r *Result) totals(e *engine) {
	c := &e.counts
	r.Acknowledged, r.Refused, r.GivenUp = c.acked, c.refused, c.gaveUp
	r.Repeats, r.Timeouts = c.repeats-r.Connect.Repeats, c.timeouts
	r.Disconnects, r.ThrownAway = c.disconnects, c.thrownAway
	r.Invalid = c.broken + e.up.stray + e.down.stray
	r.Connect.Failed, r.Connect.Rejected = c.failed, c.rejected
	r.Ack, r.Late = e.times.ack.latency(), e.times.late.latency()
	if e.o.up() {
		r.Up = e.up.stream()
	}
	if e.o.down() {
		r.Down = e.down.stream()
	}
}

// connected describes the time from a to b, in which the devices connected.
func (r *Result) connected(e *engine, a, b usage) {
	s := b.at.Sub(a.at)
	r.Connect = Connects{
		Connected: e.counts.connected, Seconds: s.Seconds(), Repeats: e.counts.repeats, Connack: e.times.connect.latency(),
	}
	if s > time.Duration(0) {
		r.Connect.PerSecond = float64(e.counts.connected) / s.Seconds()
	}
	if g := r.Gateway; g != nil {
		g.MicrosPerConnect = per((b.cpu-a.cpu)*1e6, e.counts.connected)
		g.StartBytes, g.Goroutines = a.rss, b.goroutines
	}
}

// memory notes the memory of the gateway at an instant.
func (r *Result) memory(u usage) {
	if g := r.Gateway; g != nil {
		g.Bytes, g.StoreFile = u.rss, u.storeFile
	}
}

// devices notes the memory of the gateway when it has devices and no messages.
func (r *Result) devices(u usage) {
	r.memory(u)
	if g := r.Gateway; g != nil {
		g.BytesPerDevice = per(float64(u.rss-g.StartBytes), r.Connect.Connected)
	}
}
