package sn12

import (
	"errors"

	"sngate/gateway/session/dialogue"
	"sngate/snpacket"
	codec "sngate/snpacket/sn12"
	"sngate/topicreg"
)

// Parse implements dialogue.Dialogue.
//
// long function: a case for each message.
func (Dialogue) Parse(f snpacket.Frame, m *dialogue.Message) {
	*m = dialogue.Message{}
	var err error
	switch body := f.Body(); codec.Type(f.Type) {
	case codec.TypeAdvertise:
		m.Kind = dialogue.Advertise
	case codec.TypeSearchGW:
		m.Kind = dialogue.SearchGW
	case codec.TypeGWInfo:
		m.Kind = dialogue.GWInfo
	case codec.TypeConnect:
		m.Kind, err = dialogue.Connect, parseConnect(m, body)
	case codec.TypeConnAck:
		m.Kind, err = dialogue.ConnAck, parseCode(m, body)
	case codec.TypeWillTopicReq:
		m.Kind, err = dialogue.WillTopicReq, parseNothing(body)
	case codec.TypeWillTopic:
		m.Kind, err = dialogue.WillTopic, parseWillTopic(m, body)
	case codec.TypeWillMsgReq:
		m.Kind, err = dialogue.WillMsgReq, parseNothing(body)
	case codec.TypeWillMsg:
		m.Kind, m.Data = dialogue.WillMsg, body
	case codec.TypeRegister:
		m.Kind, err = dialogue.Register, parseRegister(m, body)
	case codec.TypeRegAck:
		m.Kind, err = dialogue.RegAck, parseTopicAck(m, body)
	case codec.TypePublish:
		m.Kind, err = dialogue.Publish, parsePublish(m, body)
	case codec.TypePubAck:
		m.Kind, err = dialogue.PubAck, parseTopicAck(m, body)
	case codec.TypePubComp:
		m.Kind, err = dialogue.PubComp, parseMsgID(m, body)
	case codec.TypePubRec:
		m.Kind, err = dialogue.PubRec, parseMsgID(m, body)
	case codec.TypePubRel:
		m.Kind, err = dialogue.PubRel, parseMsgID(m, body)
	case codec.TypeSubscribe:
		m.Kind, err = dialogue.Subscribe, parseSubscribe(m, body)
	case codec.TypeSubAck:
		m.Kind, err = dialogue.SubAck, parseSubAck(m, body)
	case codec.TypeUnsubscribe:
		m.Kind, err = dialogue.Unsubscribe, parseUnsubscribe(m, body)
	case codec.TypeUnsubAck:
		m.Kind, err = dialogue.UnsubAck, parseMsgID(m, body)
	case codec.TypePingReq:
		m.Kind, m.Name = dialogue.PingReq, body
	case codec.TypePingResp:
		m.Kind, err = dialogue.PingResp, parseNothing(body)
	case codec.TypeDisconnect:
		m.Kind, err = dialogue.Disconnect, parseDisconnect(m, body)
	case codec.TypeWillTopicUpd:
		m.Kind, err = dialogue.WillTopicUpd, parseWillTopic(m, body)
	case codec.TypeWillTopicResp:
		m.Kind, err = dialogue.WillTopicResp, parseCode(m, body)
	case codec.TypeWillMsgUpd:
		m.Kind, m.Data = dialogue.WillMsgUpd, body
	case codec.TypeWillMsgResp:
		m.Kind, err = dialogue.WillMsgResp, parseCode(m, body)
	case codec.TypeEncapsulated:
		m.Kind = dialogue.Encapsulated
	}
	if err != nil {
		m.Fault = faultOf(err)
	}
}

// faultOf tells what an error of the codec amounts to.
func faultOf(err error) dialogue.Fault {
	if errors.Is(err, codec.ErrTopicField) {
		return dialogue.NoTopic
	}
	return dialogue.Malformed
}

