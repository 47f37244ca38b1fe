package sn12

import "sngate/snpacket"

// ProtocolID is the only value MQTT-SN 1.2 defines for CONNECT's ProtocolId
// (section 5.3.8).
const ProtocolID uint8 = 0x01

// Connect sets up a connection (MQTT-SN 1.2 section 5.4.4).
type Connect struct {
	Will         bool // the client wants to be prompted for a will
	CleanSession bool
	ProtocolID   uint8  // parsed whatever it is: another value than ProtocolID has to be answered
	Duration     uint16 // keep-alive in seconds
	ClientID     []byte // at least 1 octet; the specification's limit of 23 is not enforced here
}

// Type returns TypeConnect.
func (Connect) Type() Type { return TypeConnect }

// Len returns the size of the message in octets.
func (m Connect) Len() int { return total(4 + len(m.ClientID)) }

// ErrNoClientID is what Connect.Parse returns for a CONNECT that has everything but
// a ClientId. It wraps snpacket.ErrLayout, and has a name because this one layout
// fault can be answered: the device meant to connect and waits for a CONNACK.
var ErrNoClientID error = layoutError("CONNECT without a ClientId")

type layoutError string

func (e layoutError) Error() string { return string(e) }
func (layoutError) Unwrap() error   { return snpacket.ErrLayout }

// Parse reads the body of a CONNECT. A missing ClientId is refused with ErrNoClientID; the
// rest has been read then.
func (m *Connect) Parse(body []byte) error {
	if len(body) < 4 {
		return snpacket.ErrLayout
	}
	*m = Connect{
		Will:         body[0]&flagWill != 0,
		CleanSession: body[0]&flagCleanSession != 0,
		ProtocolID:   body[1],
		Duration:     u16(body[2:]),
		ClientID:     body[4:],
	}
	if len(body) == 4 {
		return ErrNoClientID
	}
	return nil
}

// Append appends the message. ClientID must not be empty.
func (m Connect) Append(b []byte) ([]byte, error) {
	if len(m.ClientID) == 0 {
		return b, ErrNoClientID
	}
	b, err := appendHeader(b, TypeConnect, 4+len(m.ClientID))
	if err != nil {
		return b, err
	}
	flags := bit(m.Will, flagWill) | bit(m.CleanSession, flagCleanSession)
	b = append(b, flags, m.ProtocolID, byte(m.Duration>>8), byte(m.Duration))
	return append(b, m.ClientID...), nil
}

// ConnAck answers a CONNECT (MQTT-SN 1.2 section 5.4.5).
type ConnAck struct {
	ReturnCode ReturnCode
}

// Type returns TypeConnAck.
func (ConnAck) Type() Type { return TypeConnAck }

// Len returns the size of the message in octets.
func (ConnAck) Len() int { return 3 }

// Parse reads the body of a CONNACK.
func (m *ConnAck) Parse(body []byte) error { return parseReturnCode(&m.ReturnCode, body) }

// Append appends the message.
func (m ConnAck) Append(b []byte) ([]byte, error) {
	return appendReturnCode(b, TypeConnAck, m.ReturnCode)
}

// Disconnect ends a connection or, with a duration, announces that the client
// goes to sleep (MQTT-SN 1.2 section 5.4.21). A gateway never sends a duration.
type Disconnect struct {
	HasDuration bool   // the message has the optional Duration field
	Duration    uint16 // sleep time in seconds; 0 where HasDuration is false
}

// Type returns TypeDisconnect.
func (Disconnect) Type() Type { return TypeDisconnect }

// Len returns the size of the message in octets.
func (m Disconnect) Len() int {
	if m.HasDuration {
		return 4
	}
	return 2
}

// Parse reads the body of a DISCONNECT: nothing, or a duration.
func (m *Disconnect) Parse(body []byte) error {
	switch len(body) {
	case 0:
		*m = Disconnect{}
	case 2:
		*m = Disconnect{HasDuration: true, Duration: u16(body)}
	default:
		return snpacket.ErrLayout
	}
	return nil
}

// Append appends the message.
func (m Disconnect) Append(b []byte) ([]byte, error) {
	if m.HasDuration {
		return append(b, 4, byte(TypeDisconnect), byte(m.Duration>>8), byte(m.Duration)), nil
	}
	if m.Duration != 0 {
		return b, snpacket.ErrLayout
	}
	return append(b, 2, byte(TypeDisconnect)), nil
}

// ConnectClientID peeks at the client id in the body of a CONNECT, which need not be well
// formed. It is a part of body.
func ConnectClientID(body []byte) []byte {
	if len(body) < 4 {
		return nil
	}
	return body[4:]
}
