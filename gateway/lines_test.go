package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"sngate/gateway/listen"
	"sngate/gateway/session"
	"sngate/internal/rate"
	"sngate/snpacket/sn12"
)

// lineLab is a log with a clock of its own.
type lineLab struct {
	out bytes.Buffer
	now time.Duration
	*lines
}

func newLineLab() *lineLab {
	l := &lineLab{}
	l.lines = newLines(zerolog.New(&l.out).Level(zerolog.InfoLevel), func() time.Duration { return l.now })
	return l
}

func (l *lineLab) count(text string) int { return strings.Count(l.out.String(), text) }

// A flood at one level leaves the others their share, and what was left out is told.
func TestEachLogLevelHasItsOwnBurst(t *testing.T) {
	l := newLineLab()
	perSecond := lineLimitsOf[deviceLines].perSecond
	for range 10 * perSecond {
		l.at(deviceLines, zerolog.InfoLevel).Msg("flood")
		l.at(deviceLines, zerolog.DebugLevel).Msg("not wanted")
	}
	l.at(deviceLines, zerolog.WarnLevel).Msg("warning")
	l.at(deviceLines, zerolog.ErrorLevel).Msg("error")
	l.at(strangerLines, zerolog.InfoLevel).Msg("stranger")
	if l.count(`"flood"`) != perSecond || l.count(`"message":"warning"`) != 1 || l.count(`"message":"error"`) != 1 || l.count(`"stranger"`) != 1 || l.count("left out") != 0 {
		t.Fatalf("%s", l.out.String())
	}
	l.now += time.Second
	l.out.Reset()
	l.at(deviceLines, zerolog.WarnLevel).Msg("warning")
	l.at(deviceLines, zerolog.InfoLevel).Msg("later")
	l.at(deviceLines, zerolog.InfoLevel).Msg("later")
	want := `{"level":"warn","message":"warning"}` + "\n" +
		fmt.Sprintf(`{"level":"info","lines":%d,"message":"log lines left out"}`, 9*perSecond) + "\n" +
		strings.Repeat(`{"level":"info","message":"later"}`+"\n", 2)
	if d := cmp.Diff(want, l.out.String()); d != "" {
		t.Error(d)
	}
}

// worstLines offers one line of each kind and level, as long as any can be.
func worstLines(l *lines, x *explanation) {
	id := strings.Repeat("\x01\"", 128)
	addr := listen.Peer{Node: strings.Repeat("\xff", 252)}.String()
	for kind := range lineLimitsOf {
		for _, level := range []zerolog.Level{zerolog.InfoLevel, zerolog.WarnLevel, zerolog.ErrorLevel} {
			ev := l.at(lineKind(kind), level, id, addr, x.topic, x.advice)
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
	x := &explanation{packet: "UNSUBSCRIBE", hasTopicID: true, topicID: 65535, topicIDType: "pre-defined",
		topic: printable(strings.Repeat("\x00", 60000), loggedTopicLimit), octets: 65535, advice: adviceFor[session.ReasonMessageRate]}
	l := newLineLab()
	total := 0
	for ; l.now < 24*time.Hour; l.now += 10 * time.Second {
		for range 3 {
			worstLines(l.lines, x)
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
		worstLines(l.lines, x)
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
			l.at(sessionLines, zerolog.InfoLevel, "meter-4711", "192.0.2.1:5000").Str("client_id", "meter-4711").Msg("device connected")
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

// Every line that somebody else can cause is within the limits: with nothing left of them,
// the worst that devices, strangers and the broker do writes nothing.
func TestNobodyCanWriteLinesBeyondTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) {
			o.Log = o.Log.Level(zerolog.InfoLevel)
			o.MaxSessions, o.DatagramRate, o.StatusTopic = 5, 100, "status"
			o.ConnectRates = ConnectRates{Rate: 100, Burst: 100, SourceRate: 50, SourceBurst: 50}
			o.Session.Allow = []string{"ok*"}
		})
		var code atomic.Uint32
		r.broker.Refuse = func(string, string, []byte) byte { return byte(code.Load()) }
		r.device("10.0.3.1:5000").connect("ok-first")
		before := r.log.Len()
		for kind := range r.gateway.lines.levels {
			for level := range r.gateway.lines.levels[kind] {
				v := &r.gateway.lines.levels[kind][level]
				v.mu.Lock()
				v.octets = rate.NewLimiter(rate.Every(time.Hour, 0))
				v.mu.Unlock()
			}
		}
		strangers := func(d *device, i int) {
			for _, h := range []string{"", "07 16", "02 03", "ff", "05 fe 00 a1 02", "04 0c 00 00", "02 18", "03 05 00", "07 04 04 02 003c 61", "08 0c 62 00 01 00 00 41",
				"08 0c 61 00 09 00 00 41", "06 fe 00 a1 a2 a3 02 16", "04 16 7a 7a", "03 01 00", "03 00 01"} {
				d.send(h)
			}
			d.connectUnanswered(fmt.Sprintf("no-%d", i))
			d.connectUnanswered(fmt.Sprintf("ok-%d", i))
		}
		devices := func(d *device) {
			d.sendMessage(sn12.Publish{TopicID: 9})
			d.sendMessage(sn12.Publish{QoS: 1, TopicID: 9, MsgID: 1})
			d.sendMessage(sn12.Subscribe{MsgID: 1, TopicName: []byte("a/#/b")})
			d.sendMessage(sn12.Register{MsgID: 1, TopicName: []byte("+")})
			d.sendMessage(sn12.Disconnect{HasDuration: true, Duration: 60})
			for range 300 {
				d.send("02 16")
			}
		}
		for i := range 60 {
			d := r.device(fmt.Sprintf("10.0.2.%d:5000", 1+i))
			strangers(d, i)
			devices(d)
			if i%2 == 0 { // the others are lost
				d.sendMessage(sn12.Disconnect{})
			}
			if i%10 == 9 {
				r.broker.Drop("ok-first")
				r.broker.Drop("sngate-test-7")
				code.Store(uint32(i % 6))
			}
			time.Sleep(10 * time.Second)
		}
		r.broker.Kill(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if more := r.log.String()[before:]; more != "" {
			t.Errorf("written:\n%s", more)
		}
		for _, why := range []session.Reason{session.ReasonMalformed, session.ReasonUnknownTopicID, session.ReasonUnknownSender, session.ReasonClientNotAllowed,
			session.ReasonMaxSessions, session.ReasonDatagramRate, session.ReasonInvalidTopic, session.ReasonProtocolID} {
			if r.dropped(why) == 0 {
				t.Errorf("%v has not happened: the test is not what it should be", why)
			}
		}
	})
}
