package sn12_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"sngate/gateway/session/dialogue"
	"sngate/gateway/session/sn12"
	"sngate/snpacket"
	codec "sngate/snpacket/sn12"
)

// TestVectorsRoundTrip takes every vector of the codec whose frame is in order through the
// dialogue. What the codec reads comes out as the codec writes it, and what it refuses has a fault.
func TestVectorsRoundTrip(t *testing.T) {
	text, err := os.ReadFile("../../../snpacket/sn12/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Hex string }
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	trips, faults := 0, 0
	for _, v := range vectors {
		datagram := unhex(t, v.Hex)
		f, err := snpacket.ParseFrame(datagram)
		if err != nil || codec.IsEncapsulated(datagram) {
			continue // the reader sorts these out
		}
		m := dialogue.Message{MsgID: 0xEEEE, Fault: dialogue.NoTopic, Name: []byte("of the message before")}
		sn12.Dialogue{}.Parse(f, &m)
		message, err := codec.Parse(datagram)
		switch {
		case foreign(m.Kind):
		case err != nil:
			faults++
			nameless := m.Kind == dialogue.Connect && len(m.Name) == 0
			if m.Fault != dialogue.Malformed && m.Fault != dialogue.NoTopic && !nameless {
				t.Errorf("%s: %+v, want a fault for %v", v.Name, m, err)
			}
		case m.Kind.String() != message.Type().String():
			t.Errorf("%s is %v, want %v", v.Name, m.Kind, message.Type())
		case m.Fault == dialogue.WrongProtocol:
		case m.Fault != dialogue.NoFault:
			t.Errorf("%s: fault %d", v.Name, m.Fault)
		default:
			trips++
			want, err := plain(message).Append(nil)
			if err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
			if got, err := (sn12.Dialogue{}).Append(nil, m); err != nil || !bytes.Equal(got, want) || (sn12.Dialogue{}).Len(m) != len(want) {
				t.Errorf("%s: Append = %x, %v, Len = %d, want %x", v.Name, got, err, sn12.Dialogue{}.Len(m), want)
			}
		}
	}
	if trips < 100 || faults < 30 {
		t.Errorf("%d round trips and %d faults are not all", trips, faults)
	}
}

// plain is m without what a session does not tell apart: the reserved return codes from each
// other, and a sleep of no time from none.
func plain(m codec.Message) codec.Message {
	code := func(c codec.ReturnCode) codec.ReturnCode { return min(c, codec.RejectedNotSupported) }
	switch m := m.(type) {
	case codec.RegAck:
		m.ReturnCode = code(m.ReturnCode)
		return m
	case codec.SubAck:
		m.ReturnCode = code(m.ReturnCode)
		return m
	case codec.Disconnect:
		m.HasDuration = m.Duration > 0
		return m
	}
	return m
}
