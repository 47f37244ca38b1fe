package sn12_test

import (
	"errors"
	"testing"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

var subscribeSamples = []sample{
	{"SUBSCRIBE by name", sn12.Subscribe{QoS: 1, MsgID: 1, TopicName: []byte("a/#")}, "0812200001612f23"},
	// With the normal topic id type the field is a name, of any size.
	{"SUBSCRIBE by a name of two octets", sn12.Subscribe{MsgID: 5, TopicName: []byte("ab")}, "07120000056162"},
	{"SUBSCRIBE pre-defined again", sn12.Subscribe{DUP: true, QoS: 2, TopicIDType: sn12.TopicIDPredefined, MsgID: 6, TopicID: 5}, "0712c100060005"},
	{"SUBSCRIBE short", sn12.Subscribe{QoS: 1, TopicIDType: sn12.TopicIDShort, MsgID: 7, TopicID: sn12.ShortID("ab")}, "07122200076162"},
	{"SUBSCRIBE of the reserved type", sn12.Subscribe{QoS: 1, TopicIDType: sn12.TopicIDReserved, MsgID: 1, TopicName: []byte("abc")}, "0812230001616263"},
	{"SUBACK", sn12.SubAck{QoS: 2, TopicID: 1, MsgID: 2, ReturnCode: sn12.Accepted}, "0813400001000200"},
	{"UNSUBSCRIBE by name", sn12.Unsubscribe{MsgID: 9, TopicName: []byte("a")}, "061400000961"},
	{"UNSUBSCRIBE pre-defined", sn12.Unsubscribe{TopicIDType: sn12.TopicIDPredefined, MsgID: 11, TopicID: 5}, "071401000b0005"},
	{"UNSUBSCRIBE short", sn12.Unsubscribe{TopicIDType: sn12.TopicIDShort, MsgID: 12, TopicID: 0x6162}, "071402000c6162"},
	{"UNSUBSCRIBE of the reserved type", sn12.Unsubscribe{TopicIDType: sn12.TopicIDReserved, MsgID: 1, TopicName: []byte("ab")}, "07140300016162"},
	{"UNSUBACK", sn12.UnsubAck{MsgID: 9}, "04150009"},
}

func TestSubscribeMessages(t *testing.T) { checkSamples(t, subscribeSamples) }

func TestSubscribeBodySizes(t *testing.T) {
	checkBodyLens(t, sn12.TypeSubscribe, atLeast(4))
	checkBodyLens(t, sn12.TypeSubAck, exactly(6))
	checkBodyLens(t, sn12.TypeUnsubscribe, atLeast(4))
	checkBodyLens(t, sn12.TypeUnsubAck, exactly(2))
}

// An id or a short name has exactly two octets; a name, and the field of the
// reserved type, at least one.
func TestSubscribeTopicFieldSizes(t *testing.T) {
	tests := []struct {
		typ sn12.TopicIDType
		ok  func(int) bool
	}{
		{sn12.TopicIDNormal, atLeast(1)},
		{sn12.TopicIDPredefined, exactly(2)},
		{sn12.TopicIDShort, exactly(2)},
		{sn12.TopicIDReserved, atLeast(1)},
	}
	for _, tt := range tests {
		for n := range 6 {
			body := append([]byte{byte(tt.typ), 0, 1}, make([]byte, n)...)
			var want error
			if !tt.ok(n) {
				want = snpacket.ErrLayout
			}
			if err := new(sn12.Subscribe).Parse(body); !errors.Is(err, want) {
				t.Errorf("SUBSCRIBE, %v, topic of %d octets: %v, want %v", tt.typ, n, err, want)
			}
			if err := new(sn12.Unsubscribe).Parse(body); !errors.Is(err, want) {
				t.Errorf("UNSUBSCRIBE, %v, topic of %d octets: %v, want %v", tt.typ, n, err, want)
			}
		}
	}
}

func TestSubscribeMessagesThatHaveNoEncoding(t *testing.T) {
	name := []byte("a")
	checkRefused(t, snpacket.ErrLayout, map[string]sn12.Message{
		"SUBSCRIBE without a name":                  sn12.Subscribe{},
		"SUBSCRIBE with QoS above two bits":         sn12.Subscribe{QoS: 4, TopicName: name},
		"SUBSCRIBE with type above two bits":        sn12.Subscribe{TopicIDType: 4, TopicName: name},
		"SUBSCRIBE by name, id would be lost":       sn12.Subscribe{TopicName: name, TopicID: 1},
		"SUBSCRIBE by id, name would be lost":       sn12.Subscribe{TopicIDType: sn12.TopicIDPredefined, TopicName: name},
		"SUBACK with QoS above two bits":            sn12.SubAck{QoS: 4},
		"UNSUBSCRIBE without a name":                sn12.Unsubscribe{},
		"UNSUBSCRIBE with type above two bits":      sn12.Unsubscribe{TopicIDType: 4, TopicName: name},
		"UNSUBSCRIBE by short, name would be lost":  sn12.Unsubscribe{TopicIDType: sn12.TopicIDShort, TopicName: name},
		"UNSUBSCRIBE, reserved type, without field": sn12.Unsubscribe{TopicIDType: sn12.TopicIDReserved},
	})
	checkRefused(t, snpacket.ErrTooLong, map[string]sn12.Message{
		"SUBSCRIBE":   sn12.Subscribe{TopicName: make([]byte, 65529)},
		"UNSUBSCRIBE": sn12.Unsubscribe{TopicName: make([]byte, 65529)},
	})
}
