package sn12_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

func allSamples() []sample {
	return slices.Concat(discoverySamples, connectSamples, willSamples, registerSamples,
		publishSamples, pubRecSamples, subscribeSamples, pingSamples, encapsulatedSamples)
}

// FuzzParse: whatever parses can be sent again, in no more octets, and reads back as
// the same message; no part of it is a message of its own; parsing changes nothing.
func FuzzParse(f *testing.F) {
	for _, v := range loadVectors(f) {
		f.Add(unhex(f, v.Hex))
	}
	for _, s := range allSamples() {
		f.Add(unhex(f, s.hex))
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		before := bytes.Clone(datagram)
		m, err := sn12.Parse(datagram)
		if !bytes.Equal(before, datagram) {
			t.Fatalf("Parse changed its input %x to %x", before, datagram)
		}
		if err != nil {
			if m != nil {
				t.Fatalf("Parse returned both %+v and %v", m, err)
			}
			return
		}
		out, err := m.Append(nil)
		if err != nil {
			t.Fatalf("parsed %+v, Append: %v", m, err)
		}
		if len(out) > len(datagram) || len(out) != m.Len() {
			t.Fatalf("%d octets parsed, %d appended, Len %d", len(datagram), len(out), m.Len())
		}
		again, err := sn12.Parse(out)
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("parsed %+v, appended %x, parsed %+v, %v", m, out, again, err)
		}
		for n := range datagram {
			if p, err := sn12.Parse(datagram[:n]); err == nil {
				t.Fatalf("the first %d of %d octets of %+v parsed to %+v", n, len(datagram), m, p)
			}
		}
	})
}

// FuzzAppend: a message either reads back as it was appended, behind what the buffer
// held, or is refused and leaves the buffer alone.
func FuzzAppend(f *testing.F) {
	types := knownTypes()
	for i := range types {
		f.Add(byte(i), byte(0), uint16(0), uint16(1), []byte(nil))
		f.Add(byte(i), byte(0xFF), uint16(0xFFFF), uint16(0xFFFF), []byte("ab"))
		f.Add(byte(i), byte(0x21), uint16(0x6162), uint16(7), bytes.Repeat([]byte("t"), 254))
	}
	f.Fuzz(func(t *testing.T, kind, flags byte, a, b uint16, octets []byte) {
		octets = append([]byte{}, octets...) // empty like the slices of a parsed message, never nil
		m, hasRoom := build(types[int(kind)%len(types)], flags, a, b, octets)
		held := []byte{0xEE, 0xEE}
		out, err := m.Append(slices.Clip(held))
		if err != nil {
			if !bytes.Equal(out, held) || !errors.Is(err, snpacket.ErrLayout) && !errors.Is(err, snpacket.ErrTooLong) {
				t.Fatalf("Append(%+v) = %x, %v", m, out, err)
			}
			if hasRoom {
				t.Fatalf("Append(%+v) refused: %v", m, err)
			}
			return
		}
		if !bytes.HasPrefix(out, held) || m.Len() != len(out)-len(held) {
			t.Fatalf("Append(%+v) = %x, Len %d", m, out, m.Len())
		}
		again, err := sn12.Parse(out[len(held):])
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("appended %+v, read back %x as %+v, %v", m, out, again, err)
		}
	})
}

func knownTypes() []sn12.Type {
	var types []sn12.Type
	for v := range 256 {
		if sn12.Type(v).Known() {
			types = append(types, sn12.Type(v))
		}
	}
	return types
}

