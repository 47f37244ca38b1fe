package sn12

import (
	"errors"

	"sngate/gateway/session/dialogue"
	"sngate/snpacket"
	codec "sngate/snpacket/sn12"
)

// Parse implements dialogue.Dialogue.
//
// long function: a case for each message.
func (Dialogue) Parse(f snpacket.Frame) dialogue.Message {
	body := f.Body()
	switch codec.Type(f.Type) {
	case codec.TypeAdvertise:
		return dialogue.Message{Kind: dialogue.Advertise}
	case codec.TypeSearchGW:
		return dialogue.Message{Kind: dialogue.SearchGW}
	case codec.TypeGWInfo:
		return dialogue.Message{Kind: dialogue.GWInfo}
	case codec.TypeConnect:
		return parseConnect(body)
	case codec.TypeConnAck:
		return parseCode(dialogue.ConnAck, body)
	case codec.TypeWillTopicReq:
		return parseNothing(dialogue.WillTopicReq, body)
	case codec.TypeWillTopic:
		return parseWillTopic(dialogue.WillTopic, body)
	case codec.TypeWillMsgReq:
		return parseNothing(dialogue.WillMsgReq, body)
	case codec.TypeWillMsg:
		return dialogue.Message{Kind: dialogue.WillMsg, Data: body}
	case codec.TypeRegister:
		return parseRegister(body)
	case codec.TypeRegAck:
		return parseTopicAck(dialogue.RegAck, body)
	case codec.TypePublish:
		return parsePublish(body)
	case codec.TypePubAck:
		return parseTopicAck(dialogue.PubAck, body)
	case codec.TypePubComp:
		return parseMsgID(dialogue.PubComp, body)
	case codec.TypePubRec:
		return parseMsgID(dialogue.PubRec, body)
	case codec.TypePubRel:
		return parseMsgID(dialogue.PubRel, body)
	case codec.TypeSubscribe:
		return parseSubscribe(body)
	case codec.TypeSubAck:
		return parseSubAck(body)
	case codec.TypeUnsubscribe:
		return parseUnsubscribe(body)
	case codec.TypeUnsubAck:
		return parseMsgID(dialogue.UnsubAck, body)
	case codec.TypePingReq:
		return dialogue.Message{Kind: dialogue.PingReq, Name: body}
	case codec.TypePingResp:
		return parseNothing(dialogue.PingResp, body)
	case codec.TypeDisconnect:
		return parseDisconnect(body)
	case codec.TypeWillTopicUpd:
		return parseWillTopic(dialogue.WillTopicUpd, body)
	case codec.TypeWillTopicResp:
		return parseCode(dialogue.WillTopicResp, body)
	case codec.TypeWillMsgUpd:
		return dialogue.Message{Kind: dialogue.WillMsgUpd, Data: body}
	case codec.TypeWillMsgResp:
		return parseCode(dialogue.WillMsgResp, body)
	case codec.TypeEncapsulated:
		return dialogue.Message{Kind: dialogue.Encapsulated}
	}
	return dialogue.Message{Kind: dialogue.Reserved}
}

func malformed(k dialogue.Kind) dialogue.Message {
	return dialogue.Message{Kind: k, Fault: dialogue.Malformed}
}

// parseConnect takes a CONNECT without client id for one: who has none may be assigned one.
func parseConnect(body []byte) dialogue.Message {
	var c codec.Connect
	if err := c.Parse(body); err != nil && !errors.Is(err, codec.ErrNoClientID) {
		return malformed(dialogue.Connect)
	}
	m := dialogue.Message{Kind: dialogue.Connect, Clean: c.CleanSession, Will: c.Will, Duration: c.Duration, Name: c.ClientID}
	if c.ProtocolID != codec.ProtocolID {
		m.Fault = dialogue.WrongProtocol
	}
	return m
}

