package dialogue

// Kind is what a message is for. Kinds are named as the specifications of MQTT-SN name their
// messages.
type Kind uint8

// The kinds. Those from Advertise to GWInfo are for the discovery of gateways, and Encapsulated
// is for forwarders.
const (
	Reserved Kind = iota // the version has no such message
	Advertise
	SearchGW
	GWInfo
	Connect
	ConnAck
	WillTopicReq
	WillTopic
	WillMsgReq
	WillMsg
	Register
	RegAck
	Publish
	PubAck
	PubComp
	PubRec
	PubRel
	Subscribe
	SubAck
	Unsubscribe
	UnsubAck
	PingReq
	PingResp
	Disconnect
	WillTopicUpd
	WillTopicResp
	WillMsgUpd
	WillMsgResp
	Encapsulated

	numKinds
)

var kindNames = [numKinds]string{
	"reserved", "ADVERTISE", "SEARCHGW", "GWINFO", "CONNECT", "CONNACK",
	"WILLTOPICREQ", "WILLTOPIC", "WILLMSGREQ", "WILLMSG",
	"REGISTER", "REGACK", "PUBLISH", "PUBACK", "PUBCOMP", "PUBREC", "PUBREL",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT",
	"WILLTOPICUPD", "WILLTOPICRESP", "WILLMSGUPD", "WILLMSGRESP", "ENCAPSULATED",
}

// String is the name of the message in logs and metrics, such as "CONNECT".
func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return kindNames[Reserved]
}

// KindNames lists the names of all kinds, indexed by Kind.
func KindNames() []string { return append([]string(nil), kindNames[:]...) }
