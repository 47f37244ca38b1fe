// Package dialogue is the contract between a session, which knows no version of MQTT-SN, and
// the versions: the messages that a device and its gateway exchange, in terms that every
// version has, and what turns them into octets and back. There is a package for each version;
// gateway/session/sn12 is that of MQTT-SN 1.2.
//
// Nothing here allocates: a session parses each datagram once, into a Message that serves all its
// steps, and sends values.
package dialogue

import "sngate/snpacket"

// Dialogue is one version of MQTT-SN as a session speaks it. It has no state: one value
// serves any number of sessions, and goroutines.
type Dialogue interface {
	// Parse reads a message into m, and sets all of it. It never fails: m.Kind says what came,
	// as far as the version knows it, and m.Fault what is wrong with it. m.Name and m.Data are
	// parts of f.Message.
	Parse(f snpacket.Frame, m *Message)

	// Append appends the octets of a message to b. It copies Name and Data. Where the version
	// cannot say the message it fails, with an error of package snpacket, and returns b as it
	// was.
	Append(b []byte, m Message) ([]byte, error)

	// Len is how many octets Append writes. For a message that Append refuses it has no meaning.
	Len(m Message) int

	// LongName splits a PUBLISH of QoS -1 whose TopicID, of type NormalTopic, means nothing to
	// the gateway, and may be the length of a topic name at the head of Data. It reports false
	// where it is none, or where the version has no devices with that habit. name and rest are
	// parts of m.Data.
	LongName(m Message) (name, rest []byte, ok bool)
}

// QoSMinusOne is the QoS of a PUBLISH whose sender needs no session and gets no answer
// (QoS -1). In any other message that has a QoS, and like any value above 2, it has no meaning.
const QoSMinusOne uint8 = 3

// Message is one message of a device or for a device, of any kind. A kind uses the fields of
// its row, and the others are zero:
//
//	Kind                        Fields
//	--------------------------  ------------------------------------------------------------------
//	Connect                     Clean, Will, Duration (keep-alive), Name (client id; empty: none)
//	ConnAck                     Code
//	WillTopicReq, WillMsgReq
//	WillTopic, WillTopicUpd     QoS, Retain, Name (topic; empty: no will)
//	WillMsg, WillMsgUpd         Data
//	WillTopicResp, WillMsgResp  Code
//	Register                    TopicID (0 from a device), MsgID, Name (topic)
//	RegAck                      TopicID, MsgID, Code
//	Publish                     Dup, QoS, Retain, TopicType, TopicID, MsgID (0 below QoS 1), Data
//	PubAck                      TopicID, MsgID, Code
//	PubRec, PubRel, PubComp     MsgID
//	Subscribe                   Dup, QoS, TopicType, MsgID, and Name (filter) or TopicID
//	SubAck                      QoS (granted), TopicID, MsgID, Code
//	Unsubscribe                 TopicType, MsgID, and Name (filter) or TopicID
//	UnsubAck                    MsgID
//	PingReq                     Name (client id of a sleeper that wakes; empty: none)
//	PingResp
//	Disconnect                  Duration (of a sleep; 0: none)
//
// The other kinds have no fields: they are not for a session.
//
// Name and Data belong to whoever has made the message. In one from Parse they are parts of the
// datagram, and valid as long as that is; what is kept longer is copied. Nobody changes them.
type Message struct {
	Kind      Kind
	Fault     Fault // of a message that has been received; one with a fault cannot be sent
	Code      Code
	QoS       uint8 // 0 to 2, or QoSMinusOne
	Dup       bool
	Retain    bool
	Clean     bool // CleanSession
	Will      bool // the device has a will, which it is to be asked for
	TopicType TopicType
	TopicID   uint16
	MsgID     uint16
	Duration  uint16 // seconds
	Name      []byte
	Data      []byte
}

// Fault says what is wrong with a message that has been received. What follows from it is
// for the session to decide.
type Fault uint8

// The faults.
const (
	NoFault       Fault = iota
	Malformed           // it cannot be read: nothing is set but Kind
	NoTopic             // SUBSCRIBE or UNSUBSCRIBE: its topic cannot be read, all else can
	WrongProtocol       // CONNECT: it is of another version; the fields are set all the same
)

// Code is what an answer says of the request.
type Code uint8

// The codes. A version has more, or fewer; what comes and is none of these is NotSupported.
const (
	Accepted       Code = iota
	Congestion          // the sender may try again later
	InvalidTopicID      // the receiver does not know the topic id
	NotSupported        // it is not going to work the next time either
)

// TopicType says what the topic of a PUBLISH, SUBSCRIBE or UNSUBSCRIBE is given by. The
// numbers are a part of what a session has stored, and never change.
type TopicType uint8

// The topic types.
const (
	NormalTopic     TopicType = 0 // by an id of the device in PUBLISH; by Name in the others
	PredefinedTopic TopicType = 1 // by an id of the configuration
	ShortTopic      TopicType = 2 // by its two octets, see ShortName
	ReservedTopic   TopicType = 3 // by something that the version does not define
)

// ShortName returns the topic name of two octets that TopicID carries with ShortTopic.
func ShortName(id uint16) [2]byte { return [2]byte{byte(id >> 8), byte(id)} }

// ShortID returns the TopicID that carries a topic name of two octets with ShortTopic.
func ShortID(name [2]byte) uint16 { return uint16(name[0])<<8 | uint16(name[1]) }
