package sn12_test

import (
	"testing"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

var publishSamples = []sample{
	{"PUBLISH QoS 0", sn12.Publish{TopicID: 1, Data: []byte("21")}, "090c00000100003231"},
	{"PUBLISH QoS 1 again", sn12.Publish{DUP: true, QoS: 1, TopicID: 1, MsgID: 0x0203}, "070ca000010203"},
	{"PUBLISH QoS 2 retained", sn12.Publish{QoS: 2, Retain: true, TopicID: 0xFFFE, MsgID: 1, Data: []byte("x")}, "080c50fffe000178"},
	{"PUBLISH QoS -1 pre-defined", sn12.Publish{QoS: sn12.QoSMinusOne, TopicIDType: sn12.TopicIDPredefined, TopicID: 5, Data: []byte("x")}, "080c610005000078"},
	{"PUBLISH short name", sn12.Publish{TopicIDType: sn12.TopicIDShort, TopicID: sn12.ShortID("ab"), Data: []byte("x")}, "080c026162000078"},
	{"PUBLISH of the reserved topic id type", sn12.Publish{QoS: 1, TopicIDType: sn12.TopicIDReserved, TopicID: 1, MsgID: 1}, "070c2300010001"},
	{"PUBACK", sn12.PubAck{TopicID: 1, MsgID: 2, ReturnCode: sn12.RejectedInvalidTopicID}, "070d0001000202"},
}

func TestPublishMessages(t *testing.T) { checkSamples(t, publishSamples) }

func TestPublishBodySizes(t *testing.T) {
	checkBodyLens(t, sn12.TypePublish, atLeast(5))
	checkBodyLens(t, sn12.TypePubAck, exactly(5))
}

func TestPublishMessagesThatHaveNoEncoding(t *testing.T) {
	checkRefused(t, snpacket.ErrLayout, map[string]sn12.Message{
		"QoS above two bits":           sn12.Publish{QoS: 4},
		"topic id type above two bits": sn12.Publish{TopicIDType: 4},
	})
	checkRefused(t, snpacket.ErrTooLong, map[string]sn12.Message{
		"PUBLISH": sn12.Publish{Data: make([]byte, 65527)},
	})
}

func TestPublishDataAliasesTheDatagram(t *testing.T) {
	datagram := unhex(t, "080c200001000178")
	var m sn12.Publish
	if err := m.Parse(datagram[2:]); err != nil {
		t.Fatal(err)
	}
	if &m.Data[0] != &datagram[7] {
		t.Error("Data does not alias the datagram")
	}
}

// Parse reuses its receiver: nothing of the message before may shine through, and a
// refused body leaves it alone.
func TestParseOverwritesAllOrNothing(t *testing.T) {
	full := sn12.Publish{DUP: true, QoS: 3, Retain: true, TopicIDType: 3, TopicID: 7, MsgID: 8, Data: []byte("x")}
	m := full
	if err := m.Parse([]byte{0, 0, 0, 0}); err == nil {
		t.Fatal("a cut PUBLISH parsed")
	}
	if d := diff(full, m); d != "" {
		t.Errorf("a refused body changed the message:\n%s", d)
	}
	if err := m.Parse(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if d := diff(sn12.Publish{}, m); d != "" {
		t.Errorf("the message before shines through:\n%s", d)
	}
}

func TestPublishPathDoesNotAllocate(t *testing.T) {
	publish := unhex(t, "0b0c200001000132312e35")
	puback := unhex(t, "070d0001000100")
	pingreq := unhex(t, "0a16636c69656e742d31")
	buf := make([]byte, 0, 64)
	tests := []struct {
		name string
		step func() error
	}{
		{"PUBLISH", func() error {
			_, body, err := snpacket.Split(publish)
			if err != nil {
				return err
			}
			var m sn12.Publish
			if err := m.Parse(body); err != nil {
				return err
			}
			_, err = m.Append(buf)
			return err
		}},
		{"PUBACK", func() error {
			_, body, err := snpacket.Split(puback)
			if err != nil {
				return err
			}
			var m sn12.PubAck
			if err := m.Parse(body); err != nil {
				return err
			}
			_, err = m.Append(buf)
			return err
		}},
		{"PINGREQ", func() error {
			_, body, err := snpacket.Split(pingreq)
			if err != nil {
				return err
			}
			var m sn12.PingReq
			if err := m.Parse(body); err != nil {
				return err
			}
			_, err = m.Append(buf)
			return err
		}},
	}
	for _, tt := range tests {
		var err error
		allocs := testing.AllocsPerRun(100, func() { err = tt.step() })
		if err != nil || allocs != 0 {
			t.Errorf("%s: parse and append allocate %v times, error %v; want 0 times", tt.name, allocs, err)
		}
	}
}

func BenchmarkPublishParse(b *testing.B) {
	datagram := unhex(b, "0b0c200001000132312e35")
	var m sn12.Publish
	b.ReportAllocs()
	for b.Loop() {
		_, body, err := snpacket.Split(datagram)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Parse(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPubAckAppend(b *testing.B) {
	buf := make([]byte, 0, 16)
	m := sn12.PubAck{TopicID: 1, MsgID: 1}
	b.ReportAllocs()
	for b.Loop() {
		// Taken back into buf, or the compiler drops the writes.
		var err error
		if buf, err = m.Append(buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
