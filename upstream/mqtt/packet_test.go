package mqtt

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"
)

const testMaxPayload = 4096

// decodeAll decodes a stream read from r to its end.
func decodeAll(r io.Reader) (list []Packet, sizes []int, err error) {
	d := Decoder{begun: true, src: &plainSource{Reader: r}, maxPayload: testMaxPayload}
	for {
		var p Packet
		size, err := d.Next(&p)
		for err == ErrAgain {
			size, err = d.Next(&p)
		}
		if err != nil {
			return list, sizes, err
		}
		list, sizes = append(list, p), append(sizes, size)
	}
}

// hesitant is a source without blocking that has one byte at every second call.
type hesitant struct {
	r    io.Reader
	next bool
}

func (h *hesitant) Read(b []byte) (int, error) {
	if h.next = !h.next; h.next {
		return 0, ErrAgain
	}
	return h.r.Read(b[:min(len(b), 1)])
}

// FuzzDecode checks the decoder against itself with other cuts of the stream, and
// against the general codec on every packet it finds nothing wrong with.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x20, 2, 1, 0})
	f.Add([]byte{0x32, 9, 0, 3, 'a', '/', 'b', 0, 7, 'h', 'i'})
	f.Add([]byte{0x30, 4, 0, 1, 't', 'x', 0xd0, 0, 0x40, 2, 1, 2, 0x90, 3, 0, 1, 0x80, 0xb0, 2, 0, 1})
	f.Add([]byte{0x62, 2, 0, 1, 0x50, 2, 0, 1, 0x70, 2, 0, 1})
	f.Add([]byte{0x3d, 0xff, 0xff, 0xff, 0x7f, 0, 1, 't', 0, 1})
	f.Add(append(appendLength([]byte{0x30}, 603), append([]byte{0, 1, 't'}, make([]byte, 600)...)...))
	f.Add(append(appendLength([]byte{0x30}, 5003), append([]byte{0, 1, 't'}, make([]byte, 5000)...)...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		list, sizes, err := decodeAll(bytes.NewReader(stream))
		single, _, err2 := decodeAll(iotest.OneByteReader(bytes.NewReader(stream)))
		if diff := cmp.Diff(list, single); diff != "" {
			t.Fatalf("byte by byte: %s", diff)
		}
		again, _, _ := decodeAll(&hesitant{r: bytes.NewReader(stream)})
		if diff := cmp.Diff(list, again); diff != "" {
			t.Fatalf("stopped at each byte: %s", diff)
		}
		var fault ProtocolError
		if errors.As(err, &fault) != errors.As(err2, &fault) {
			t.Fatalf("%v, byte by byte %v", err, err2)
		}
		for i, p := range list {
			if sizes[i] > len(stream) {
				t.Fatalf("packet of %d bytes in %d", sizes[i], len(stream))
			}
			cp, err := packets.ReadPacket(bytes.NewReader(stream[:sizes[i]]))
			stream = stream[sizes[i]:]
			if p.Fault != FaultNone || p.Kind == TypeDisconnect {
				continue // the general codec takes some of them, and knows no DISCONNECT of a server
			}
			if err != nil {
				t.Fatalf("%+v: the general codec says %v", p, err)
			}
			if diff := cmp.Diff(general(t, cp, p.Oversize), p); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

// general turns a packet of the general codec into ours.
func general(t *testing.T, cp packets.ControlPacket, oversize bool) Packet {
	switch cp := cp.(type) {
	case *packets.ConnackPacket:
		return Packet{Kind: TypeConnack, SessionPresent: cp.SessionPresent, Code: cp.ReturnCode}
	case *packets.PublishPacket:
		p := Packet{Kind: TypePublish, Topic: cp.TopicName, Payload: cp.Payload, QoS: cp.Qos, Dup: cp.Dup, Retain: cp.Retain, ID: cp.MessageID}
		if oversize {
			if len(cp.Payload) <= testMaxPayload {
				t.Fatalf("a payload of %d bytes was skipped", len(cp.Payload))
			}
			p.Payload, p.Oversize = nil, true
		}
		return p
	case *packets.PubackPacket:
		return Packet{Kind: TypePuback, ID: cp.MessageID}
	case *packets.PubrecPacket:
		return Packet{Kind: TypePubrec, ID: cp.MessageID}
	case *packets.PubrelPacket:
		return Packet{Kind: TypePubrel, ID: cp.MessageID}
	case *packets.PubcompPacket:
		return Packet{Kind: TypePubcomp, ID: cp.MessageID}
	case *packets.SubackPacket:
		p := Packet{Kind: TypeSuback, ID: cp.MessageID, Code: cp.ReturnCodes[0]}
		if p.Code > 2 {
			p.Code = CodeFailure
		}
		return p
	case *packets.UnsubackPacket:
		return Packet{Kind: TypeUnsuback, ID: cp.MessageID}
	case *packets.PingrespPacket:
		return Packet{Kind: TypePingresp}
	}
	t.Fatalf("%T was accepted from a server", cp)
	return Packet{}
}

// FuzzAppendPublish checks that PUBLISH and the acknowledgements are byte for byte what
// the general codec writes, and that the decoder reads them back.
func FuzzAppendPublish(f *testing.F) {
	f.Add("t", []byte("x"), uint8(1), true, uint16(7))
	f.Add("a/b", []byte{}, uint8(0), false, uint16(1))
	f.Add("long", make([]byte, 300), uint8(2), false, uint16(65535))
	f.Fuzz(func(t *testing.T, topic string, payload []byte, qos uint8, retain bool, id uint16) {
		qos %= 3
		if !ValidTopic(topic) || len(payload) > testMaxPayload || id == 0 {
			return
		}
		m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		m.TopicName, m.Payload, m.Qos, m.Retain, m.MessageID = topic, payload, qos, retain, id
		got := AppendPublish(nil, "", topic, payload, qos, retain, id)
		if want := encode(m); !bytes.Equal(got, want) {
			t.Fatalf("PUBLISH % x, want % x", got, want)
		}
		want := Packet{Kind: TypePublish, Topic: topic, Payload: append([]byte{}, payload...), QoS: qos, Retain: retain}
		if qos > 0 {
			want.ID = id
		}
		list, _, _ := decodeAll(bytes.NewReader(got))
		if diff := cmp.Diff([]Packet{want}, list); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAppendAgreesWithTheGeneralCodec(t *testing.T) {
	const id = 0x1234
	puback := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
	pubrec := packets.NewControlPacket(packets.Pubrec).(*packets.PubrecPacket)
	pubrel := packets.NewControlPacket(packets.Pubrel).(*packets.PubrelPacket)
	pubcomp := packets.NewControlPacket(packets.Pubcomp).(*packets.PubcompPacket)
	puback.MessageID, pubrec.MessageID, pubrel.MessageID, pubcomp.MessageID = id, id, id, id
	for kind, cp := range map[uint8]packets.ControlPacket{
		TypePuback: puback, TypePubrec: pubrec, TypePubrel: pubrel, TypePubcomp: pubcomp,
	} {
		if got, want := AppendAck(nil, kind, id), encode(cp); !bytes.Equal(got, want) {
			t.Errorf("type %d: % x, want % x", kind, got, want)
		}
	}
	for _, kind := range []uint8{TypePingreq, TypePingresp, TypeDisconnect} {
		if got, want := AppendBare(nil, kind), encode(packets.NewControlPacket(kind)); !bytes.Equal(got, want) {
			t.Errorf("type %d: % x, want % x", kind, got, want)
		}
	}
}

func TestEveryPrefixOfAPacketIsIncomplete(t *testing.T) {
	for _, whole := range [][]byte{
		{0x20, 2, 1, 0},
		AppendPublish(nil, "", "topic", make([]byte, 200), 1, false, 9),
		AppendAck(nil, TypePubrel, 5),
		{0x90, 3, 0, 1, 0},
		AppendBare(nil, TypePingresp),
	} {
		for n := range whole {
			if list, _, err := decodeAll(bytes.NewReader(whole[:n])); len(list) != 0 || err == nil {
				t.Errorf("% x: %d packets", whole[:n], len(list))
			}
		}
	}
}

// A length is believed only as far as the packet's type allows, and a payload only as
// far as it is to be kept.
func TestClaimedLengthsAllocateNothing(t *testing.T) {
	for _, head := range [][]byte{
		{0x40, 0xff, 0xff, 0xff, 0x7f},
		{0x90, 0xff, 0xff, 0xff, 0x7f},
		{0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 't'},
	} {
		result := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decodeAll(bytes.NewReader(head))
			}
		})
		if n := result.AllocedBytesPerOp(); n > 2048 {
			t.Errorf("% x: %d bytes allocated", head, n)
		}
	}
}

// TestCodecAllocations holds the ceilings for what happens per message.
func TestCodecAllocations(t *testing.T) {
	b := make([]byte, 0, 256)
	payload := make([]byte, 32)
	if n := testing.AllocsPerRun(100, func() { b = AppendPublish(b[:0], "", "site/temperature", payload, 1, false, 7) }); n != 0 {
		t.Errorf("AppendPublish: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { b = AppendAck(b[:0], TypePuback, 7) }); n != 0 {
		t.Errorf("AppendAck: %v allocations", n)
	}
	var p Packet
	for _, c := range []struct {
		raw  []byte
		want float64
	}{
		{AppendPublish(nil, "", "site/temperature", payload, 1, false, 7), 2}, // topic and payload
		{AppendAck(nil, TypePuback, 7), 0},
	} {
		r := bytes.NewReader(c.raw)
		d := Decoder{begun: true, src: &plainSource{Reader: r}, maxPayload: testMaxPayload}
		if n := testing.AllocsPerRun(100, func() {
			r.Reset(c.raw)
			if _, err := d.Next(&p); err != nil {
				t.Fatal(err)
			}
		}); n != c.want {
			t.Errorf("decoding type %d: %v allocations, want %v", p.Kind, n, c.want)
		}
	}
}
