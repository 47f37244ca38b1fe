package sn12_test

import (
	"testing"

	"sngate/snpacket/sn12"
)

func TestTypeNames(t *testing.T) {
	known := 0
	names := map[string]bool{}
	for v := range 256 {
		typ := sn12.Type(v)
		if typ.Known() {
			known++
		}
		names[typ.String()] = true
	}
	if known != 28 || len(names) != 256 {
		t.Errorf("%d known types with %d distinct names among 256; want 28 and 256", known, len(names))
	}
	for typ, want := range map[sn12.Type]string{
		0x04: "CONNECT", 0x0E: "PUBCOMP", 0x0F: "PUBREC", 0x10: "PUBREL", 0xFE: "ENCAPSULATED",
		0x03: "reserved(0x03)", 0xFF: "reserved(0xFF)",
	} {
		if typ.String() != want {
			t.Errorf("Type(0x%02X) = %q, want %q", uint8(typ), typ, want)
		}
	}
}

func TestReturnCodeAndTopicIDTypeNames(t *testing.T) {
	for c, want := range map[sn12.ReturnCode]string{
		0: "accepted", 1: "rejected: congestion", 2: "rejected: invalid topic ID",
		3: "rejected: not supported", 4: "reserved(0x04)", 0xFF: "reserved(0xFF)",
	} {
		if c.String() != want {
			t.Errorf("ReturnCode(%d) = %q, want %q", uint8(c), c, want)
		}
	}
	for typ, want := range map[sn12.TopicIDType]string{0: "normal", 1: "pre-defined", 2: "short", 3: "reserved(0x03)"} {
		if typ.String() != want {
			t.Errorf("TopicIDType(%d) = %q, want %q", uint8(typ), typ, want)
		}
	}
}

func TestShortNames(t *testing.T) {
	if id := sn12.ShortID("ab"); id != 0x6162 || sn12.ShortName(id) != [2]byte{'a', 'b'} {
		t.Errorf(`ShortID("ab") = 0x%04X and back %q`, id, sn12.ShortName(id))
	}
	for _, name := range []string{"", "a", "abc"} {
		if id := sn12.ShortID(name); id != 0 {
			t.Errorf("ShortID(%q) = 0x%04X, want 0", name, id)
		}
	}
}

// A type that was added to the names alone, or to the codec alone, shows here.
func TestEveryKnownTypeHasASample(t *testing.T) {
	covered := map[sn12.Type]bool{}
	for _, s := range allSamples() {
		covered[s.msg.Type()] = true
	}
	for v := range 256 {
		typ := sn12.Type(v)
		if typ.Known() != covered[typ] {
			t.Errorf("%v: known %v, in the samples %v", typ, typ.Known(), covered[typ])
		}
	}
}
