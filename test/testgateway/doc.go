// Package testgateway has what the tests with the built program share: the program as a
// process, devices on UDP sockets, MQTT clients at the broker, and a relay between gateway
// and broker that makes trouble.
//
// Everything is on the loopback interface and ends with the test that started it. Methods
// that fail the test are for the test's own goroutine.
package testgateway
