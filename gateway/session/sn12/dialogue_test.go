package sn12_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sngate/gateway/session/dialogue"
	"sngate/gateway/session/sn12"
	"sngate/snpacket"
)

var _ dialogue.Dialogue = sn12.Dialogue{}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// parse reads a datagram whose frame is in order.
func parse(t testing.TB, datagram []byte) dialogue.Message {
	t.Helper()
	f, err := snpacket.ParseFrame(datagram)
	if err != nil {
		t.Fatalf("%x: %v", datagram, err)
	}
	var m dialogue.Message
	sn12.Dialogue{}.Parse(f, &m)
	return m
}

// diff compares messages; an absent slice and an empty one are the same.
func diff(want, got dialogue.Message) string { return cmp.Diff(want, got, cmpopts.EquateEmpty()) }

func TestMessagesBothWays(t *testing.T) {
	name, data := []byte("ab"), []byte("xyz")
	seen := make(map[dialogue.Kind]bool)
	for _, s := range []struct {
		msg dialogue.Message
		hex string
	}{
		{dialogue.Message{Kind: dialogue.Connect, Clean: true, Will: true, Duration: 60, Name: name}, "08040c01003c6162"},
		{dialogue.Message{Kind: dialogue.Connect, Duration: 0xFFFF, Name: name}, "08040001ffff6162"},
		{dialogue.Message{Kind: dialogue.ConnAck, Code: dialogue.Accepted}, "030500"},
		{dialogue.Message{Kind: dialogue.ConnAck, Code: dialogue.Congestion}, "030501"},
		{dialogue.Message{Kind: dialogue.ConnAck, Code: dialogue.InvalidTopicID}, "030502"},
		{dialogue.Message{Kind: dialogue.ConnAck, Code: dialogue.NotSupported}, "030503"},
		{dialogue.Message{Kind: dialogue.WillTopicReq}, "0206"},
		{dialogue.Message{Kind: dialogue.WillTopic}, "0207"},
		{dialogue.Message{Kind: dialogue.WillTopic, QoS: 2, Retain: true, Name: name}, "0507506162"},
		{dialogue.Message{Kind: dialogue.WillMsgReq}, "0208"},
		{dialogue.Message{Kind: dialogue.WillMsg, Data: data}, "050978797a"},
		{dialogue.Message{Kind: dialogue.WillMsg}, "0209"},
		{dialogue.Message{Kind: dialogue.Register, TopicID: 7, MsgID: 9, Name: name}, "080a000700096162"},
		{dialogue.Message{Kind: dialogue.Register, MsgID: 9}, "060a00000009"},
		{dialogue.Message{Kind: dialogue.RegAck, TopicID: 7, MsgID: 9, Code: dialogue.InvalidTopicID}, "070b0007000902"},
		{dialogue.Message{Kind: dialogue.Publish, Dup: true, QoS: 1, Retain: true, TopicID: 7, MsgID: 9, Data: data}, "0a0cb00007000978797a"},
		{dialogue.Message{Kind: dialogue.Publish, QoS: 2, TopicType: dialogue.PredefinedTopic, TopicID: 7, MsgID: 9}, "070c4100070009"},
		{dialogue.Message{Kind: dialogue.Publish, TopicType: dialogue.ReservedTopic, TopicID: 7}, "070c0300070000"},
		{dialogue.Message{Kind: dialogue.Publish, QoS: dialogue.QoSMinusOne, TopicType: dialogue.ShortTopic, TopicID: dialogue.ShortID([2]byte{'a', 'b'})}, "070c6261620000"},
		{dialogue.Message{Kind: dialogue.PubAck, TopicID: 7, MsgID: 9, Code: dialogue.Congestion}, "070d0007000901"},
		{dialogue.Message{Kind: dialogue.PubComp, MsgID: 9}, "040e0009"},
		{dialogue.Message{Kind: dialogue.PubRec, MsgID: 9}, "040f0009"},
		{dialogue.Message{Kind: dialogue.PubRel, MsgID: 9}, "04100009"},
		{dialogue.Message{Kind: dialogue.Subscribe, Dup: true, QoS: 1, MsgID: 9, Name: name}, "0712a000096162"},
		{dialogue.Message{Kind: dialogue.Subscribe, QoS: 3, TopicType: dialogue.PredefinedTopic, MsgID: 9, TopicID: 7}, "07126100090007"},
		{dialogue.Message{Kind: dialogue.Subscribe, TopicType: dialogue.ReservedTopic, MsgID: 9, Name: data}, "081203000978797a"},
		{dialogue.Message{Kind: dialogue.SubAck, QoS: 2, TopicID: 7, MsgID: 9, Code: dialogue.NotSupported}, "0813400007000903"},
		{dialogue.Message{Kind: dialogue.Unsubscribe, MsgID: 9, Name: name}, "07140000096162"},
		{dialogue.Message{Kind: dialogue.Unsubscribe, TopicType: dialogue.ShortTopic, MsgID: 9, TopicID: 0x6162}, "07140200096162"},
		{dialogue.Message{Kind: dialogue.UnsubAck, MsgID: 9}, "04150009"},
		{dialogue.Message{Kind: dialogue.PingReq}, "0216"},
		{dialogue.Message{Kind: dialogue.PingReq, Name: name}, "04166162"},
		{dialogue.Message{Kind: dialogue.PingResp}, "0217"},
		{dialogue.Message{Kind: dialogue.Disconnect}, "0218"},
		{dialogue.Message{Kind: dialogue.Disconnect, Duration: 600}, "04180258"},
		{dialogue.Message{Kind: dialogue.WillTopicUpd}, "021a"},
		{dialogue.Message{Kind: dialogue.WillTopicUpd, QoS: 1, Name: name}, "051a206162"},
		{dialogue.Message{Kind: dialogue.WillTopicResp, Code: dialogue.NotSupported}, "031b03"},
		{dialogue.Message{Kind: dialogue.WillMsgUpd, Data: data}, "051c78797a"},
		{dialogue.Message{Kind: dialogue.WillMsgResp, Code: dialogue.Accepted}, "031d00"},
	} {
		seen[s.msg.Kind] = true
		datagram := unhex(t, s.hex)
		if d := diff(s.msg, parse(t, datagram)); d != "" {
			t.Errorf("%v: Parse(%s) (-want +got):\n%s", s.msg.Kind, s.hex, d)
		}
		got, err := sn12.Dialogue{}.Append([]byte{0xEE}, s.msg)
		if err != nil || !bytes.Equal(got, append([]byte{0xEE}, datagram...)) {
			t.Errorf("%v: Append = %x, %v, want ee%s", s.msg.Kind, got, err, s.hex)
		}
		if n := (sn12.Dialogue{}).Len(s.msg); n != len(datagram) {
			t.Errorf("%v: Len = %d, want %d", s.msg.Kind, n, len(datagram))
		}
	}
	for i := range dialogue.KindNames() {
		if k := dialogue.Kind(i); seen[k] == foreign(k) {
			t.Errorf("%v: tested %v, not for a session %v", k, seen[k], foreign(k))
		}
	}
}

