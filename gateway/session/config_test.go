package session

import (
	"testing"
	"time"
)

func TestExpiry_Case118(t *testing.T) {
	for _, tc := range []struct {
		short, long int
		seconds     uint16
		want        time.Duration
	}{
		{50, 10, 0, 0},
		{50, 10, 1, 1500 * time.Millisecond},
		{50, 10, 60, 90 * time.Second}, // "less than one minute" is read as "up to"
		{50, 10, 61, 67100 * time.Millisecond},
		{50, 10, 65535, 72088500 * time.Millisecond},
		{0, 0, 60, 60 * time.Second},
		{0, 0, 61, 61 * time.Second},
		{100, 33, 10, 20 * time.Second},
		{100, 33, 100, 133 * time.Second},
		{1000, 1000, 65535, 11 * 65535 * time.Second},
	} {
		cfg := Config{ToleranceShort: tc.short, ToleranceLong: tc.long}
		if got := cfg.expiry(tc.seconds); got != tc.want {
			t.Errorf("%d s with %d %% and %d %%: %v, want %v", tc.seconds, tc.short, tc.long, got, tc.want)
		}
	}
}

func TestNamesOfStatesAndReasonsAreCompleteAndDistinct(t *testing.T) {
	for what, names := range map[string][]string{"state": StateNames(), "reason": ReasonNames()} {
		seen := map[string]bool{}
		for i, name := range names {
			if name == "" || name == "unknown" || seen[name] {
				t.Errorf("%s %d has the name %q", what, i, name)
			}
			seen[name] = true
		}
	}
	if s, r := State(200).String(), Reason(200).String(); s != "unknown" || r != "unknown" {
		t.Errorf("out of range: %q, %q", s, r)
	}
}
