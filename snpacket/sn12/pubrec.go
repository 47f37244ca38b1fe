package sn12

// PubRec answers a QoS 2 PUBLISH (MQTT-SN 1.2 section 5.4.14).
type PubRec struct {
	MsgID uint16 // of the PUBLISH
}

// Type returns TypePubRec.
func (PubRec) Type() Type { return TypePubRec }

// Len returns the size of the message in octets.
func (PubRec) Len() int { return 4 }

// Parse reads the body of a PUBREC.
func (m *PubRec) Parse(body []byte) error { return parseMsgID(&m.MsgID, body) }

// Append appends the message.
func (m PubRec) Append(b []byte) ([]byte, error) { return appendMsgID(b, TypePubRec, m.MsgID) }

// PubRel answers a PUBREC (MQTT-SN 1.2 section 5.4.14).
type PubRel struct {
	MsgID uint16 // of the PUBLISH
}

// Type returns TypePubRel.
func (PubRel) Type() Type { return TypePubRel }

// Len returns the size of the message in octets.
func (PubRel) Len() int { return 4 }

// Parse reads the body of a PUBREL.
func (m *PubRel) Parse(body []byte) error { return parseMsgID(&m.MsgID, body) }

// Append appends the message.
func (m PubRel) Append(b []byte) ([]byte, error) { return appendMsgID(b, TypePubRel, m.MsgID) }

// PubComp answers a PUBREL and completes a QoS 2 PUBLISH (MQTT-SN 1.2 section 5.4.14).
type PubComp struct {
	MsgID uint16 // of the PUBLISH
}

// Type returns TypePubComp.
func (PubComp) Type() Type { return TypePubComp }

// Len returns the size of the message in octets.
func (PubComp) Len() int { return 4 }

// Parse reads the body of a PUBCOMP.
func (m *PubComp) Parse(body []byte) error { return parseMsgID(&m.MsgID, body) }

// Append appends the message.
func (m PubComp) Append(b []byte) ([]byte, error) { return appendMsgID(b, TypePubComp, m.MsgID) }
