package snclient

import (
	"errors"
	"fmt"

	"sngate/snpacket/sn12"
)

// The errors of this package, possibly wrapped.
var (
	// ErrTimeout: the gateway answered neither the request nor any of its Nretry
	// repetitions. The client counts as disconnected from then on (MQTT-SN 1.2
	// section 6.13).
	ErrTimeout = errors.New("no answer from the gateway")
	// ErrDisconnected: the gateway sent DISCONNECT, or the connection ended while
	// the request was waiting.
	ErrDisconnected = errors.New("disconnected by the gateway")
	// ErrNotConnected: the request needs a connection, or another state of it. A
	// client that sleeps has to connect before it may publish or subscribe.
	ErrNotConnected = errors.New("not connected")
	// ErrBusy: the same request is already waiting for its answer.
	ErrBusy = errors.New("the same request is still open")
	// ErrClosed: Close was called, or the transport came to its end.
	ErrClosed = errors.New("client is closed")
)

// ReturnCodeError is a request the gateway answered with another return code than
// "accepted" (MQTT-SN 1.2 section 5.3.10).
type ReturnCodeError struct {
	Request sn12.Type
	Code    sn12.ReturnCode
}

// Error names the request and the code.
func (e *ReturnCodeError) Error() string {
	return fmt.Sprintf("%v %v", e.Request, e.Code)
}

// IncompleteError is a QoS 1 or 2 PUBLISH whose exchange began and did not end:
// the gateway may or may not have the message. After a Connect with CleanSession
// false, [Client.Continue] continues where the exchange stopped, with the same MsgId,
// so that a QoS 2 message is not doubled. After a clean Connect, or to let
// the message go, drop the error.
type IncompleteError struct {
	// Err says why the exchange stopped: ErrTimeout, ErrDisconnected, ErrClosed or
	// the error of the context.
	Err error

	topic    Topic
	publish  sn12.Publish // Data is the error's own copy
	released bool         // PUBREC was seen: what has to be repeated is the PUBREL
}

// Error says that the message is in doubt, and why.
func (e *IncompleteError) Error() string {
	return fmt.Sprintf("message %d to %v is in doubt: %v", e.publish.MsgID, e.topic, e.Err)
}

// Unwrap returns Err.
func (e *IncompleteError) Unwrap() error { return e.Err }
