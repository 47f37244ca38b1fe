// Package torture drives the real gateway through random worlds and accounts for every message.
//
// A world is a gateway with its store, a few devices that keep the rules of MQTT-SN, and a strict
// MQTT broker that is closed, and closes, at every point of every exchange. The three share a simulated
// network and a simulated clock (testing/synctest), and one goroutine decides what moves next: a
// datagram, a packet, half a packet, the clock, a goodbye, a kill. So a world of a thousand
// steps takes milliseconds, and its seed repeats it.
//
// What has to hold is in ledger_test.go, the rules of MQTT that the gateway must keep
// towards the broker are in strict_test.go. When a world fails, the steps that do not matter are
// taken out, and the trace of what is left is shown with the flags that repeat it.
//
// Flags of go test: -torture.for says how long to go on, -torture.seed with which world to begin,
// -torture.worlds how many to run at most, -torture.keep which steps of a world to take.
package torture
