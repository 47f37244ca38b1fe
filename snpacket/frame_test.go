package snpacket_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"sngate/snpacket"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSplit(t *testing.T) {
	tests := []struct {
		name, hex string
		typ       byte
		body      string
		err       error
	}{
		{"short form without body", "0216", 0x16, "", nil},
		{"short form", "050001ffff", 0x00, "01ffff", nil},
		{"long form without body", "01000416", 0x16, "", nil},
		{"long form of a short message", "010006100002", 0x10, "0002", nil},
		{"reserved types are not the frame's business", "030300", 0x03, "00", nil},
		{"nothing", "", 0, "", snpacket.ErrShort},
		{"one octet", "02", 0, "", snpacket.ErrShort},
		{"the long form's marker alone", "01", 0, "", snpacket.ErrShort},
		{"long form cut after one octet of Length", "0100", 0, "", snpacket.ErrShort},
		{"long form without MsgType", "010004", 0, "", snpacket.ErrShort},
		{"Length 0", "0016", 0, "", snpacket.ErrLength},
		{"long form, Length 0", "01000016", 0, "", snpacket.ErrLength},
		{"long form, Length below its header", "01000316", 0, "", snpacket.ErrLength},
		{"Length over the datagram", "0316", 0, "", snpacket.ErrLength},
		{"Length under the datagram", "021600", 0, "", snpacket.ErrLength},
		{"long form, Length over the datagram", "01000516", 0, "", snpacket.ErrLength},
		{"long form, Length under the datagram", "0100041600", 0, "", snpacket.ErrLength},
		{"encapsulation: Length covers its header only", "04fe00010216", 0, "", snpacket.ErrLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			typ, body, err := snpacket.Split(unhex(t, tt.hex))
			if typ != tt.typ || !bytes.Equal(body, unhex(t, tt.body)) || !errors.Is(err, tt.err) {
				t.Errorf("Split(%s) = 0x%02X, %x, %v; want 0x%02X, %s, %v",
					tt.hex, typ, body, err, tt.typ, tt.body, tt.err)
			}
		})
	}
}

func TestSplitBodyAliasesTheDatagramAndCannotGrowIntoWhatFollows(t *testing.T) {
	buf := []byte{4, 0x0F, 0x12, 0x34, 0xAA} // the reader's buffer goes on after the message
	_, body, err := snpacket.Split(buf[:4])
	if err != nil {
		t.Fatal(err)
	}
	if &body[0] != &buf[2] {
		t.Error("body does not alias the datagram")
	}
	if _ = append(body, 0xBB); buf[4] != 0xAA {
		t.Error("appending to body wrote behind the message")
	}
}

func TestAppendHeaderUsesTheShortestForm(t *testing.T) {
	tests := []struct {
		bodyLen int
		hex     string
		err     error
	}{
		{-1, "", snpacket.ErrLength},
		{0, "0216", nil},
		{1, "0316", nil},
		{252, "fe16", nil},
		{253, "ff16", nil},       // total 255, the last of the short form
		{254, "01010216", nil},   // total 258: 256 and 257 are skipped
		{65531, "01ffff16", nil}, // total 65535
		{65532, "", snpacket.ErrTooLong},
		{1<<31 - 1, "", snpacket.ErrTooLong},
	}
	for _, tt := range tests {
		prefix := []byte{0xEE}
		got, err := snpacket.AppendHeader(prefix, 0x16, tt.bodyLen)
		want := append([]byte{0xEE}, unhex(t, tt.hex)...)
		if !bytes.Equal(got, want) || !errors.Is(err, tt.err) {
			t.Errorf("AppendHeader(%d) = %x, %v; want %x, %v", tt.bodyLen, got, err, want, tt.err)
		}
		if tt.err == nil && snpacket.HeaderLen(tt.bodyLen) != len(got)-1 {
			t.Errorf("HeaderLen(%d) = %d, but AppendHeader wrote %d", tt.bodyLen, snpacket.HeaderLen(tt.bodyLen), len(got)-1)
		}
	}
}

func TestSplitReadsEveryLengthThatAppendHeaderWrites(t *testing.T) {
	buf := make([]byte, 0, snpacket.MaxLen)
	for bodyLen := 0; bodyLen <= snpacket.MaxLen-4; bodyLen++ {
		b, err := snpacket.AppendHeader(buf, 0x0C, bodyLen)
		if err != nil {
			t.Fatalf("body of %d: %v", bodyLen, err)
		}
		typ, body, err := snpacket.Split(b[:len(b)+bodyLen])
		if typ != 0x0C || len(body) != bodyLen || err != nil {
			t.Fatalf("body of %d: Split = 0x%02X, %d octets, %v", bodyLen, typ, len(body), err)
		}
	}
}

// A frame has the parts that Split finds, and the whole message.
func TestParseFrameAgreesWithSplit(t *testing.T) {
	for _, message := range []string{
		"", "\x02", "\x02\x16", "\x05\x16dev", "\x01\x00\x07\x16dev", "\x01\x00\x04\x16", "\x05\x16de", "\x01\x00\x03", "\x00\x16", "\x03\xffx",
	} {
		msgType, body, want := snpacket.Split([]byte(message))
		f, err := snpacket.ParseFrame([]byte(message))
		if err != want || string(f.Message) != message || f.Type != msgType {
			t.Errorf("%q: %+v, %v, want type %#02x, %v", message, f, err, msgType, want)
		}
		if got := f.Body(); err == nil && (string(got) != string(body) || cap(got) != len(got)) {
			t.Errorf("%q: body %q, room for %d, want %q", message, got, cap(got), body)
		}
	}
}
