package sn12

import "sngate/snpacket"

const subscribeFixed = 3 // Flags, MsgId

// Subscribe asks for a subscription (MQTT-SN 1.2 section 5.4.15).
type Subscribe struct {
	DUP         bool
	QoS         uint8 // requested, 0..3; 3 has no meaning here and is for the session to refuse
	TopicIDType TopicIDType
	MsgID       uint16
	TopicName   []byte // the name or filter with TopicIDNormal, at least 1 octet; the raw field with TopicIDReserved
	TopicID     uint16 // with TopicIDPredefined; with TopicIDShort the two octets of the name, see ShortName
}

// Type returns TypeSubscribe.
func (Subscribe) Type() Type { return TypeSubscribe }

// Len returns the size of the message in octets.
func (m Subscribe) Len() int {
	return total(subscribeFixed + topicFieldLen(m.TopicIDType, m.TopicName))
}

// ErrTopicField is what Subscribe.Parse and Unsubscribe.Parse return for a message that
// has everything but a topic, or an id or a short name of another length than two octets.
// It wraps snpacket.ErrLayout. The rest of the message has been read, so that it can be
// answered.
var ErrTopicField error = layoutError("SUBSCRIBE or UNSUBSCRIBE without a topic")

// Parse reads the body of a SUBSCRIBE. A name must not be empty, an id or a short
// name has exactly two octets, or the error is ErrTopicField. The reserved topic id type
// is read like a name, so that the session can answer it.
func (m *Subscribe) Parse(body []byte) error {
	if len(body) < subscribeFixed {
		return snpacket.ErrLayout
	}
	t := TopicIDType(body[0] & maskTopicIDType)
	name, id, err := parseTopicField(t, body[subscribeFixed:])
	*m = Subscribe{
		DUP:         body[0]&flagDUP != 0,
		QoS:         qosOf(body[0]),
		TopicIDType: t,
		MsgID:       u16(body[1:]),
		TopicName:   name,
		TopicID:     id,
	}
	return err
}

// Append appends the message. QoS and TopicIDType must be 0..3, and of TopicName
// and TopicID only the one that TopicIDType selects may be set.
func (m Subscribe) Append(b []byte) ([]byte, error) {
	if m.QoS > maxQoS {
		return b, snpacket.ErrLayout
	}
	flags := bit(m.DUP, flagDUP) | m.QoS<<shiftQoS
	return appendTopicField(b, TypeSubscribe, flags, m.MsgID, m.TopicIDType, m.TopicName, m.TopicID)
}

// SubAck answers a SUBSCRIBE (MQTT-SN 1.2 section 5.4.16).
type SubAck struct {
	QoS        uint8 // granted, 0..3 on the wire
	TopicID    uint16
	MsgID      uint16
	ReturnCode ReturnCode
}

// Type returns TypeSubAck.
func (SubAck) Type() Type { return TypeSubAck }

// Len returns the size of the message in octets.
func (SubAck) Len() int { return 8 }

// Parse reads the body of a SUBACK.
func (m *SubAck) Parse(body []byte) error {
	if len(body) != 6 {
		return snpacket.ErrLayout
	}
	*m = SubAck{
		QoS:        qosOf(body[0]),
		TopicID:    u16(body[1:]),
		MsgID:      u16(body[3:]),
		ReturnCode: ReturnCode(body[5]),
	}
	return nil
}

// Append appends the message. QoS must be 0..3.
func (m SubAck) Append(b []byte) ([]byte, error) {
	if m.QoS > maxQoS {
		return b, snpacket.ErrLayout
	}
	return append(b, 8, byte(TypeSubAck), m.QoS<<shiftQoS, byte(m.TopicID>>8), byte(m.TopicID),
		byte(m.MsgID>>8), byte(m.MsgID), byte(m.ReturnCode)), nil
}

// Unsubscribe ends a subscription (MQTT-SN 1.2 section 5.4.17).
type Unsubscribe struct {
	TopicIDType TopicIDType
	MsgID       uint16
	TopicName   []byte // as in Subscribe
	TopicID     uint16 // as in Subscribe
}

// Type returns TypeUnsubscribe.
func (Unsubscribe) Type() Type { return TypeUnsubscribe }

// Len returns the size of the message in octets.
func (m Unsubscribe) Len() int {
	return total(subscribeFixed + topicFieldLen(m.TopicIDType, m.TopicName))
}

// Parse reads the body of an UNSUBSCRIBE by the rules of Subscribe.Parse.
func (m *Unsubscribe) Parse(body []byte) error {
	if len(body) < subscribeFixed {
		return snpacket.ErrLayout
	}
	t := TopicIDType(body[0] & maskTopicIDType)
	name, id, err := parseTopicField(t, body[subscribeFixed:])
	*m = Unsubscribe{TopicIDType: t, MsgID: u16(body[1:]), TopicName: name, TopicID: id}
	return err
}

// Append appends the message by the rules of Subscribe.Append.
func (m Unsubscribe) Append(b []byte) ([]byte, error) {
	return appendTopicField(b, TypeUnsubscribe, 0, m.MsgID, m.TopicIDType, m.TopicName, m.TopicID)
}

// UnsubAck answers an UNSUBSCRIBE (MQTT-SN 1.2 section 5.4.18). It has no ReturnCode.
type UnsubAck struct {
	MsgID uint16
}

// Type returns TypeUnsubAck.
func (UnsubAck) Type() Type { return TypeUnsubAck }

// Len returns the size of the message in octets.
func (UnsubAck) Len() int { return 4 }

// Parse reads the body of an UNSUBACK.
func (m *UnsubAck) Parse(body []byte) error { return parseMsgID(&m.MsgID, body) }

// Append appends the message.
func (m UnsubAck) Append(b []byte) ([]byte, error) { return appendMsgID(b, TypeUnsubAck, m.MsgID) }

// isID reports whether the topic field of SUBSCRIBE and UNSUBSCRIBE has two octets.
func isID(t TopicIDType) bool { return t == TopicIDPredefined || t == TopicIDShort }

func topicFieldLen(t TopicIDType, name []byte) int {
	if isID(t) {
		return 2
	}
	return len(name)
}

func parseTopicField(t TopicIDType, field []byte) (name []byte, id uint16, err error) {
	switch {
	case isID(t) && len(field) == 2:
		return nil, u16(field), nil
	case !isID(t) && len(field) > 0:
		return field, 0, nil
	}
	return nil, 0, ErrTopicField
}

// appendTopicField writes SUBSCRIBE and UNSUBSCRIBE, which differ in type and flags.
func appendTopicField(b []byte, typ Type, flags byte, msgID uint16, t TopicIDType, name []byte, id uint16) ([]byte, error) {
	switch {
	case t > maskTopicIDType,
		isID(t) && len(name) != 0,
		!isID(t) && (len(name) == 0 || id != 0):
		return b, snpacket.ErrLayout
	}
	b, err := appendHeader(b, typ, subscribeFixed+topicFieldLen(t, name))
	if err != nil {
		return b, err
	}
	b = append(b, flags|byte(t), byte(msgID>>8), byte(msgID))
	if isID(t) {
		return append(b, byte(id>>8), byte(id)), nil
	}
	return append(b, name...), nil
}
