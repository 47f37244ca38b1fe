//go:build unix

package bench

import (
	"fmt"

	"sngate/internal/loadgen"
)

// measure is one row of docs/PERFORMANCE.md.
type measure struct {
	text   string
	load   string
	value  quantity
	format string // of the value, as for fmt

	// What it is compared with: a quantity of a peer under a load. Without a peer the value
	// itself counts.
	peer      peer
	peerLoad  string   // "": the same
	peerValue quantity // nil: the same

	target float64
	least  bool // the target is the least that is wanted, not the most
}

// quantity is a number of a result.
type quantity func(r *loadgen.Result) float64

func perMessage(r *loadgen.Result) float64 { return r.Gateway.MicrosPerMessage }
func perConnect(r *loadgen.Result) float64 { return r.Gateway.MicrosPerConnect }
func perSecond(r *loadgen.Result) float64  { return r.Window.ReceivedPerSecond }
func p50(r *loadgen.Result) float64        { return r.Up.EndToEnd.P50 }
func p99(r *loadgen.Result) float64        { return r.Up.EndToEnd.P99 }
func p999(r *loadgen.Result) float64       { return r.Up.EndToEnd.P999 }
func stormTime(r *loadgen.Result) float64  { return r.Connect.Seconds }
func repeats(r *loadgen.Result) float64    { return float64(r.Connect.Repeats) }
func idleCPU(r *loadgen.Result) float64    { return 100 * r.Gateway.IdleCores }
func perDevice(r *loadgen.Result) float64  { return r.Gateway.BytesPerDevice / 1000 }
func perHeld(r *loadgen.Result) float64    { return r.Gateway.BytesPerHeld }
func goroutines(r *loadgen.Result) float64 { return float64(r.Gateway.Goroutines) }
func wakeTime(r *loadgen.Result) float64   { return r.Sleep.Wake.P50 / 1000 }

// measures are the rows of docs/PERFORMANCE.md, in their order.
func measures() []measure {
	return []measure{
		{text: "QoS 1 up, 5000/s, 100 devices: CPU per message", load: up100, value: perMessage, format: "%.1f us", peer: floor, target: .72},
		{text: "QoS 1 up, 5000/s, 1000 devices: CPU per message", load: up1000, value: perMessage, format: "%.1f us", peer: floor, target: .72},
		{text: "QoS 1 up, 5000/s, 5000 devices: CPU per message", load: up5000, value: perMessage, format: "%.1f us", peer: floor, target: .72},
		{text: "QoS 0 up, 5000/s, 1000 devices: CPU per message", load: upQoS0, value: perMessage, format: "%.1f us", peer: floor, target: .6},
		{text: "QoS 1 up, closed loop, 100 devices: CPU per message", load: upClosed, value: perMessage, format: "%.1f us", peer: floor, target: .75},
		{text: "QoS 1 up, closed loop, 100 devices: messages per second", load: upClosed, value: perSecond, format: "%.0f", peer: floor, target: 1.15, least: true},
		{text: "QoS 1 down, closed loop, 1000 devices: CPU per message; compared with QoS 1 up, 5000/s", load: downClosed, value: perMessage, format: "%.1f us",
			peer: floor, peerLoad: up1000, target: .4},
		{text: "QoS 2 up, closed loop, 100 devices, with the store: CPU per message; compared with the version before", load: upQoS2, value: perMessage, format: "%.1f us",
			peer: before, target: .5},
		{text: "QoS 1 up, 5000/s, 1000 devices: half of the messages arrive within", load: up1000, value: p50, format: "%.0f us", peer: floor, target: 1},
		{text: "... 99 % within", load: up1000, value: p99, format: "%.0f us", peer: floor, target: 1},
		{text: "... 99.9 % within", load: up1000, value: p999, format: "%.0f us", peer: floor, target: 1},
		{text: "5000 devices connect at once: time until all are connected", load: storm, value: stormTime, format: "%.2f s", peer: floor, target: 1},
		{text: "... CONNECTs repeated after 1 s", load: storm, value: repeats, format: "%.0f", target: 2500},
		{text: "... CPU per connect", load: storm, value: perConnect, format: "%.0f us", peer: floor, target: 1.7},
		{text: "5000 devices connected and idle: CPU", load: idle, value: idleCPU, format: "%.2f %%", target: .15},
		{text: "... resident memory per device, beyond that of a gateway without devices", load: idle, value: perDevice, format: "%.1f kB", target: 5.5},
		{text: "... goroutines", load: idle, value: goroutines, format: "%.0f", target: 30},
		{text: "100 devices asleep, 20 messages QoS 1 each, with the store: CPU per message", load: asleep, value: perMessage, format: "%.0f us", target: 150},
		{text: "... half of the wakes take", load: asleep, value: wakeTime, format: "%.1f ms", target: 35},
		{text: "held message of 32 octets, with the store: resident memory, with what is mapped of the file", load: held, value: perHeld, format: "%.0f B", target: 350},
	}
}

// wanted is the target as a table shows it.
func (m *measure) wanted() string {
	sign, value := "at most ", fmt.Sprintf(m.format, m.target)
	if m.least {
		sign = "at least "
	}
	if m.peer != "" {
		value = fmt.Sprintf("%.2f times %s", m.target, m.peer)
	}
	return sign + value
}

// reached reports whether a figure is where it shall be.
func (m *measure) reached(figure float64) bool {
	if m.least {
		return figure >= m.target
	}
	return figure <= m.target
}
