package sn12_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sngate/snpacket"
	"sngate/snpacket/sn12"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// diff compares messages; an absent slice and an empty one are the same.
func diff(want, got any) string { return cmp.Diff(want, got, cmpopts.EquateEmpty()) }

// sample is a message and the octets it stands for.
type sample struct {
	name string
	msg  sn12.Message
	hex  string
}

// checkSamples parses and appends each sample and compares in both directions.
func checkSamples(t *testing.T, samples []sample) {
	t.Helper()
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			wire := unhex(t, s.hex)
			parsed, err := sn12.Parse(wire)
			if err != nil {
				t.Fatalf("Parse(%s): %v", s.hex, err)
			}
			if d := diff(s.msg, parsed); d != "" {
				t.Errorf("Parse(%s) (-want +got):\n%s", s.hex, d)
			}
			got, err := s.msg.Append([]byte{0xEE})
			if err != nil || !bytes.Equal(got, append([]byte{0xEE}, wire...)) {
				t.Errorf("Append = %x, %v; want ee%s", got, err, s.hex)
			}
			if s.msg.Len() != len(wire) {
				t.Errorf("Len = %d, want %d", s.msg.Len(), len(wire))
			}
			if wire[0] != 0x01 && byte(s.msg.Type()) != wire[1] {
				t.Errorf("Type = %v, want 0x%02X", s.msg.Type(), wire[1])
			}
		})
	}
}

// checkRefused appends messages that have no encoding.
func checkRefused(t *testing.T, want error, messages map[string]sn12.Message) {
	t.Helper()
	for name, m := range messages {
		t.Run(name, func(t *testing.T) {
			got, err := m.Append([]byte{0xEE})
			if !errors.Is(err, want) || !bytes.Equal(got, []byte{0xEE}) {
				t.Errorf("Append(%+v) = %x, %v; want the buffer as it was and %v", m, got, err, want)
			}
		})
	}
}

// checkBodyLens parses a body of each size up to max, all zero, and expects success
// exactly where ok says so.
func checkBodyLens(t *testing.T, typ sn12.Type, ok func(n int) bool) {
	t.Helper()
	for n := range 20 {
		datagram, err := snpacket.AppendHeader(nil, byte(typ), n)
		if err != nil {
			t.Fatal(err)
		}
		_, err = sn12.Parse(append(datagram, make([]byte, n)...))
		switch {
		case ok(n) && err != nil:
			t.Errorf("%v with a body of %d octets: %v", typ, n, err)
		case !ok(n) && !errors.Is(err, snpacket.ErrLayout):
			t.Errorf("%v with a body of %d octets: %v, want %v", typ, n, err, snpacket.ErrLayout)
		}
	}
}

func exactly(want int) func(int) bool { return func(n int) bool { return n == want } }
func atLeast(want int) func(int) bool { return func(n int) bool { return n >= want } }
