package crash

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test of kills is worth something only if the ledger finds what it is there to find.
func TestLedgerFindsWhatMustNotHappen(t *testing.T) {
	publish := func(l *ledger, s *stream, qos uint8) (*message, []byte) {
		m, payload := l.send(s, qos)
		l.acked(m)
		return m, payload
	}
	for _, tt := range []struct {
		name string
		do   func(l *ledger, s *stream)
		want string // the kind of the only offence; "": none
	}{
		{"QoS 0 lost", func(l *ledger, s *stream) { l.send(s, 0) }, ""},
		{"QoS 1 twice", func(l *ledger, s *stream) {
			_, p := publish(l, s, 1)
			l.arrived("b", "t", 1, p)
			l.arrived("b", "t", 1, p)
		}, ""},
		{"QoS 1 refused and lost", func(l *ledger, s *stream) {
			m, _ := l.send(s, 1)
			l.refused(m)
		}, ""},
		{"QoS 1 again after newer ones", func(l *ledger, s *stream) {
			_, p := publish(l, s, 1)
			_, q := publish(l, s, 1)
			l.arrived("b", "t", 1, p)
			l.arrived("b", "t", 1, q)
			l.arrived("b", "t", 1, p)
		}, ""},
		{"QoS 1 lost", func(l *ledger, s *stream) { publish(l, s, 1) }, "lost"},
		{"QoS 2 lost", func(l *ledger, s *stream) { publish(l, s, 2) }, "lost"},
		{"no answer", func(l *ledger, s *stream) {
			_, p := l.send(s, 1)
			l.arrived("b", "t", 1, p)
		}, "unanswered"},
		{"QoS 2 twice", func(l *ledger, s *stream) {
			_, p := publish(l, s, 2)
			l.arrived("b", "t", 2, p)
			l.arrived("b", "t", 2, p)
		}, "QoS 2 doubled"},
		{"a refused QoS 2 message twice", func(l *ledger, s *stream) {
			m, p := l.send(s, 2)
			l.refused(m)
			l.arrived("b", "t", 2, p)
			l.arrived("b", "t", 2, p)
		}, "QoS 2 doubled"},
		{"out of order", func(l *ledger, s *stream) {
			_, p := publish(l, s, 1)
			_, q := publish(l, s, 1)
			l.arrived("b", "t", 1, q)
			l.arrived("b", "t", 1, p)
		}, "out of order"},
		{"QoS 2 overtaken by QoS 1", func(l *ledger, s *stream) {
			_, p := publish(l, s, 2)
			_, q := publish(l, s, 1)
			l.arrived("b", "t", 1, q)
			l.arrived("b", "t", 2, p)
		}, "QoS 1 and 2 out of order"},
		{"another topic", func(l *ledger, s *stream) {
			_, p := l.send(s, 0)
			l.arrived("b", "u", 0, p)
		}, "another name"},
		{"another receiver", func(l *ledger, s *stream) {
			_, p := l.send(s, 0)
			l.arrived("c", "t", 0, p)
		}, "another name"},
		{"another QoS", func(l *ledger, s *stream) {
			_, p := l.send(s, 0)
			l.arrived("b", "t", 1, p)
		}, "another name"},
		{"nobody's", func(l *ledger, s *stream) { l.arrived("b", "t", 0, []byte("0 1 0 t")) }, "nobody sent it"},
		{"garbage", func(l *ledger, s *stream) { l.arrived("b", "t", 0, nil) }, "nobody sent it"},
		{"after UNSUBACK", func(l *ledger, s *stream) {
			l.close(s)
			_, p := publish(l, s, 1)
			l.arrived("b", "t", 1, p)
		}, "after UNSUBACK"},
		{"not after UNSUBACK", func(l *ledger, s *stream) {
			l.close(s)
			publish(l, s, 1)
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Duration(0)
			l := newLedger(func() time.Duration { now += time.Second; return now })
			tt.do(l, l.newStream("a", "b", "t", true))
			settled := l.settled(0)
			l.conclude()
			switch {
			case tt.want == "" && len(l.offences) > 0, tt.want != "" && (len(l.offences) != 1 || l.offences[0].kind != tt.want):
				t.Errorf("offences %+v, want %q", l.offences, tt.want)
			case settled == (tt.want == "lost" || tt.want == "unanswered"):
				t.Errorf("settled is %v", settled)
			}
		})
	}
}

func TestComplaintTellsWhatHappenedAround(t *testing.T) {
	now := time.Duration(0)
	clock := func() time.Duration { now += 100 * time.Millisecond; return now }
	l := newLedger(clock)
	tr, err := newTrace(filepath.Join(t.TempDir(), "trace"), clock)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	if got := l.complaint(tr); got != "" {
		t.Errorf("complaint about nothing: %s", got)
	}
	l.newStream("a", "b", "s", true)
	m, _ := l.send(l.newStream("a", "b", "t", true), 1)
	tr.note("a", "sends it")
	tr.note("x", "has no part in it")
	tr.note(everybody, "kill 7")
	l.killed(kill{number: 7, what: "gateway", at: 200 * time.Millisecond, back: 300 * time.Millisecond})
	l.acked(m)
	l.conclude()
	got := l.complaint(tr)
	for _, want := range []string{
		"lost: 1", "from a to b, topic t: sent 0.100, acknowledged 0.500, refused false, arrived never",
		"kill 7 of gateway at 0.200, back 0.300", "a    sends it", "all  kill 7",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the complaint:\n%s", want, got)
		}
	}
	if strings.Contains(got, "no part") {
		t.Errorf("the complaint tells of another device:\n%s", got)
	}
	row := []string{"device to broker", "1", "1", "1", "0", "0", "0", "1"} // QoS, sent, acknowledged, ..., lost
	if report := l.report(); !strings.Contains(strings.Join(strings.Fields(report), " "), strings.Join(row, " ")) {
		t.Errorf("%q is not in the report:\n%s", row, report)
	}
}