// foreign reports whether a kind is not for a session.
func foreign(k dialogue.Kind) bool {
	switch k {
	case dialogue.Reserved, dialogue.Advertise, dialogue.SearchGW, dialogue.GWInfo, dialogue.Encapsulated:
		return true
	}
	return false
}

func TestWhatIsNotForASessionHasAKindAndNothingElse(t *testing.T) {
	for datagram, want := range map[string]dialogue.Kind{
		"050001003c": dialogue.Advertise, "030101": dialogue.SearchGW, "030201": dialogue.GWInfo,
		"0201": dialogue.SearchGW, "0311ff": dialogue.Reserved, "02ff": dialogue.Reserved, "0203": dialogue.Reserved,
		"05fe000a0b": dialogue.Encapsulated, // only where nothing follows does it look like a message
	} {
		if got := parse(t, unhex(t, datagram)); diff(dialogue.Message{Kind: want}, got) != "" {
			t.Errorf("%s is %+v, want %v", datagram, got, want)
		}
	}
	for i := range dialogue.KindNames() {
		k := dialogue.Kind(i)
		b, err := sn12.Dialogue{}.Append([]byte{0xEE}, dialogue.Message{Kind: k})
		if foreign(k) && (err == nil || !bytes.Equal(b, []byte{0xEE})) {
			t.Errorf("%v was appended: %x", k, b)
		}
	}
}

