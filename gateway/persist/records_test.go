package persist

import (
	"encoding/hex"
	"testing"
	"time"
)

// The octets are a format of files, and so must never change.
func TestEntryRecordKeepsItsOctets(t *testing.T) {
	for want, r := range map[string]Entry{
		"000000000000000500016c000361646400016e0001686f": {Ended: 5, Listener: "l", Addr: "add", Node: "n", Home: "h"},
		"ffffffffffffffff00000000000000006f":             {Ended: -1},
		"00000d18c2e2800000000000000000046861726d6f":     {Ended: 4 * time.Hour, Home: "harm"},
	} {
		octets := r.append(nil).Text("o") // and the session's part
		if got := hex.EncodeToString(octets); got != want {
			t.Errorf("%+v: got %s, want %s", r, got, want)
		}
		if again, rest, err := parseEntry(octets); again != r || string(rest) != "o" || err != nil {
			t.Errorf("%+v is read as %+v, %q, %v", r, again, rest, err)
		}
		for n := range len(octets) - 1 {
			if _, _, err := parseEntry(octets[:n]); err == nil {
				t.Errorf("%+v cut to %d octets is taken", r, n)
			}
		}
	}
}
