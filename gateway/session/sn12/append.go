package sn12

import (
	"sngate/gateway/session/dialogue"
	"sngate/snpacket"
	codec "sngate/snpacket/sn12"
)

// Append implements dialogue.Dialogue.
//
// long function: a case for each message.
func (Dialogue) Append(b []byte, m dialogue.Message) ([]byte, error) {
	if m.Fault != dialogue.NoFault {
		return b, snpacket.ErrLayout
	}
	switch m.Kind {
	case dialogue.Connect:
		return connect(&m).Append(b)
	case dialogue.ConnAck:
		return codec.ConnAck{ReturnCode: returnCode(m.Code)}.Append(b)
	case dialogue.WillTopicReq:
		return codec.WillTopicReq{}.Append(b)
	case dialogue.WillTopic:
		return willTopic(&m).Append(b)
	case dialogue.WillMsgReq:
		return codec.WillMsgReq{}.Append(b)
	case dialogue.WillMsg:
		return codec.WillMsg{Message: m.Data}.Append(b)
	case dialogue.Register:
		return register(&m).Append(b)
	case dialogue.RegAck:
		return codec.RegAck{TopicID: m.TopicID, MsgID: m.MsgID, ReturnCode: returnCode(m.Code)}.Append(b)
	case dialogue.Publish:
		return publish(&m).Append(b)
	case dialogue.PubAck:
		return codec.PubAck{TopicID: m.TopicID, MsgID: m.MsgID, ReturnCode: returnCode(m.Code)}.Append(b)
	case dialogue.PubComp:
		return codec.PubComp{MsgID: m.MsgID}.Append(b)
	case dialogue.PubRec:
		return codec.PubRec{MsgID: m.MsgID}.Append(b)
	case dialogue.PubRel:
		return codec.PubRel{MsgID: m.MsgID}.Append(b)
	case dialogue.Subscribe:
		return subscribe(&m).Append(b)
	case dialogue.SubAck:
		return codec.SubAck{QoS: m.QoS, TopicID: m.TopicID, MsgID: m.MsgID, ReturnCode: returnCode(m.Code)}.Append(b)
	case dialogue.Unsubscribe:
		return unsubscribe(&m).Append(b)
	case dialogue.UnsubAck:
		return codec.UnsubAck{MsgID: m.MsgID}.Append(b)
	case dialogue.PingReq:
		return codec.PingReq{ClientID: m.Name}.Append(b)
	case dialogue.PingResp:
		return codec.PingResp{}.Append(b)
	case dialogue.Disconnect:
		return disconnect(&m).Append(b)
	case dialogue.WillTopicUpd:
		return codec.WillTopicUpd(willTopic(&m)).Append(b)
	case dialogue.WillTopicResp:
		return codec.WillTopicResp{ReturnCode: returnCode(m.Code)}.Append(b)
	case dialogue.WillMsgUpd:
		return codec.WillMsgUpd{Message: m.Data}.Append(b)
	case dialogue.WillMsgResp:
		return codec.WillMsgResp{ReturnCode: returnCode(m.Code)}.Append(b)
	}
	return b, snpacket.ErrType // it is not for a session
}

// Len implements dialogue.Dialogue.
func (Dialogue) Len(m dialogue.Message) int {
	switch m.Kind {
	case dialogue.Connect:
		return connect(&m).Len()
	case dialogue.WillTopic, dialogue.WillTopicUpd:
		return willTopic(&m).Len()
	case dialogue.WillMsg, dialogue.WillMsgUpd:
		return codec.WillMsg{Message: m.Data}.Len()
	case dialogue.Register:
		return register(&m).Len()
	case dialogue.Publish:
		return publish(&m).Len()
	case dialogue.RegAck, dialogue.PubAck:
		return codec.PubAck{}.Len()
	case dialogue.PubRec, dialogue.PubRel, dialogue.PubComp, dialogue.UnsubAck:
		return codec.PubRec{}.Len()
	case dialogue.Subscribe:
		return subscribe(&m).Len()
	case dialogue.SubAck:
		return codec.SubAck{}.Len()
	case dialogue.Unsubscribe:
		return unsubscribe(&m).Len()
	case dialogue.PingReq:
		return codec.PingReq{ClientID: m.Name}.Len()
	case dialogue.Disconnect:
		return disconnect(&m).Len()
	case dialogue.ConnAck, dialogue.WillTopicResp, dialogue.WillMsgResp:
		return codec.ConnAck{}.Len()
	}
	return codec.PingResp{}.Len()
}

func connect(m *dialogue.Message) codec.Connect {
	return codec.Connect{Will: m.Will, CleanSession: m.Clean, ProtocolID: codec.ProtocolID, Duration: m.Duration, ClientID: m.Name}
}

func willTopic(m *dialogue.Message) codec.WillTopic {
	return codec.WillTopic{Empty: len(m.Name) == 0, QoS: m.QoS, Retain: m.Retain, Topic: m.Name}
}

func register(m *dialogue.Message) codec.Register {
	return codec.Register{TopicID: m.TopicID, MsgID: m.MsgID, TopicName: m.Name}
}

func publish(m *dialogue.Message) codec.Publish {
	return codec.Publish{
		DUP: m.Dup, QoS: m.QoS, Retain: m.Retain,
		TopicIDType: topicIDType(m.TopicType), TopicID: m.TopicID, MsgID: m.MsgID, Data: m.Data,
	}
}

func subscribe(m *dialogue.Message) codec.Subscribe {
	return codec.Subscribe{DUP: m.Dup, QoS: m.QoS, TopicIDType: topicIDType(m.TopicType), MsgID: m.MsgID, TopicName: m.Name, TopicID: m.TopicID}
}

func unsubscribe(m *dialogue.Message) codec.Unsubscribe {
	return codec.Unsubscribe{TopicIDType: topicIDType(m.TopicType), MsgID: m.MsgID, TopicName: m.Name, TopicID: m.TopicID}
}

// disconnect has no Duration field where there is nothing to say: 0 is no sleep.
func disconnect(m *dialogue.Message) codec.Disconnect {
	return codec.Disconnect{HasDuration: m.Duration > 0, Duration: m.Duration}
}
