package mqtt

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// encoded returns the packets as the other codec writes them.
func encoded(t testing.TB, list ...packets.ControlPacket) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range list {
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestScannerReadsWhatTheOtherCodecWrites(t *testing.T) {
	connack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	connack.ReturnCode = 5
	suback := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	suback.MessageID, suback.ReturnCodes = 7, []byte{2}
	small := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	small.TopicName, small.Payload = "a/b", []byte("x")
	large := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	large.TopicName, large.Payload, large.Qos, large.MessageID = "c", []byte(strings.Repeat("y", 5000)), 2, 0x1234
	puback := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
	puback.MessageID = 0x0102
	stream := encoded(t, connack, suback, small, large, puback, packets.NewControlPacket(packets.Pingresp))

	want := []View{
		{Kind: TypeConnack, Code: 5},
		{Kind: TypeSuback, ID: 7, Code: 2},
		{Kind: TypePublish, Topic: []byte("a/b"), Payload: []byte("x")},
		{Kind: TypePublish, QoS: 2, ID: 0x1234, Topic: []byte("c"), Payload: large.Payload},
		{Kind: TypePuback, ID: 0x0102},
		{Kind: TypePingresp},
	}
	s := NewScanner(bytes.NewReader(stream), 6000)
	for i, w := range want {
		var v View
		if err := s.Next(&v); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		if v.Kind != w.Kind || v.QoS != w.QoS || v.Code != w.Code || v.ID != w.ID || !bytes.Equal(v.Topic, w.Topic) || !bytes.Equal(v.Payload, w.Payload) {
			t.Errorf("packet %d is %+v, want %+v", i, v, w)
		}
	}
	if err := s.Next(new(View)); err != io.EOF {
		t.Errorf("the end of the stream is %v", err)
	}
}

func TestScannerRefusesWhatCannotBe(t *testing.T) {
	for name, stream := range map[string]string{
		"too long":             "\x30\x09\x00\x01a123456",
		"length without end":   "\x30\xff\xff\xff\xff\x01",
		"topic beyond the end": "\x30\x03\x00\x05a",
		"no topic":             "\x30\x01\x00",
		"no identifier":        "\x32\x03\x00\x01a",
		"PUBACK":               "\x40\x01\x00",
		"SUBACK":               "\x90\x02\x00\x01",
		"CONNACK":              "\x20\x01\x00",
	} {
		var refused ProtocolError
		if err := NewScanner(strings.NewReader(stream), 8).Next(new(View)); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, cut := range []string{"\x30", "\x30\x05\x00\x01a"} {
		if err := NewScanner(strings.NewReader(cut), 8).Next(new(View)); err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Errorf("%q: %v", cut, err)
		}
	}
}

func TestScannerAllocatesNothing(t *testing.T) {
	one := AppendPublish(nil, "", "bench/up/1", make([]byte, 32), 1, false, 9)
	s := NewScanner(bytes.NewReader(bytes.Repeat(one, 2000)), 100)
	var v View
	if n := testing.AllocsPerRun(1000, func() {
		if err := s.Next(&v); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for each packet", n)
	}
}
