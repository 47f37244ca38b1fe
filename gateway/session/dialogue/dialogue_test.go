package dialogue_test

import (
	"testing"
	"unsafe"

	"sngate/gateway/session/dialogue"
	codec "sngate/snpacket/sn12"
)

// Metrics and logs name messages received by the octets of MQTT-SN 1.2, and messages sent again by
// kind: the names are the same.
func TestKindsHaveTheNamesOfTheSpecification(t *testing.T) {
	names := dialogue.KindNames()
	seen := make(map[string]dialogue.Kind)
	for i, name := range names {
		k := dialogue.Kind(i)
		if before, twice := seen[name]; twice || name == "" || k.String() != name {
			t.Errorf("kind %d is %q and %q, as is kind %d", k, k.String(), name, before)
		}
		seen[name] = k
	}
	known := 0
	for octet := range 256 {
		if typ := codec.Type(octet); typ.Known() {
			known++
			if seen[typ.String()] == dialogue.Reserved {
				t.Errorf("no kind for %v", typ)
			}
		}
	}
	if known != len(names)-1 {
		t.Errorf("%d kinds and Reserved, want %d", len(names)-1, known)
	}
	if got := dialogue.Kind(len(names)).String(); got != dialogue.Reserved.String() {
		t.Errorf("a number beyond the last kind is %q", got)
	}
}

func TestShortNames(t *testing.T) {
	name := [2]byte{'a', 'b'}
	if id := dialogue.ShortID(name); id != 0x6162 || dialogue.ShortName(id) != name {
		t.Errorf("ShortID = 0x%04X, and back %q", id, dialogue.ShortName(id))
	}
}

// A message is passed by value.
func TestMessageIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(dialogue.Message{}); n > 64 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("Message is %d octets, want at most 64", n)
	}
}
