package sn12

import "sngate/snpacket"

// WillTopicReq asks a connecting client for its will topic (MQTT-SN 1.2 section 5.4.6).
type WillTopicReq struct{}

// Type returns TypeWillTopicReq.
func (WillTopicReq) Type() Type { return TypeWillTopicReq }

// Len returns the size of the message in octets.
func (WillTopicReq) Len() int { return 2 }

// Parse accepts an empty body only.
func (*WillTopicReq) Parse(body []byte) error { return parseNothing(body) }

// Append appends the message.
func (WillTopicReq) Append(b []byte) ([]byte, error) {
	return append(b, 2, byte(TypeWillTopicReq)), nil
}

// WillTopic answers a WILLTOPICREQ (MQTT-SN 1.2 section 5.4.7).
type WillTopic struct {
	Empty  bool   // the 2-octet form without Flags and topic: delete the stored will
	QoS    uint8  // 0..3; 3 has no meaning for a will and is for the session to refuse
	Retain bool   // retain the will message
	Topic  []byte // at least 1 octet, unless Empty
}

// Type returns TypeWillTopic.
func (WillTopic) Type() Type { return TypeWillTopic }

// Len returns the size of the message in octets.
func (m WillTopic) Len() int { return willTopicFields(m).len() }

// Parse reads the body of a WILLTOPIC. Flags without a topic are refused.
func (m *WillTopic) Parse(body []byte) error { return (*willTopicFields)(m).parse(body) }

// Append appends the message.
func (m WillTopic) Append(b []byte) ([]byte, error) {
	return willTopicFields(m).append(b, TypeWillTopic)
}

// WillTopicUpd replaces or deletes the stored will topic (MQTT-SN 1.2 section 5.4.22).
type WillTopicUpd struct {
	Empty  bool   // the 2-octet form without Flags and topic: delete the stored will
	QoS    uint8  // 0..3; 3 has no meaning for a will and is for the session to refuse
	Retain bool   // retain the will message
	Topic  []byte // at least 1 octet, unless Empty
}

// Type returns TypeWillTopicUpd.
func (WillTopicUpd) Type() Type { return TypeWillTopicUpd }

// Len returns the size of the message in octets.
func (m WillTopicUpd) Len() int { return willTopicFields(m).len() }

// Parse reads the body of a WILLTOPICUPD. Flags without a topic are refused.
func (m *WillTopicUpd) Parse(body []byte) error { return (*willTopicFields)(m).parse(body) }

// Append appends the message.
func (m WillTopicUpd) Append(b []byte) ([]byte, error) {
	return willTopicFields(m).append(b, TypeWillTopicUpd)
}

// willTopicFields is what WILLTOPIC and WILLTOPICUPD have in common: everything
// but the type.
type willTopicFields struct {
	Empty  bool
	QoS    uint8
	Retain bool
	Topic  []byte
}

func (f willTopicFields) len() int {
	if f.Empty {
		return 2
	}
	return total(1 + len(f.Topic))
}

func (f *willTopicFields) parse(body []byte) error {
	switch len(body) {
	case 0:
		*f = willTopicFields{Empty: true}
		return nil
	case 1:
		return snpacket.ErrLayout
	}
	*f = willTopicFields{QoS: qosOf(body[0]), Retain: body[0]&flagRetain != 0, Topic: body[1:]}
	return nil
}

func (f willTopicFields) append(b []byte, t Type) ([]byte, error) {
	if f.Empty {
		if f.QoS != 0 || f.Retain || len(f.Topic) != 0 {
			return b, snpacket.ErrLayout
		}
		return append(b, 2, byte(t)), nil
	}
	if f.QoS > maxQoS || len(f.Topic) == 0 {
		return b, snpacket.ErrLayout
	}
	b, err := appendHeader(b, t, 1+len(f.Topic))
	if err != nil {
		return b, err
	}
	return append(append(b, f.QoS<<shiftQoS|bit(f.Retain, flagRetain)), f.Topic...), nil
}

// WillMsgReq asks a connecting client for its will message (MQTT-SN 1.2 section 5.4.8).
type WillMsgReq struct{}

// Type returns TypeWillMsgReq.
func (WillMsgReq) Type() Type { return TypeWillMsgReq }

// Len returns the size of the message in octets.
func (WillMsgReq) Len() int { return 2 }

// Parse accepts an empty body only.
func (*WillMsgReq) Parse(body []byte) error { return parseNothing(body) }

// Append appends the message.
func (WillMsgReq) Append(b []byte) ([]byte, error) {
	return append(b, 2, byte(TypeWillMsgReq)), nil
}

// WillMsg answers a WILLMSGREQ (MQTT-SN 1.2 section 5.4.9).
type WillMsg struct {
	Message []byte // any octets, none included
}

// Type returns TypeWillMsg.
func (WillMsg) Type() Type { return TypeWillMsg }

// Len returns the size of the message in octets.
func (m WillMsg) Len() int { return total(len(m.Message)) }

// Parse reads the body of a WILLMSG. Every body is one.
func (m *WillMsg) Parse(body []byte) error {
	m.Message = body
	return nil
}

// Append appends the message.
func (m WillMsg) Append(b []byte) ([]byte, error) { return appendOctets(b, TypeWillMsg, m.Message) }

// WillMsgUpd replaces the stored will message (MQTT-SN 1.2 section 5.4.23).
type WillMsgUpd struct {
	Message []byte // any octets, none included
}

// Type returns TypeWillMsgUpd.
func (WillMsgUpd) Type() Type { return TypeWillMsgUpd }

// Len returns the size of the message in octets.
func (m WillMsgUpd) Len() int { return total(len(m.Message)) }

// Parse reads the body of a WILLMSGUPD. Every body is one.
func (m *WillMsgUpd) Parse(body []byte) error {
	m.Message = body
	return nil
}

// Append appends the message.
func (m WillMsgUpd) Append(b []byte) ([]byte, error) {
	return appendOctets(b, TypeWillMsgUpd, m.Message)
}

// WillTopicResp answers a WILLTOPICUPD (MQTT-SN 1.2 section 5.4.24).
type WillTopicResp struct {
	ReturnCode ReturnCode
}

// Type returns TypeWillTopicResp.
func (WillTopicResp) Type() Type { return TypeWillTopicResp }

// Len returns the size of the message in octets.
func (WillTopicResp) Len() int { return 3 }

// Parse reads the body of a WILLTOPICRESP.
func (m *WillTopicResp) Parse(body []byte) error { return parseReturnCode(&m.ReturnCode, body) }

// Append appends the message.
func (m WillTopicResp) Append(b []byte) ([]byte, error) {
	return appendReturnCode(b, TypeWillTopicResp, m.ReturnCode)
}

// WillMsgResp answers a WILLMSGUPD (MQTT-SN 1.2 section 5.4.25).
type WillMsgResp struct {
	ReturnCode ReturnCode
}

// Type returns TypeWillMsgResp.
func (WillMsgResp) Type() Type { return TypeWillMsgResp }

// Len returns the size of the message in octets.
func (WillMsgResp) Len() int { return 3 }

// Parse reads the body of a WILLMSGRESP.
func (m *WillMsgResp) Parse(body []byte) error { return parseReturnCode(&m.ReturnCode, body) }

// Append appends the message.
func (m WillMsgResp) Append(b []byte) ([]byte, error) {
	return appendReturnCode(b, TypeWillMsgResp, m.ReturnCode)
}
