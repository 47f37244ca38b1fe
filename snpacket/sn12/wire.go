package sn12

import (
	"encoding/binary"

	"sngate/snpacket"
)

// The Flags octet (MQTT-SN 1.2 section 5.3.4).
const (
	flagDUP          = 0x80
	flagRetain       = 0x10
	flagWill         = 0x08
	flagCleanSession = 0x04
	maskTopicIDType  = 0x03
	shiftQoS         = 5
	maxQoS           = 3 // two bits; 3 stands for -1
)

func qosOf(flags byte) uint8 { return flags >> shiftQoS & maxQoS }

func bit(set bool, flag byte) byte {
	if set {
		return flag
	}
	return 0
}

func u16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

// total returns the size of a message with a body of bodyLen octets.
func total(bodyLen int) int { return snpacket.HeaderLen(bodyLen) + bodyLen }

func appendHeader(b []byte, t Type, bodyLen int) ([]byte, error) {
	return snpacket.AppendHeader(b, byte(t), bodyLen)
}

// parseNothing is the Parse of the messages without a body.
func parseNothing(body []byte) error {
	if len(body) != 0 {
		return snpacket.ErrLayout
	}
	return nil
}

// parseReturnCode and appendReturnCode serve the messages whose body is one
// ReturnCode.
func parseReturnCode(c *ReturnCode, body []byte) error {
	if len(body) != 1 {
		return snpacket.ErrLayout
	}
	*c = ReturnCode(body[0])
	return nil
}

func appendReturnCode(b []byte, t Type, c ReturnCode) ([]byte, error) {
	return append(b, 3, byte(t), byte(c)), nil
}

// parseMsgID and appendMsgID serve the messages whose body is one MsgId.
func parseMsgID(id *uint16, body []byte) error {
	if len(body) != 2 {
		return snpacket.ErrLayout
	}
	*id = u16(body)
	return nil
}

func appendMsgID(b []byte, t Type, id uint16) ([]byte, error) {
	return append(b, 4, byte(t), byte(id>>8), byte(id)), nil
}

// appendOctets writes the messages whose body is one run of octets.
func appendOctets(b []byte, t Type, octets []byte) ([]byte, error) {
	b, err := appendHeader(b, t, len(octets))
	if err != nil {
		return b, err
	}
	return append(b, octets...), nil
}
