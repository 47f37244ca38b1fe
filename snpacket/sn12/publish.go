package sn12

import "sngate/snpacket"

const publishFixed = 5 // Flags, TopicId, MsgId

// Publish carries an application message (MQTT-SN 1.2 section 5.4.12).
type Publish struct {
	DUP         bool
	QoS         uint8 // 0, 1, 2 or QoSMinusOne
	Retain      bool
	TopicIDType TopicIDType
	TopicID     uint16 // with TopicIDShort the two octets of the name, see ShortName
	MsgID       uint16 // always on the wire; 0x0000 for QoS 0 and -1
	Data        []byte
}

// Type returns TypePublish.
func (Publish) Type() Type { return TypePublish }

// Len returns the size of the message in octets.
func (m Publish) Len() int { return total(publishFixed + len(m.Data)) }

// Parse reads the body of a PUBLISH. Every topic id type parses, and QoS -1 with any
// of them: what they may be combined with is for the session to judge.
func (m *Publish) Parse(body []byte) error {
	if len(body) < publishFixed {
		return snpacket.ErrLayout
	}
	flags := body[0]
	*m = Publish{
		DUP:         flags&flagDUP != 0,
		QoS:         qosOf(flags),
		Retain:      flags&flagRetain != 0,
		TopicIDType: TopicIDType(flags & maskTopicIDType),
		TopicID:     u16(body[1:]),
		MsgID:       u16(body[3:]),
		Data:        body[publishFixed:],
	}
	return nil
}

// Append appends the message. QoS and TopicIDType must be 0..3.
func (m Publish) Append(b []byte) ([]byte, error) {
	if m.QoS > maxQoS || m.TopicIDType > maskTopicIDType {
		return b, snpacket.ErrLayout
	}
	b, err := appendHeader(b, TypePublish, publishFixed+len(m.Data))
	if err != nil {
		return b, err
	}
	flags := bit(m.DUP, flagDUP) | m.QoS<<shiftQoS | bit(m.Retain, flagRetain) | byte(m.TopicIDType)
	b = append(b, flags, byte(m.TopicID>>8), byte(m.TopicID), byte(m.MsgID>>8), byte(m.MsgID))
	return append(b, m.Data...), nil
}

// PubAck completes a QoS 1 PUBLISH, or rejects a PUBLISH of any QoS (MQTT-SN 1.2
// section 5.4.13).
type PubAck struct {
	TopicID    uint16 // repeated from the PUBLISH, whatever its topic id type
	MsgID      uint16 // repeated from the PUBLISH
	ReturnCode ReturnCode
}

// Type returns TypePubAck.
func (PubAck) Type() Type { return TypePubAck }

// Len returns the size of the message in octets.
func (PubAck) Len() int { return 7 }

// Parse reads the body of a PUBACK.
func (m *PubAck) Parse(body []byte) error {
	if len(body) != 5 {
		return snpacket.ErrLayout
	}
	*m = PubAck{TopicID: u16(body), MsgID: u16(body[2:]), ReturnCode: ReturnCode(body[4])}
	return nil
}

// Append appends the message.
func (m PubAck) Append(b []byte) ([]byte, error) {
	return append(b, 7, byte(TypePubAck), byte(m.TopicID>>8), byte(m.TopicID),
		byte(m.MsgID>>8), byte(m.MsgID), byte(m.ReturnCode)), nil
}
