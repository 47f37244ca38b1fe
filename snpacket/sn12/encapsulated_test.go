package sn12_test

import (
	"bytes"
	"errors"
	"testing"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

var encapsulatedSamples = []sample{
	{"ENCAPSULATED", sn12.Encapsulated{NodeID: []byte{0x0A, 0x0B}, Inner: []byte{2, 0x16}}, "05fe000a0b0216"},
	{"ENCAPSULATED broadcast", sn12.Encapsulated{Radius: 3, NodeID: []byte{1}, Inner: []byte{3, 2, 5}}, "04fe0301030205"},
	{"ENCAPSULATED, inner in the long form", sn12.Encapsulated{NodeID: []byte{1}, Inner: []byte{1, 0, 4, 0x16}}, "04fe000101000416"},
	// The next two parse; the gateway refuses them by Nested and by the empty NodeID.
	{"ENCAPSULATED nested", sn12.Encapsulated{NodeID: []byte{1}, Inner: []byte{4, 0xFE, 0, 2, 2, 0x16}}, "04fe000104fe00020216"},
	{"ENCAPSULATED without node id", sn12.Encapsulated{Inner: []byte{2, 0x16}}, "03fe000216"},
}

func TestEncapsulatedMessages(t *testing.T) { checkSamples(t, encapsulatedSamples) }

func TestEncapsulatedHeader(t *testing.T) {
	tests := []struct {
		name, hex string
		is        bool
		err       error
	}{
		{"nothing", "", false, snpacket.ErrShort},
		{"one octet", "04", false, snpacket.ErrShort},
		{"another type", "0216", false, snpacket.ErrType},
		{"3-octet Length", "010007fe000a0b0216", false, snpacket.ErrType},
		{"Length 0", "00fe00010216", true, snpacket.ErrLength},
		{"Length 1 is the marker of the long form", "01fe00010216", false, snpacket.ErrLength},
		{"Length without Ctrl", "02fe0216", true, snpacket.ErrLayout},
		{"Length over the datagram", "09fe000a0b", true, snpacket.ErrLength},
		{"nothing encapsulated", "05fe000a0b", true, snpacket.ErrLayout},
		{"one octet encapsulated", "04fe000102", true, nil}, // snpacket.Split refuses it next
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			datagram := unhex(t, tt.hex)
			if got := sn12.IsEncapsulated(datagram); got != tt.is {
				t.Errorf("IsEncapsulated = %v, want %v", got, tt.is)
			}
			if err := new(sn12.Encapsulated).Parse(datagram); !errors.Is(err, tt.err) {
				t.Errorf("Parse: %v, want %v", err, tt.err)
			}
		})
	}
}

func TestEncapsulatedIgnoresReservedCtrlBits(t *testing.T) {
	var m sn12.Encapsulated
	if err := m.Parse(unhex(t, "04fefd010216")); err != nil || m.Radius != 1 {
		t.Fatalf("Parse: %+v, %v; want Radius 1", m, err)
	}
	got, err := m.Append(nil)
	if want := unhex(t, "04fe01010216"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Append = %x, %v; want %x", got, err, want)
	}
}

// A reply is made from the NodeID of the request; appending to it must not run into
// the inner message.
func TestEncapsulatedNodeIDCannotGrowIntoTheInnerMessage(t *testing.T) {
	var m sn12.Encapsulated
	if err := m.Parse(unhex(t, "04fe00010216")); err != nil {
		t.Fatal(err)
	}
	if _ = append(m.NodeID, 0xFF); m.Inner[0] != 2 {
		t.Error("appending to NodeID changed Inner")
	}
}

func TestEncapsulatedNested(t *testing.T) {
	for _, s := range encapsulatedSamples {
		m := s.msg.(sn12.Encapsulated)
		if want := s.name == "ENCAPSULATED nested"; m.Nested() != want {
			t.Errorf("%s: Nested = %v, want %v", s.name, m.Nested(), want)
		}
	}
}

// Parse for tools follows the layers of a hostile datagram without recursion.
func TestParseOfDeeplyNestedEncapsulation(t *testing.T) {
	layer := []byte{3, 0xFE, 0}
	datagram := bytes.Repeat(layer, 20_000)
	if _, err := sn12.Parse(datagram); err == nil {
		t.Error("layers around nothing parsed")
	}
	if _, err := sn12.Parse(append(datagram, 2, 0x16)); err != nil {
		t.Errorf("layers around a PINGREQ: %v", err)
	}
}

func TestEncapsulatedMessagesThatHaveNoEncoding(t *testing.T) {
	ping := []byte{2, 0x16}
	checkRefused(t, snpacket.ErrLayout, map[string]sn12.Message{
		"Radius above two bits":    sn12.Encapsulated{Radius: 4, Inner: ping},
		"without an inner message": sn12.Encapsulated{NodeID: []byte{1}},
	})
	checkRefused(t, snpacket.ErrTooLong, map[string]sn12.Message{
		"node id over 252 octets": sn12.Encapsulated{NodeID: make([]byte, 253), Inner: ping},
		"inner over 65535 octets": sn12.Encapsulated{Inner: make([]byte, 65536)},
	})
}