func TestFaults(t *testing.T) {
	malformed := func(k dialogue.Kind) dialogue.Message { return dialogue.Message{Kind: k, Fault: dialogue.Malformed} }
	for datagram, want := range map[string]dialogue.Message{
		"05040001ff":       malformed(dialogue.Connect),
		"06040401003c":     {Kind: dialogue.Connect, Clean: true, Duration: 60}, // its client id may be assigned
		"07040402003c63":   {Kind: dialogue.Connect, Fault: dialogue.WrongProtocol, Clean: true, Duration: 60, Name: []byte("c")},
		"06040c02003c":     {Kind: dialogue.Connect, Fault: dialogue.WrongProtocol, Clean: true, Will: true, Duration: 60},
		"0205":             malformed(dialogue.ConnAck),
		"030600":           malformed(dialogue.WillTopicReq),
		"030700":           malformed(dialogue.WillTopic),
		"050a000000":       malformed(dialogue.Register),
		"060b00000000":     malformed(dialogue.RegAck),
		"060c00000000":     malformed(dialogue.Publish),
		"060d00000000":     malformed(dialogue.PubAck),
		"030e00":           malformed(dialogue.PubComp),
		"050f000000":       malformed(dialogue.PubRec),
		"0210":             malformed(dialogue.PubRel),
		"04120000":         malformed(dialogue.Subscribe),
		"0512a00009":       {Kind: dialogue.Subscribe, Fault: dialogue.NoTopic, Dup: true, QoS: 1, MsgID: 9},
		"06122100096a":     {Kind: dialogue.Subscribe, Fault: dialogue.NoTopic, QoS: 1, TopicType: dialogue.PredefinedTopic, MsgID: 9},
		"07130000000000":   malformed(dialogue.SubAck),
		"04140000":         malformed(dialogue.Unsubscribe),
		"081402000961626a": {Kind: dialogue.Unsubscribe, Fault: dialogue.NoTopic, TopicType: dialogue.ShortTopic, MsgID: 9},
		"031500":           malformed(dialogue.UnsubAck),
		"031700":           malformed(dialogue.PingResp),
		"031800":           malformed(dialogue.Disconnect),
		"031a00":           malformed(dialogue.WillTopicUpd),
		"021b":             malformed(dialogue.WillTopicResp),
		"041d0000":         malformed(dialogue.WillMsgResp),
	} {
		got := parse(t, unhex(t, datagram))
		if d := diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", datagram, d)
		}
		if got.Fault == dialogue.NoFault {
			continue
		}
		if b, err := (sn12.Dialogue{}).Append(nil, got); !errors.Is(err, snpacket.ErrLayout) || b != nil {
			t.Errorf("%s was appended: %x, %v", datagram, b, err)
		}
	}
}

func TestReservedReturnCodesReject(t *testing.T) {
	for octet := 4; octet < 256; octet++ {
		if m := parse(t, []byte{3, 0x05, byte(octet)}); m.Code != dialogue.NotSupported {
			t.Errorf("return code 0x%02X is %d", octet, m.Code)
		}
	}
}

func TestLongNameBeforeTheData(t *testing.T) {
	for _, tt := range []struct {
		typ        dialogue.TopicType
		id         uint16
		data       string
		name, rest string
		ok         bool
	}{
		{dialogue.NormalTopic, 5, "hellotest", "hello", "test", true},
		{dialogue.NormalTopic, 9, "hellotest", "hellotest", "", true},
		{dialogue.NormalTopic, 10, "hellotest", "", "", false},
		{dialogue.NormalTopic, 0, "hellotest", "", "", false},
		{dialogue.NormalTopic, 5, "hel+otest", "", "", false},
		{dialogue.NormalTopic, 2, "\xc3\x28test", "", "", false},
		{dialogue.PredefinedTopic, 5, "hellotest", "", "", false},
		{dialogue.ShortTopic, 5, "hellotest", "", "", false},
	} {
		m := dialogue.Message{Kind: dialogue.Publish, QoS: dialogue.QoSMinusOne, TopicType: tt.typ, TopicID: tt.id, Data: []byte(tt.data)}
		name, rest, ok := sn12.Dialogue{}.LongName(m)
		if string(name) != tt.name || string(rest) != tt.rest || ok != tt.ok {
			t.Errorf("type %d, id %d, %q: %q, %q, %v", tt.typ, tt.id, tt.data, name, rest, ok)
		}
	}
}

func TestHotMessagesAllocateNothing(t *testing.T) {
	var d dialogue.Dialogue = sn12.Dialogue{}
	buf, m := make([]byte, 0, 64), dialogue.Message{}
	for _, datagram := range []string{"0a0cb00007000978797a", "070d0007000900", "0216", "0217", "04100009"} {
		f, err := snpacket.ParseFrame(unhex(t, datagram))
		if err != nil {
			t.Fatal(err)
		}
		n := testing.AllocsPerRun(1000, func() {
			d.Parse(f, &m)
			if b, err := d.Append(buf, m); err != nil || len(b) != d.Len(m) {
				t.Fatal("not appended")
			}
		})
		if n != 0 {
			t.Errorf("%v allocations for %s, want 0", n, datagram)
		}
	}
}
