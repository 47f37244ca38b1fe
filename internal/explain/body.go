package explain

import (
	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

// body explains what follows the header. It is long because it has a case for each
// message.
func (p *printer) body(t sn12.Type) {
	switch t {
	case sn12.TypeAdvertise:
		p.octet("GwId", "%d")
		p.duration("Duration", "until the next ADVERTISE")
	case sn12.TypeSearchGW:
		if p.need(1, "Radius") {
			p.row(1, "Radius", "%s", radius(p.d[p.pos]))
		}
	case sn12.TypeGWInfo:
		p.octet("GwId", "%d")
		if p.left() > 0 {
			p.octetsRow(p.left(), "GwAdd")
			p.note("GwAdd is there, so a client answers for the gateway (section 5.4.3)")
		}
	case sn12.TypeConnect:
		p.connect()
	case sn12.TypeConnAck:
		if c, ok := p.returnCode(); ok && c == sn12.RejectedInvalidTopicID {
			p.note("a CONNECT has no topic id that could be invalid; treat it as any rejection")
		}
	case sn12.TypeWillTopicReq, sn12.TypeWillMsgReq, sn12.TypePingResp:
		// header only
	case sn12.TypeWillTopic, sn12.TypeWillTopicUpd:
		p.willTopic(t)
	case sn12.TypeWillMsg, sn12.TypeWillMsgUpd:
		p.octetsRow(p.left(), "WillMsg")
	case sn12.TypeRegister:
		p.register()
	case sn12.TypeRegAck:
		p.regAck()
	case sn12.TypePublish:
		p.publish()
	case sn12.TypePubAck:
		p.pubAck()
	case sn12.TypePubRec, sn12.TypePubRel, sn12.TypePubComp, sn12.TypeUnsubAck:
		p.msgID(true)
	case sn12.TypeSubscribe:
		if flags := p.flags(t, bitDUP|bitsQoS|bitsTopicIDType); flags&bitsQoS == bitsQoS {
			p.warn("QoS -1 is for PUBLISH only and cannot be subscribed (section 6.8)")
		}
		p.subscription()
	case sn12.TypeUnsubscribe:
		p.flags(t, bitsTopicIDType)
		p.subscription()
	case sn12.TypeSubAck:
		p.subAck()
	case sn12.TypePingReq:
		if p.left() > 0 {
			p.clientID()
			p.note("a ClientId says that a sleeping client is awake to receive (section 6.14)")
		}
	case sn12.TypeDisconnect:
		p.disconnect()
	case sn12.TypeWillTopicResp, sn12.TypeWillMsgResp:
		p.returnCode()
	}
}

func (p *printer) connect() {
	p.flags(sn12.TypeConnect, bitWill|bitCleanSession)
	if v, ok := p.octet("ProtocolId", "0x%02X"); ok && v != sn12.ProtocolID {
		p.warn("ProtocolId 0x%02X is not MQTT-SN 1.2, which has 0x%02X (section 5.3.8)", v, sn12.ProtocolID)
	}
	if v, ok := p.duration("Duration", "keep-alive"); ok && v == 0 {
		p.note("keep-alive 0: the specification gives it no meaning, in MQTT it switches supervision off")
	}
	if p.err == nil && p.left() == 0 {
		p.fail(sn12.ErrNoClientID, "ClientId is missing; it has 1 to %d characters (section 5.3.1)", maxClientID)
		return
	}
	p.clientID()
}

func (p *printer) willTopic(t sn12.Type) {
	if p.left() == 0 {
		p.note("the empty form: delete the stored will topic and will message (sections 5.4.7 and 5.4.22)")
		return
	}
	if flags := p.flags(t, bitsQoS|bitRetain); flags&bitsQoS == bitsQoS {
		p.warn("a will cannot have QoS -1 (section 5.4.7)")
	}
	if p.left() == 0 {
		p.fail(snpacket.ErrLayout, "WillTopic is missing behind Flags; only the form without both may leave it out")
		return
	}
	p.name("WillTopic")
}

func (p *printer) register() {
	if p.need(2, "TopicId") {
		v := p.peek16()
		from := "announced by a gateway"
		if v == 0 {
			from = "asked for by a client"
		}
		p.row(2, "TopicId", "0x%04X (%d), %s", v, v, from)
		if v == 0xFFFF {
			p.warn("TopicId 0xFFFF is reserved and stands for no topic (section 5.3.11)")
		}
	}
	p.msgID(true)
	p.name("TopicName")
}

func (p *printer) regAck() {
	id := p.topicID(sn12.TopicIDNormal, false)
	p.msgID(true)
	if c, ok := p.returnCode(); ok && c == sn12.Accepted && (id == 0 || id == 0xFFFF) {
		p.warn("accepted, but TopicId 0x%04X is reserved and stands for no topic (section 5.3.11)", id)
	}
}

func (p *printer) publish() {
	flags := p.flags(sn12.TypePublish, bitDUP|bitsQoS|bitRetain|bitsTopicIDType)
	typ, qos := sn12.TopicIDType(flags&bitsTopicIDType), flags&bitsQoS>>5
	p.topicID(typ, true)
	msgID := p.msgID(false)
	if p.err != nil {
		return
	}
	p.octetsRow(p.left(), "Data")

	acknowledged := qos == 1 || qos == 2
	if typ == sn12.TopicIDReserved {
		p.warn("TopicIdType 0b11 is reserved (section 5.3.4)")
	}
	if qos == sn12.QoSMinusOne && typ == sn12.TopicIDNormal {
		p.warn("QoS -1 with a normal topic id is not allowed, only with a pre-defined id or a short name (section 6.8); " +
			"some clients mean the length of a name before the data (qos_minus_one.long_names)")
	}
	if acknowledged && msgID == 0 {
		p.warn("MsgId 0x0000 in a QoS %d PUBLISH; it needs another one to be acknowledged (section 5.3.7)", qos)
	}
	if !acknowledged && msgID != 0 {
		p.note("MsgId of a QoS 0 or -1 PUBLISH is 0x0000; receivers have no use for another (section 5.4.12)")
	}
	if !acknowledged && flags&bitDUP != 0 {
		p.warn("DUP in a PUBLISH that is never sent again, because its QoS is 0 or -1 (section 5.3.4)")
	}
}

func (p *printer) pubAck() {
	p.topicID(sn12.TopicIDNormal, false)
	msgID := p.msgID(false)
	if c, ok := p.returnCode(); ok && msgID == 0 {
		if c == sn12.Accepted {
			p.warn("MsgId 0x0000 accepts nothing: a PUBLISH that is to be acknowledged has another (section 5.3.7)")
		} else {
			p.note("MsgId 0x0000: rejects a QoS 0 PUBLISH")
		}
	}
}

// subscription explains what SUBSCRIBE and UNSUBSCRIBE have in common, the part behind
// Flags.
func (p *printer) subscription() {
	if p.err != nil {
		return
	}
	typ := sn12.TopicIDType(p.d[p.pos-1] & bitsTopicIDType)
	p.msgID(true)
	switch {
	case p.err != nil:
	case typ == sn12.TopicIDShort && p.left() != 2:
		p.fail(sn12.ErrTopicField, "a short topic name has exactly 2 octets, here are %d; other names need TopicIdType 0b00 (section 6.7)", p.left())
	case typ == sn12.TopicIDPredefined && p.left() != 2:
		p.fail(sn12.ErrTopicField, "a pre-defined topic id has exactly 2 octets, here are %d", p.left())
	case typ == sn12.TopicIDPredefined || typ == sn12.TopicIDShort:
		p.topicID(typ, true)
	case p.left() == 0:
		p.fail(sn12.ErrTopicField, "TopicName is missing; it has at least 1 octet")
	case typ == sn12.TopicIDReserved:
		p.warn("TopicIdType 0b11 is reserved (section 5.3.4)")
		p.octetsRow(p.left(), "(topic)")
	default:
		p.filter("TopicName")
	}
}

func (p *printer) subAck() {
	flags := p.flags(sn12.TypeSubAck, bitsQoS)
	p.topicID(sn12.TopicIDNormal, false)
	p.msgID(true)
	if _, ok := p.returnCode(); ok && flags&bitsQoS == bitsQoS {
		p.warn("QoS -1 cannot be granted (section 6.8)")
	}
}

func (p *printer) disconnect() {
	if p.left() == 0 {
		return
	}
	if v, ok := p.duration("Duration", "time asleep"); ok {
		p.note("a Duration says that the client goes to sleep; a gateway never sends it (section 5.4.21)")
		if v == 0 {
			p.note("Duration 0: the specification gives it no meaning")
		}
	}
}
