package oplog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/gateway/session"
)

// lineLab is a log with a clock of its own.
type lineLab struct {
	out bytes.Buffer
	now time.Duration
	*Log
}

func newLineLab() *lineLab {
	l := &lineLab{}
	l.Log = New(zerolog.New(&l.out).Level(zerolog.InfoLevel), func() time.Duration { return l.now }, nil)
	return l
}

func (l *lineLab) count(text string) int { return strings.Count(l.out.String(), text) }

// A flood at one level leaves the others their share, and what was left out is told.
func TestEachLogLevelHasItsOwnBurst(t *testing.T) {
	l := newLineLab()
	perSecond := limitsOf[Devices].perSecond
	for range 10 * perSecond {
		l.At(Devices, zerolog.InfoLevel).Msg("flood")
		l.At(Devices, zerolog.DebugLevel).Msg("not wanted")
	}
	l.At(Devices, zerolog.WarnLevel).Msg("warning")
	l.At(Devices, zerolog.ErrorLevel).Msg("error")
	l.At(Strangers, zerolog.InfoLevel).Msg("stranger")
	if l.count(`"flood"`) != perSecond || l.count(`"message":"warning"`) != 1 || l.count(`"message":"error"`) != 1 || l.count(`"stranger"`) != 1 || l.count("left out") != 0 {
		t.Fatalf("%s", l.out.String())
	}
	l.now += time.Second
	l.out.Reset()
	l.At(Devices, zerolog.WarnLevel).Msg("warning")
	l.At(Devices, zerolog.InfoLevel).Msg("later")
	l.At(Devices, zerolog.InfoLevel).Msg("later")
	want := `{"level":"warn","message":"warning"}` + "\n" +
		fmt.Sprintf(`{"level":"info","lines":%d,"message":"log lines left out"}`, 9*perSecond) + "\n" +
		strings.Repeat(`{"level":"info","message":"later"}`+"\n", 2)
	if d := cmp.Diff(want, l.out.String()); d != "" {
		t.Error(d)
	}
}

// worstLines offers one line of each kind and level, as long as any can be.
func worstLines(l *Log, x *Explanation) {
	id := strings.Repeat("\x01\"", 128)
	addr := listen.Peer{Node: strings.Repeat("\xff", 252)}.String()
	for kind := range limitsOf {
		for _, level := range []zerolog.Level{zerolog.InfoLevel, zerolog.WarnLevel, zerolog.ErrorLevel} {
			ev := l.At(Kind(kind), level, id, addr, x.topic, x.Advice)
			if ev == nil {
				continue
			}
			ev.Timestamp().Str("client_id", id).Str("addr", addr).Stringer("reason", session.ReasonForwarderNotAllowed)
			x.addTo(ev)
			ev.Uint64("times", 1<<60).Msg("dropped or refused")
		}
	}
}

// However much of every kind comes for a day, and whatever is in it, the log has less than
// 100 MB. It is not empty either: the whole of it is used.
func TestAFloodOfADayStaysBelowTheDailyLimitOfTheLog(t *testing.T) {
	x := &Explanation{packet: "UNSUBSCRIBE", hasTopicID: true, topicID: 65535, topicIDType: "pre-defined",
		topic: printable(strings.Repeat("\x00", 60000), loggedTopicLimit), octets: 65535, Advice: adviceFor[session.ReasonMessageRate]}
	l := newLineLab()
	total := 0
	for ; l.now < 24*time.Hour; l.now += 10 * time.Second {
		for range 3 {
			worstLines(l.Log, x)
		}
		total += l.out.Len()
		l.out.Reset()
	}
	if total >= dailyLogLimit || total < dailyLogLimit/2 {
		t.Errorf("%d octets in a day, want less than %d, and more than half of that", total, dailyLogLimit)
	}
	// The next day begins without a new burst.
	next := 0
	for ; l.now < 48*time.Hour; l.now += 10 * time.Second {
		worstLines(l.Log, x)
		next += l.out.Len()
		l.out.Reset()
	}
	if next >= dailyLogLimit {
		t.Errorf("%d octets in the next day", next)
	}
}

// A quarter of a day's octets may come at once: a fleet that comes up after a power cut is
// told whole.
func TestADayBeginsWithRoomForABurst(t *testing.T) {
	l := newLineLab()
	for range 200 { // seconds
		for range 50 {
			l.At(Sessions, zerolog.InfoLevel, "meter-4711", "192.0.2.1:5000").Str("client_id", "meter-4711").Msg("device connected")
		}
		l.now += time.Second
	}
	if n := l.count("device connected"); n != 10_000 {
		t.Errorf("%d lines of 10,000 devices", n)
	}
}

func TestOctetsInLogIsNeverTooLow(t *testing.T) {
	for _, text := range []string{"", "abc", "\x00\x1f", `"\`, "ä€", "\xff\xfe", "\u2028", "\x7f", strings.Repeat("\x01", 300)} {
		var out bytes.Buffer
		log := zerolog.New(&out)
		log.Log().Str("a", text).Send()
		if got, most := out.Len()-len(`{"a":}`+"\n"), octetsInLog(text); got > most {
			t.Errorf("%q: %d octets in the log, counted as %d", text, got, most)
		}
	}
}

func TestPrintable(t *testing.T) {
	tests := []struct {
		text  string
		limit int
		want  string
	}{
		{"pump-7", 64, "pump-7"},
		{"", 64, ""},
		{"pömp", 64, "pömp"},
		{"pömp", 2, "p..."},
		{"abc", 2, "ab..."},
		{"a\nb", 64, `"a\nb"`},
		{"a\xff", 64, `"a\xff"`},
		{"\u202e", 64, `"\u202e"`}, // would turn the rest of the line around
	}
	for _, tt := range tests {
		if got := printable(tt.text, tt.limit); got != tt.want {
			t.Errorf("printable(%q, %d) = %q, want %q", tt.text, tt.limit, got, tt.want)
		}
	}
}