func parseWillTopic(k dialogue.Kind, body []byte) dialogue.Message {
	var w codec.WillTopic // WILLTOPICUPD looks the same
	if w.Parse(body) != nil {
		return malformed(k)
	}
	return dialogue.Message{Kind: k, QoS: w.QoS, Retain: w.Retain, Name: w.Topic}
}

func parseRegister(body []byte) dialogue.Message {
	var r codec.Register
	if r.Parse(body) != nil {
		return malformed(dialogue.Register)
	}
	return dialogue.Message{Kind: dialogue.Register, TopicID: r.TopicID, MsgID: r.MsgID, Name: r.TopicName}
}

func parsePublish(body []byte) dialogue.Message {
	var p codec.Publish
	if p.Parse(body) != nil {
		return malformed(dialogue.Publish)
	}
	return dialogue.Message{
		Kind: dialogue.Publish, Dup: p.DUP, QoS: p.QoS, Retain: p.Retain,
		TopicType: topicTypeOf(p.TopicIDType), TopicID: p.TopicID, MsgID: p.MsgID, Data: p.Data,
	}
}

func parseSubscribe(body []byte) dialogue.Message {
	var s codec.Subscribe
	err := s.Parse(body)
	return withTopic(dialogue.Message{
		Kind: dialogue.Subscribe, Dup: s.DUP, QoS: s.QoS,
		TopicType: topicTypeOf(s.TopicIDType), TopicID: s.TopicID, MsgID: s.MsgID, Name: s.TopicName,
	}, err)
}

func parseUnsubscribe(body []byte) dialogue.Message {
	var u codec.Unsubscribe
	err := u.Parse(body)
	return withTopic(dialogue.Message{
		Kind: dialogue.Unsubscribe, TopicType: topicTypeOf(u.TopicIDType), TopicID: u.TopicID, MsgID: u.MsgID, Name: u.TopicName,
	}, err)
}

// withTopic is m with the fault that err, of SUBSCRIBE or UNSUBSCRIBE, amounts to.
func withTopic(m dialogue.Message, err error) dialogue.Message {
	switch {
	case err == nil:
	case errors.Is(err, codec.ErrTopicField):
		m.Fault = dialogue.NoTopic
	default:
		return malformed(m.Kind)
	}
	return m
}

func parseSubAck(body []byte) dialogue.Message {
	var s codec.SubAck
	if s.Parse(body) != nil {
		return malformed(dialogue.SubAck)
	}
	return dialogue.Message{Kind: dialogue.SubAck, QoS: s.QoS, TopicID: s.TopicID, MsgID: s.MsgID, Code: codeOf(s.ReturnCode)}
}

func parseDisconnect(body []byte) dialogue.Message {
	var d codec.Disconnect
	if d.Parse(body) != nil {
		return malformed(dialogue.Disconnect)
	}
	return dialogue.Message{Kind: dialogue.Disconnect, Duration: d.Duration}
}

// parseTopicAck reads REGACK and PUBACK.
func parseTopicAck(k dialogue.Kind, body []byte) dialogue.Message {
	var a codec.PubAck
	if a.Parse(body) != nil {
		return malformed(k)
	}
	return dialogue.Message{Kind: k, TopicID: a.TopicID, MsgID: a.MsgID, Code: codeOf(a.ReturnCode)}
}

// parseMsgID reads the messages that have nothing but a MsgId.
func parseMsgID(k dialogue.Kind, body []byte) dialogue.Message {
	var r codec.PubRec
	if r.Parse(body) != nil {
		return malformed(k)
	}
	return dialogue.Message{Kind: k, MsgID: r.MsgID}
}

// parseCode reads the messages that have nothing but a ReturnCode.
func parseCode(k dialogue.Kind, body []byte) dialogue.Message {
	var c codec.ConnAck
	if c.Parse(body) != nil {
		return malformed(k)
	}
	return dialogue.Message{Kind: k, Code: codeOf(c.ReturnCode)}
}

func parseNothing(k dialogue.Kind, body []byte) dialogue.Message {
	if len(body) > 0 {
		return malformed(k)
	}
	return dialogue.Message{Kind: k}
}