// build makes a message of any type from fuzzed parts. Every field is within its
// range, but the parts need not agree with each other; ok says that Append must
// accept the message. It is long because it has a case for each message.
func build(typ sn12.Type, flags byte, a, b uint16, octets []byte) (m sn12.Message, ok bool) {
	bit := func(n uint) bool { return flags>>n&1 == 1 }
	qos, topicType, rc := flags>>5&3, sn12.TopicIDType(flags&3), sn12.ReturnCode(flags)
	small := len(octets) <= 65000
	named := small && len(octets) > 0
	willName := octets
	if bit(0) && len(octets) == 0 {
		willName = nil // the empty form has no topic at all
	}
	// With topic id types that have no name octets are left out, and the id otherwise.
	name, id, topicOK := octets, uint16(0), named
	if topicType == sn12.TopicIDPredefined || topicType == sn12.TopicIDShort {
		name, id, topicOK = nil, a, true
	}
	switch typ {
	case sn12.TypeAdvertise:
		return sn12.Advertise{GwID: flags, Duration: a}, true
	case sn12.TypeSearchGW:
		return sn12.SearchGW{Radius: flags}, true
	case sn12.TypeGWInfo:
		return sn12.GWInfo{GwID: flags, GwAdd: octets}, small
	case sn12.TypeConnect:
		return sn12.Connect{Will: bit(3), CleanSession: bit(2), ProtocolID: uint8(b), Duration: a, ClientID: octets}, named
	case sn12.TypeConnAck:
		return sn12.ConnAck{ReturnCode: rc}, true
	case sn12.TypeWillTopicReq:
		return sn12.WillTopicReq{}, true
	case sn12.TypeWillTopic:
		return sn12.WillTopic{Empty: bit(0), QoS: qos, Retain: bit(4), Topic: willName}, named && !bit(0)
	case sn12.TypeWillMsgReq:
		return sn12.WillMsgReq{}, true
	case sn12.TypeWillMsg:
		return sn12.WillMsg{Message: octets}, small
	case sn12.TypeRegister:
		return sn12.Register{TopicID: a, MsgID: b, TopicName: octets}, small
	case sn12.TypeRegAck:
		return sn12.RegAck{TopicID: a, MsgID: b, ReturnCode: rc}, true
	case sn12.TypePublish:
		return sn12.Publish{DUP: bit(7), QoS: qos, Retain: bit(4), TopicIDType: topicType, TopicID: a, MsgID: b, Data: octets}, small
	case sn12.TypePubAck:
		return sn12.PubAck{TopicID: a, MsgID: b, ReturnCode: rc}, true
	case sn12.TypePubComp:
		return sn12.PubComp{MsgID: a}, true
	case sn12.TypePubRec:
		return sn12.PubRec{MsgID: a}, true
	case sn12.TypePubRel:
		return sn12.PubRel{MsgID: a}, true
	case sn12.TypeSubscribe:
		return sn12.Subscribe{DUP: bit(7), QoS: qos, TopicIDType: topicType, MsgID: b, TopicName: name, TopicID: id}, topicOK
	case sn12.TypeSubAck:
		return sn12.SubAck{QoS: qos, TopicID: a, MsgID: b, ReturnCode: rc}, true
	case sn12.TypeUnsubscribe:
		return sn12.Unsubscribe{TopicIDType: topicType, MsgID: b, TopicName: name, TopicID: id}, topicOK
	case sn12.TypeUnsubAck:
		return sn12.UnsubAck{MsgID: a}, true
	case sn12.TypePingReq:
		return sn12.PingReq{ClientID: octets}, small
	case sn12.TypePingResp:
		return sn12.PingResp{}, true
	case sn12.TypeDisconnect:
		return sn12.Disconnect{HasDuration: bit(0), Duration: a}, bit(0) || a == 0
	case sn12.TypeWillTopicUpd:
		return sn12.WillTopicUpd{Empty: bit(0), QoS: qos, Retain: bit(4), Topic: willName}, named && !bit(0)
	case sn12.TypeWillTopicResp:
		return sn12.WillTopicResp{ReturnCode: rc}, true
	case sn12.TypeWillMsgUpd:
		return sn12.WillMsgUpd{Message: octets}, small
	case sn12.TypeWillMsgResp:
		return sn12.WillMsgResp{ReturnCode: rc}, true
	case sn12.TypeEncapsulated:
		// Parse reads what is inside, so it has to be a message: a PINGREQ.
		return sn12.Encapsulated{Radius: flags & 3, NodeID: octets, Inner: []byte{2, byte(sn12.TypePingReq)}}, len(octets) <= 252
	}
	panic("no way to build " + typ.String())
}
