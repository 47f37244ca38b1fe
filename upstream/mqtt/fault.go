package mqtt

import "fmt"

// ProtocolError says what a broker sent that leaves no way to tell where the next packet
// begins, or that no connection begins with. It costs that connection.
type ProtocolError string

func (e ProtocolError) Error() string { return "upstream: protocol error: " + string(e) }

// Fault says what is wrong inside a packet whose end is known. It costs that packet. It
// is one byte because the stack of each reader holds packets.
type Fault uint8

// What may be wrong inside a packet.
const (
	FaultNone Fault = iota
	FaultSecondConnack
	faultType
	faultShort
	faultQoS
	faultTopicLength
	faultTopic
	faultIdentifier
)

var packetFaults = [...]string{
	FaultSecondConnack: "a second CONNACK",
	faultType:          "a packet type no server sends",
	faultShort:         "too short for its type",
	faultQoS:           "PUBLISH with QoS 3",
	faultTopicLength:   "PUBLISH is shorter than its topic",
	faultTopic:         "PUBLISH with an invalid topic",
	faultIdentifier:    "PUBLISH with packet identifier 0",
}

func (e Fault) Error() string { return "upstream: bad packet: " + packetFaults[e] }

// Disconnected is how a connection ends on which the broker has sent DISCONNECT. MQTT 3.1.1
// knows that of clients only, but brokers send it, some with the reason code of MQTT 5.
type Disconnected uint8

// CodeTakenOver is the reason code of MQTT 5 for a session that another connection has.
const CodeTakenOver = 0x8e

func (e Disconnected) Error() string {
	return fmt.Sprintf("upstream: the broker sent DISCONNECT with reason code 0x%02x", uint8(e))
}
