package upstream

import (
	"bytes"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// The packets of this file are rare, so they go through a general codec. It checks
// little: lengths, flags and codes are checked by its callers here.

// checkConnect reports whether c can be sent: the codec would cut long fields off.
func checkConnect(c *Connect) error {
	if len(c.ClientID) > maxString {
		return ErrTooLarge
	}
	if w := c.Will; w != nil && (len(w.Message) > maxString || len(w.Topic) > maxString) {
		return ErrTooLarge
	}
	return nil
}

// encodeConnect returns the CONNECT of c with the credentials of o.
func encodeConnect(c *Connect, o *Options) []byte {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName = "MQTT"
	p.ProtocolVersion = 4
	p.ClientIdentifier = c.ClientID
	p.CleanSession = c.CleanSession
	p.Keepalive = c.KeepAlive
	p.UsernameFlag = o.HasUsername
	p.Username = o.Username
	p.PasswordFlag = o.Password != nil
	p.Password = o.Password
	if w := c.Will; w != nil {
		p.WillFlag = true
		p.WillTopic = w.Topic
		p.WillMessage = w.Message
		p.WillQos = w.QoS
		p.WillRetain = w.Retain
	}
	return encode(p)
}

func encodeSubscribe(id uint16, filter string, qos uint8) []byte {
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID = id
	p.Topics = []string{filter}
	p.Qoss = []byte{qos}
	return encode(p)
}

func encodeUnsubscribe(id uint16, filter string) []byte {
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
func decodeConnack(body []byte, p *packet) packetFault {
	if len(body) < 2 {
		return faultShort
	}
	var ack packets.ConnackPacket
	_ = ack.Unpack(bytes.NewReader(body[:2])) // a bytes.Reader with both bytes does not fail
	p.present, p.code = ack.SessionPresent, ack.ReturnCode
	return faultNone
}

// decodeSuback reads a SUBACK to a SUBSCRIBE with one filter (MQTT 3.1.1 section 3.9). Every
// code that grants no QoS is a refusal: brokers send those of MQTT 5.
func decodeSuback(body []byte, p *packet) packetFault {
	var ack packets.SubackPacket
	if len(body) < 3 || ack.Unpack(bytes.NewReader(body)) != nil {
		return faultShort
	}
	p.id, p.code = ack.MessageID, ack.ReturnCodes[0]
	if p.code > 2 {
		p.code = codeRefused
	}
	return faultNone
}

// decodeUnsuback reads an UNSUBACK (MQTT 3.1.1 section 3.11).
func decodeUnsuback(body []byte, p *packet) packetFault {
	var ack packets.UnsubackPacket
	if len(body) < 2 || ack.Unpack(bytes.NewReader(body)) != nil {
		return faultShort
	}
	p.id = ack.MessageID
	return faultNone
}
