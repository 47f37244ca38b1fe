package sn12

import "sngate/snpacket"

// Register asks for the topic id of a name (client) or announces one (gateway)
// (MQTT-SN 1.2 section 5.4.10).
type Register struct {
	TopicID   uint16 // 0x0000 from a client
	MsgID     uint16
	TopicName []byte // may be empty on the wire, which the session answers with a rejection
}

// Type returns TypeRegister.
func (Register) Type() Type { return TypeRegister }

// Len returns the size of the message in octets.
func (m Register) Len() int { return total(4 + len(m.TopicName)) }

// Parse reads the body of a REGISTER.
func (m *Register) Parse(body []byte) error {
	if len(body) < 4 {
		return snpacket.ErrLayout
	}
	*m = Register{TopicID: u16(body), MsgID: u16(body[2:]), TopicName: body[4:]}
	return nil
}

// Append appends the message.
func (m Register) Append(b []byte) ([]byte, error) {
	b, err := appendHeader(b, TypeRegister, 4+len(m.TopicName))
	if err != nil {
		return b, err
	}
	b = append(b, byte(m.TopicID>>8), byte(m.TopicID), byte(m.MsgID>>8), byte(m.MsgID))
	return append(b, m.TopicName...), nil
}

// RegAck answers a REGISTER (MQTT-SN 1.2 section 5.4.11).
type RegAck struct {
	TopicID    uint16 // the id to use in PUBLISH; 0x0000 in a rejection by the gateway
	MsgID      uint16
	ReturnCode ReturnCode
}

// Type returns TypeRegAck.
func (RegAck) Type() Type { return TypeRegAck }

// Len returns the size of the message in octets.
func (RegAck) Len() int { return 7 }

// Parse reads the body of a REGACK.
func (m *RegAck) Parse(body []byte) error {
	if len(body) != 5 {
		return snpacket.ErrLayout
	}
	*m = RegAck{TopicID: u16(body), MsgID: u16(body[2:]), ReturnCode: ReturnCode(body[4])}
	return nil
}

// Append appends the message.
func (m RegAck) Append(b []byte) ([]byte, error) {
	return append(b, 7, byte(TypeRegAck), byte(m.TopicID>>8), byte(m.TopicID),
		byte(m.MsgID>>8), byte(m.MsgID), byte(m.ReturnCode)), nil
}
