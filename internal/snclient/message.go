package snclient

import "sngate/snpacket/sn12"

// Will is what the broker shall publish when the client is lost (MQTT-SN 1.2
// section 6.3).
type Will struct {
	Topic   string
	Message []byte
	QoS     uint8 // 0..2
	Retain  bool
}

// topic is the message for WILLTOPICREQ; without a will it is empty.
func (w *Will) topic() sn12.Message {
	if w == nil {
		return sn12.WillTopic{Empty: true}
	}
	return sn12.WillTopic{QoS: w.QoS, Retain: w.Retain, Topic: []byte(w.Topic)}
}

// message is the message for WILLMSGREQ.
func (w *Will) message() sn12.Message {
	if w == nil {
		return sn12.WillMsg{}
	}
	return sn12.WillMsg{Message: w.Message}
}

// Message is a PUBLISH received from the gateway. It belongs to the receiver.
type Message struct {
	Topic   Topic
	Payload []byte
	QoS     uint8 // 0..2
	Retain  bool
	DUP     bool
	MsgID   uint16 // 0 at QoS 0
}
