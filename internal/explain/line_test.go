package explain

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	tests := []struct{ datagram, want string }{
		{"080404010 03c6c33", `CONNECT CleanSession = 1, ProtocolId 0x01, Duration 60 s (1m0s), keep-alive, ClientId "l3"`},
		{"030500", "CONNACK ReturnCode 0x00 accepted"},
		{"0216", "PINGREQ"},
		{"0a0c220001000268690a", `PUBLISH QoS = 1, TopicIdType = 0b10 (short topic name), TopicId short topic name "\x00\x01", MsgId 0x0002 (2), Data 3 octets, "hi\n"; warning: the short topic name contains the character U+0000 (section 6.7)`},
		{"070c0000050000", "PUBLISH TopicId 0x0005 (5), MsgId 0x0000 (0), Data 0 octets"},
		{"05fe00a1a20216", "ENCAPSULATED Ctrl broadcast radius 0, the whole network, WirelessNodeId 2 octets; PINGREQ"},
		{"", "error at offset 0x0000: nothing there; the smallest message has 2 octets"},
		{"0716", "PINGREQ; error at offset 0x0000: Length is 7, but only 2 octets are there: 5 missing"},
		{"0203", "(reserved); error at offset 0x0001: message type 0x03 is reserved (section 5.2.2)"},
		{"040c0000", "PUBLISH; error at offset 0x0003: TopicId takes 2 octets, but the message ends after 1"},
	}
	for _, tt := range tests {
		datagram, err := hex.DecodeString(strings.ReplaceAll(tt.datagram, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := Line(datagram); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.datagram, got, tt.want)
		}
	}
}

// Whatever comes is one line of a bounded length.
func TestLineIsOneBoundedLine(t *testing.T) {
	nested := bytes.Repeat([]byte{3, 0xFE, 0}, 20_000)
	long := append([]byte{0x01, 0xEA, 0x60, 0x0C, 0, 0, 1, 0, 0}, bytes.Repeat([]byte("\n\x00"), 30_000)...)[:60_000]
	for _, datagram := range [][]byte{nested, long, bytes.Repeat([]byte{0xFF}, 60_000)} {
		if got := Line(datagram); strings.ContainsAny(got, "\n\r\x00") || len(got) > 1000 {
			t.Errorf("%d octets: %.2000q", len(got), got)
		}
	}
	for _, v := range loadVectors(t) {
		datagram, err := hex.DecodeString(v.Hex)
		if err != nil {
			t.Fatal(err)
		}
		fault := Datagram(&bytes.Buffer{}, datagram)
		if got := Line(datagram); strings.Contains(got, "error at") != (fault != nil) || strings.Contains(got, "\n") || got == "" {
			t.Errorf("%s (%v): %q", v.Name, fault, got)
		}
	}
}