// parseConnect takes a CONNECT without client id for one: who has none may be assigned one.
func parseConnect(m *dialogue.Message, body []byte) error {
	var c codec.Connect
	if err := c.Parse(body); err != nil && !errors.Is(err, codec.ErrNoClientID) {
		return err
	}
	m.Clean, m.Will, m.Duration, m.Name = c.CleanSession, c.Will, c.Duration, c.ClientID
	if c.ProtocolID != codec.ProtocolID {
		m.Fault = dialogue.WrongProtocol
	}
	return nil
}

// parseWillTopic reads WILLTOPIC and WILLTOPICUPD, which differ in type only.
func parseWillTopic(m *dialogue.Message, body []byte) error {
	var w codec.WillTopic
	err := w.Parse(body)
	m.QoS, m.Retain, m.Name = w.QoS, w.Retain, w.Topic
	return err
}

func parseRegister(m *dialogue.Message, body []byte) error {
	var r codec.Register
	err := r.Parse(body)
	m.TopicID, m.MsgID, m.Name = r.TopicID, r.MsgID, r.TopicName
	return err
}

func parsePublish(m *dialogue.Message, body []byte) error {
	var p codec.Publish
	err := p.Parse(body)
	m.Dup, m.QoS, m.Retain = p.DUP, p.QoS, p.Retain
	m.TopicType, m.TopicID, m.MsgID, m.Data = topicTypeOf(p.TopicIDType), p.TopicID, p.MsgID, p.Data
	return err
}

func parseSubscribe(m *dialogue.Message, body []byte) error {
	var s codec.Subscribe
	err := s.Parse(body)
	m.Dup, m.QoS = s.DUP, s.QoS
	m.TopicType, m.TopicID, m.MsgID, m.Name = topicTypeOf(s.TopicIDType), s.TopicID, s.MsgID, s.TopicName
	return err
}

func parseUnsubscribe(m *dialogue.Message, body []byte) error {
	var u codec.Unsubscribe
	err := u.Parse(body)
	m.TopicType, m.TopicID, m.MsgID, m.Name = topicTypeOf(u.TopicIDType), u.TopicID, u.MsgID, u.TopicName
	return err
}

func parseSubAck(m *dialogue.Message, body []byte) error {
	var s codec.SubAck
	err := s.Parse(body)
	m.QoS, m.TopicID, m.MsgID, m.Code = s.QoS, s.TopicID, s.MsgID, codeOf(s.ReturnCode)
	return err
}

func parseDisconnect(m *dialogue.Message, body []byte) error {
	var d codec.Disconnect
	err := d.Parse(body)
	m.Duration = d.Duration
	return err
}

// parseTopicAck reads REGACK and PUBACK, which differ in type only.
func parseTopicAck(m *dialogue.Message, body []byte) error {
	var a codec.PubAck
	err := a.Parse(body)
	m.TopicID, m.MsgID, m.Code = a.TopicID, a.MsgID, codeOf(a.ReturnCode)
	return err
}

// parseMsgID reads the messages that have nothing but a MsgId.
func parseMsgID(m *dialogue.Message, body []byte) error {
	var r codec.PubRec
	err := r.Parse(body)
	m.MsgID = r.MsgID
	return err
}

// parseCode reads the messages that have nothing but a ReturnCode.
func parseCode(m *dialogue.Message, body []byte) error {
	var c codec.ConnAck
	err := c.Parse(body)
	m.Code = codeOf(c.ReturnCode)
	return err
}

func parseNothing(body []byte) error {
	var p codec.PingResp
	return p.Parse(body)
}

// LongName implements dialogue.Dialogue. Some clients write a name that is neither
// predefined nor short before the data of a PUBLISH of QoS -1, and its length into the topic
// id. The specification has no such form.
func (Dialogue) LongName(m dialogue.Message) (name, rest []byte, ok bool) {
	n := int(m.TopicID)
	if m.Kind != dialogue.Publish || m.TopicType != dialogue.NormalTopic || n > len(m.Data) || topicreg.ValidName(m.Data[:n]) != nil {
		return nil, nil, false
	}
	return m.Data[:n], m.Data[n:], true
}
