package topicreg

import (
	"encoding/hex"
	"testing"
)

func TestDigestIsThatOfTheSet(t *testing.T) {
	base := []Entry{{ID: 1, Name: "a"}, {ID: 2, Name: "b", Client: "pump-*"}, {ID: 2, Name: "c"}}
	digest := func(entries ...Entry) [32]byte {
		t.Helper()
		p, err := NewPredefined(entries)
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest()
	}
	want := digest(base...)
	// It is stored: another way to compute it would tell every operator of a change.
	if got := hex.EncodeToString(want[:4]); got != "2f79d895" {
		t.Errorf("digest %s...", got)
	}
	if digest(base[2], base[0], base[1], base[0]) != want {
		t.Error("depends on order and repetition")
	}
	for name, other := range map[string][]Entry{
		"less":    base[:2],
		"id":      {{ID: 3, Name: "a"}, base[1], base[2]},
		"name":    {{ID: 1, Name: "ab"}, base[1], base[2]},
		"client":  {base[0], {ID: 2, Name: "b", Client: "pump-?"}, base[2]},
		"shifted": {base[0], {ID: 2, Name: "bp", Client: "ump-*"}, base[2]},
		"empty":   nil,
	} {
		if digest(other...) == want {
			t.Errorf("%s: the same digest", name)
		}
	}
	if (*Predefined)(nil).Digest() != digest() {
		t.Error("no set is an empty set")
	}
}
