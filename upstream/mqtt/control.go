package mqtt

import (
	"bytes"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// The packets of this file are rare, so they go through a general codec. It checks
// little: lengths, flags and codes are checked here.

// Connect is what one CONNECT carries (MQTT 3.1.1 section 3.1).
type Connect struct {
	ClientID     string
	CleanSession bool
	KeepAlive    uint16 // seconds
	Will         *Will  // nil: none
	HasUsername  bool
	Username     string
	Password     []byte // nil: none
}

// Will is the will in a CONNECT (MQTT 3.1.1 section 3.1.2.5).
type Will struct {
	Topic   string
	Message []byte
	QoS     uint8
	Retain  bool
}

// Fits reports whether no field of c is longer than a packet can hold; the codec would cut it
// off.
func (c *Connect) Fits() bool {
	for _, n := range []int{len(c.ClientID), len(c.Username), len(c.Password)} {
		if n > MaxString {
			return false
		}
	}
	return c.Will == nil || len(c.Will.Message) <= MaxString && len(c.Will.Topic) <= MaxString
}

// EncodeConnect returns a CONNECT.
func EncodeConnect(c *Connect) []byte {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName = "MQTT"
	p.ProtocolVersion = 4
	p.ClientIdentifier = c.ClientID
	p.CleanSession = c.CleanSession
	p.Keepalive = c.KeepAlive
	p.UsernameFlag = c.HasUsername
	p.Username = c.Username
	p.PasswordFlag = c.Password != nil
	p.Password = c.Password
	if w := c.Will; w != nil {
		p.WillFlag = true
		p.WillTopic = w.Topic
		p.WillMessage = w.Message
		p.WillQos = w.QoS
		p.WillRetain = w.Retain
	}
	return encode(p)
}

// EncodeSubscribe returns a SUBSCRIBE with one filter (MQTT 3.1.1 section 3.8).
func EncodeSubscribe(id uint16, filter string, qos uint8) []byte {
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID = id
	p.Topics = []string{filter}
	p.Qoss = []byte{qos}
	return encode(p)
}

// EncodeUnsubscribe returns an UNSUBSCRIBE with one filter (MQTT 3.1.1 section 3.10).
func EncodeUnsubscribe(id uint16, filter string) []byte {
	p := packets.NewControlPacket(packets.Unsubscribe).(*packets.UnsubscribePacket)
	p.MessageID = id
	p.Topics = []string{filter}
	return encode(p)
}

func encode(p packets.ControlPacket) []byte {
	var b bytes.Buffer
	_ = p.Write(&b) // a bytes.Buffer does not fail
	return b.Bytes()
}

// decodeConnack reads a CONNACK (MQTT 3.1.1 section 3.2). Codes the specification does not
// know are refusals like the others.
func decodeConnack(body []byte, p *Packet) Fault {
	if len(body) < 2 {
		return faultShort
	}
	var ack packets.ConnackPacket
	_ = ack.Unpack(bytes.NewReader(body[:2])) // a bytes.Reader with both bytes does not fail
	p.SessionPresent, p.Code = ack.SessionPresent, ack.ReturnCode
	return FaultNone
}

// decodeSuback reads a SUBACK to a SUBSCRIBE with one filter (MQTT 3.1.1 section 3.9). Every
// code that grants no QoS is a refusal: brokers send those of MQTT 5.
func decodeSuback(body []byte, p *Packet) Fault {
	var ack packets.SubackPacket
	if len(body) < 3 || ack.Unpack(bytes.NewReader(body)) != nil {
		return faultShort
	}
	p.ID, p.Code = ack.MessageID, ack.ReturnCodes[0]
	if p.Code > 2 {
		p.Code = CodeFailure
	}
	return FaultNone
}

// decodeUnsuback reads an UNSUBACK (MQTT 3.1.1 section 3.11).
func decodeUnsuback(body []byte, p *Packet) Fault {
	var ack packets.UnsubackPacket
	if len(body) < 2 || ack.Unpack(bytes.NewReader(body)) != nil {
		return faultShort
	}
	p.ID = ack.MessageID
	return FaultNone
}
