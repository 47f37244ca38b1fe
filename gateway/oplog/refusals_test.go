package oplog

import (
	"net/netip"
	"testing"
	"time"

	"sngate/gateway/listen"
	"sngate/gateway/session"
)

func TestRefusalsOfADeviceAreBounded(t *testing.T) {
	r := NewRefusals()
	for i := range 3 * maxRefusals {
		for range 5 {
			r.Note(time.Duration(i)*time.Second, session.Reason(1+i))
		}
	}
	if len(r.recent) != maxRefusals {
		t.Fatalf("%d are kept", len(r.recent))
	}
	for _, f := range r.recent {
		if f.reason <= session.Reason(2*maxRefusals) || f.count != 5 {
			t.Errorf("kept: %v, %d times", f.reason, f.count)
		}
	}
	if _, first := r.Note(time.Minute-1, session.Reason(1)); first {
		t.Error("a reason that had to give way is told twice in a minute")
	}
	if _, first := r.Note(time.Minute, session.Reason(1)); !first {
		t.Error("the next minute is not told")
	}
}

// Floods are made of repeats: those cost a few comparisons.
func TestARepeatedRefusalAllocatesNothing(t *testing.T) {
	r, seen := NewRefusals(), NewSeen()
	p := listen.Peer{Listener: 1, Addr: netip.MustParseAddrPort("[2001:db8::1]:5000"), Node: "node-7"}
	r.Note(0, session.ReasonUnknownTopicID)
	if !seen.first(0, p, session.ReasonUnknownSender) {
		t.Fatal("not the first")
	}
	if n := testing.AllocsPerRun(1000, func() {
		r.Note(time.Second, session.ReasonUnknownTopicID)
		seen.first(time.Second, p, session.ReasonUnknownSender)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if seen.first(time.Second, p, session.ReasonUnknownSender) || !seen.first(time.Minute, p, session.ReasonUnknownSender) {
		t.Error("the minute of a stranger is not kept")
	}
}
