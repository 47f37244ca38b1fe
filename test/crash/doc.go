// Package crash kills the gateway, the broker, or both with SIGKILL at random moments, under
// the traffic of 50 devices of all kinds, and finds out whether anything was lost, doubled, put
// out of order or given another name. The gateway is the built program, the broker a real
// mosquitto.
//
// What has to hold is in ledger_test.go. Devices go on after a kill as if nothing had
// happened: they repeat what was not answered and connect again only when the gateway tells
// them to (device_test.go), or when they have said goodbye, which they do at any point of what they
// are doing, with an empty spool or a full one (leave_test.go). MQTT clients at the broker's side keep their state as well
// (mqtt_test.go), and mosquitto, which saves its state after it has answered, is made a broker
// that says only what it has saved (durable_test.go). So every message can be accounted for, also
// when the broker dies, and there are no excuses.
//
// Flags of go test: -crash.kills sizes a run, -crash.what picks what to kill, -crash.seed repeats the
// schedule of kills and the choices of the devices; what a kill hits is up to the machine.
package crash
