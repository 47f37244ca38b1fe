package sn12

import "sngate/snpacket"

// Message is any message of this package, as a value.
type Message interface {
	// Type returns the MsgType.
	Type() Type
	// Len returns the number of octets Append writes, header included. For a value
	// that Append refuses it has no meaning.
	Len() int
	// Append appends the whole message, in the short form of the Length field
	// wherever that is possible. It fails with snpacket.ErrLayout or
	// snpacket.ErrTooLong and then returns b as it was.
	Append(b []byte) ([]byte, error)
}

// Parse decodes a whole datagram, for tools and tests: it allocates the message it
// returns, which is a value such as Connect, never a pointer. An encapsulated
// message is checked to its innermost layer and returned as Encapsulated; nested
// encapsulation and an empty node id are left to the caller's judgement.
//
// The errors are those of snpacket. Slices in the message alias datagram.
func Parse(datagram []byte) (Message, error) {
	if !IsEncapsulated(datagram) {
		return parsePlain(datagram)
	}
	var outer Encapsulated
	if err := outer.Parse(datagram); err != nil {
		return nil, err
	}
	// A loop and not a recursion: a large datagram has room for 20,000 layers.
	inner := outer.Inner
	for IsEncapsulated(inner) {
		var e Encapsulated
		if err := e.Parse(inner); err != nil {
			return nil, err
		}
		inner = e.Inner
	}
	if _, err := parsePlain(inner); err != nil {
		return nil, err
	}
	return outer, nil
}

// parsePlain parses a message that is not encapsulated.
//
// long function: a case for each message.
func parsePlain(datagram []byte) (Message, error) {
	t, body, err := snpacket.Split(datagram)
	if err != nil {
		return nil, err
	}
	switch Type(t) {
	case TypeAdvertise:
		return decode[Advertise](body)
	case TypeSearchGW:
		return decode[SearchGW](body)
	case TypeGWInfo:
		return decode[GWInfo](body)
	case TypeConnect:
		return decode[Connect](body)
	case TypeConnAck:
		return decode[ConnAck](body)
	case TypeWillTopicReq:
		return decode[WillTopicReq](body)
	case TypeWillTopic:
		return decode[WillTopic](body)
	case TypeWillMsgReq:
		return decode[WillMsgReq](body)
	case TypeWillMsg:
		return decode[WillMsg](body)
	case TypeRegister:
		return decode[Register](body)
	case TypeRegAck:
		return decode[RegAck](body)
	case TypePublish:
		return decode[Publish](body)
	case TypePubAck:
		return decode[PubAck](body)
	case TypePubComp:
		return decode[PubComp](body)
	case TypePubRec:
		return decode[PubRec](body)
	case TypePubRel:
		return decode[PubRel](body)
	case TypeSubscribe:
		return decode[Subscribe](body)
	case TypeSubAck:
		return decode[SubAck](body)
	case TypeUnsubscribe:
		return decode[Unsubscribe](body)
	case TypeUnsubAck:
		return decode[UnsubAck](body)
	case TypePingReq:
		return decode[PingReq](body)
	case TypePingResp:
		return decode[PingResp](body)
	case TypeDisconnect:
		return decode[Disconnect](body)
	case TypeWillTopicUpd:
		return decode[WillTopicUpd](body)
	case TypeWillTopicResp:
		return decode[WillTopicResp](body)
	case TypeWillMsgUpd:
		return decode[WillMsgUpd](body)
	case TypeWillMsgResp:
		return decode[WillMsgResp](body)
	case TypeEncapsulated:
		// The 3-octet Length, which an encapsulation header does not have
		// (MQTT-SN 1.2 section 5.5).
		return nil, snpacket.ErrLength
	}
	return nil, snpacket.ErrType
}

func decode[M Message, P interface {
	*M
	Parse(body []byte) error
}](body []byte) (Message, error) {
	var m M
	if err := P(&m).Parse(body); err != nil {
		return nil, err
	}
	return m, nil
}
