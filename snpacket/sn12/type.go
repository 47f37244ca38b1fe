package sn12

// Type is the MsgType octet (MQTT-SN 1.2 section 5.2.2).
type Type uint8

// The message types. The numbers 0x03, 0x11, 0x19, 0x1E to 0xFD and 0xFF are
// reserved. PUBCOMP comes before PUBREC and PUBREL, unlike in MQTT.
const (
	TypeAdvertise     Type = 0x00
	TypeSearchGW      Type = 0x01
	TypeGWInfo        Type = 0x02
	TypeConnect       Type = 0x04
	TypeConnAck       Type = 0x05
	TypeWillTopicReq  Type = 0x06
	TypeWillTopic     Type = 0x07
	TypeWillMsgReq    Type = 0x08
	TypeWillMsg       Type = 0x09
	TypeRegister      Type = 0x0A
	TypeRegAck        Type = 0x0B
	TypePublish       Type = 0x0C
	TypePubAck        Type = 0x0D
	TypePubComp       Type = 0x0E
	TypePubRec        Type = 0x0F
	TypePubRel        Type = 0x10
	TypeSubscribe     Type = 0x12
	TypeSubAck        Type = 0x13
	TypeUnsubscribe   Type = 0x14
	TypeUnsubAck      Type = 0x15
	TypePingReq       Type = 0x16
	TypePingResp      Type = 0x17
	TypeDisconnect    Type = 0x18
	TypeWillTopicUpd  Type = 0x1A
	TypeWillTopicResp Type = 0x1B
	TypeWillMsgUpd    Type = 0x1C
	TypeWillMsgResp   Type = 0x1D
	TypeEncapsulated  Type = 0xFE
)

// name returns "" for a reserved type. A switch and not a map, because a package
// must not hold state that can be changed.
//
// long function: a case for each type.
func (t Type) name() string {
	switch t {
	case TypeAdvertise:
		return "ADVERTISE"
	case TypeSearchGW:
		return "SEARCHGW"
	case TypeGWInfo:
		return "GWINFO"
	case TypeConnect:
		return "CONNECT"
	case TypeConnAck:
		return "CONNACK"
	case TypeWillTopicReq:
		return "WILLTOPICREQ"
	case TypeWillTopic:
		return "WILLTOPIC"
	case TypeWillMsgReq:
		return "WILLMSGREQ"
	case TypeWillMsg:
		return "WILLMSG"
	case TypeRegister:
		return "REGISTER"
	case TypeRegAck:
		return "REGACK"
	case TypePublish:
		return "PUBLISH"
	case TypePubAck:
		return "PUBACK"
	case TypePubComp:
		return "PUBCOMP"
	case TypePubRec:
		return "PUBREC"
	case TypePubRel:
		return "PUBREL"
	case TypeSubscribe:
		return "SUBSCRIBE"
	case TypeSubAck:
		return "SUBACK"
	case TypeUnsubscribe:
		return "UNSUBSCRIBE"
	case TypeUnsubAck:
		return "UNSUBACK"
	case TypePingReq:
		return "PINGREQ"
	case TypePingResp:
		return "PINGRESP"
	case TypeDisconnect:
		return "DISCONNECT"
	case TypeWillTopicUpd:
		return "WILLTOPICUPD"
	case TypeWillTopicResp:
		return "WILLTOPICRESP"
	case TypeWillMsgUpd:
		return "WILLMSGUPD"
	case TypeWillMsgResp:
		return "WILLMSGRESP"
	case TypeEncapsulated:
		return "ENCAPSULATED"
	}
	return ""
}

// Known reports whether MQTT-SN 1.2 defines the type.
func (t Type) Known() bool { return t.name() != "" }

// String returns the specification's name of the message, such as "CONNECT", or
// "reserved(0x03)".
func (t Type) String() string {
	if s := t.name(); s != "" {
		return s
	}
	return reserved(byte(t))
}

// ReturnCode is the ReturnCode octet of an acknowledgement (MQTT-SN 1.2 section
// 5.3.10). Every value other than Accepted is a rejection, the reserved ones too.
type ReturnCode uint8

// The return codes.
const (
	Accepted               ReturnCode = 0x00
	RejectedCongestion     ReturnCode = 0x01 // the sender may try again after TWAIT
	RejectedInvalidTopicID ReturnCode = 0x02
	RejectedNotSupported   ReturnCode = 0x03
)

// String returns the specification's wording, or "reserved(0x04)".
func (c ReturnCode) String() string {
	switch c {
	case Accepted:
		return "accepted"
	case RejectedCongestion:
		return "rejected: congestion"
	case RejectedInvalidTopicID:
		return "rejected: invalid topic ID"
	case RejectedNotSupported:
		return "rejected: not supported"
	}
	return reserved(byte(c))
}

// TopicIDType says what stands in a topic id field (MQTT-SN 1.2 section 5.3.4).
// Normal and pre-defined topic ids are separate number spaces.
type TopicIDType uint8

// The topic id types.
const (
	TopicIDNormal     TopicIDType = 0b00 // an id in PUBLISH, a name or filter in SUBSCRIBE and UNSUBSCRIBE
	TopicIDPredefined TopicIDType = 0b01
	TopicIDShort      TopicIDType = 0b10 // a topic name of exactly two octets
	TopicIDReserved   TopicIDType = 0b11
)

// String returns "normal", "pre-defined", "short" or "reserved(0x03)".
func (t TopicIDType) String() string {
	switch t {
	case TopicIDNormal:
		return "normal"
	case TopicIDPredefined:
		return "pre-defined"
	case TopicIDShort:
		return "short"
	}
	return reserved(byte(t))
}

// QoSMinusOne is the value of the QoS bits for QoS -1: a PUBLISH from a client that
// has no connection, without any answer (MQTT-SN 1.2 section 6.8).
const QoSMinusOne uint8 = 3

// ShortName returns the two octets of the short topic name that a TopicID field
// carries under TopicIDShort (MQTT-SN 1.2 section 6.7).
func ShortName(id uint16) [2]byte { return [2]byte{byte(id >> 8), byte(id)} }

// ShortID returns the TopicID field that carries a short topic name. The name has
// exactly two octets; for any other length the answer is 0x0000, which no usable
// name has, since U+0000 may not occur in topic names.
func ShortID(name string) uint16 {
	if len(name) != 2 {
		return 0
	}
	return uint16(name[0])<<8 | uint16(name[1])
}

func reserved(v byte) string {
	const hex = "0123456789ABCDEF"
	return "reserved(0x" + string([]byte{hex[v>>4], hex[v&0x0F]}) + ")"
}
