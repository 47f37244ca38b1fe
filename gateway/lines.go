package gateway

import (
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"sngate/internal/rate"
)

// The log is bounded twice: in lines per second, so that a burst hides nothing else, and
// in octets per day, so that neither a flood nor a broken device fills a disk or wears a
// card out. The octets are those of level info and above. Debug is for who looks for a
// fault, and bounded per second only.

// lineKind is a kind of log lines with bounds of its own, so that a flood of one kind hides
// nothing of another.
type lineKind uint8

const (
	sessionLines  lineKind = iota // what becomes of devices that have been accepted before
	deviceLines                   // what else their devices cause
	strangerLines                 // what anybody can cause
	brokerLines                   // what the broker causes
	faultLines                    // errors of sockets, and our own
)

// lineLimits bounds one kind.
type lineLimits struct {
	perSecond int // lines of each level
	daily     int // octets at info; half of it at warn, an eighth at error
}

// dailyLogLimit is what the log of a day stays below, in octets, at level info: what
// lineLimitsOf adds up to, with the levels, and room for the lines of the built-in broker,
// which has bounds of its own, and for those that only the operator causes.
const dailyLogLimit = 100_000_000

var lineLimitsOf = [...]lineLimits{
	sessionLines:  {perSecond: 100, daily: 18_000_000},
	deviceLines:   {perSecond: 100, daily: 16_000_000},
	strangerLines: {perSecond: 50, daily: 11_000_000},
	brokerLines:   {perSecond: 10, daily: 4_500_000},
	faultLines:    {perSecond: 10, daily: 4_500_000},
}

// lineOverhead is what a line has at most beside the texts that are given to lines.at:
// time, level, the names of the fields, numbers, and the message.
const lineOverhead = 320

// lines is the log of a running gateway, bounded. It may be used from many goroutines.
type lines struct {
	log    zerolog.Logger
	now    func() time.Duration
	levels [len(lineLimitsOf)][zerolog.ErrorLevel + 1]lineLevel
}

// lineLevel is one level of one kind.
type lineLevel struct {
	mu        sync.Mutex
	perSecond rate.Limiter // of lines
	octets    rate.Limiter
	leftOut   uint64
}

func newLines(log zerolog.Logger, now func() time.Duration) *lines {
	l := &lines{log: log, now: now}
	for kind, limits := range lineLimitsOf {
		for level := range l.levels[kind] {
			daily := limits.daily
			switch zerolog.Level(level) {
			case zerolog.WarnLevel:
				daily /= 2
			case zerolog.ErrorLevel:
				daily /= 8
			}
			// A quarter may come at once, so that a day has no more than all of it.
			perOctet := 24 * time.Hour / time.Duration(daily*3/4)
			l.levels[kind][level].perSecond = rate.NewLimiter(rate.PerSecond(limits.perSecond, limits.perSecond))
			l.levels[kind][level].octets = rate.NewLimiter(rate.Every(perOctet, perOctet*time.Duration(daily/4)))
		}
	}
	return l
}

// enabled reports whether lines of this level are written at all.
func (l *lines) enabled(level zerolog.Level) bool {
	return level >= l.log.GetLevel() && level >= zerolog.GlobalLevel()
}

// at begins a line, or returns nil, which takes fields and writes nothing, when there are
// too many of its kind and level. texts are what the line has of variable length; the
// first line after some that were left out says how many.
func (l *lines) at(kind lineKind, level zerolog.Level, texts ...string) *zerolog.Event {
	if !l.enabled(level) {
		return nil
	}
	octets := lineOverhead
	for _, t := range texts {
		octets += octetsInLog(t)
	}
	leftOut, ok := l.levels[kind][level].take(l.now(), octets, level >= zerolog.InfoLevel)
	if !ok {
		return nil
	}
	if leftOut > 0 {
		l.log.WithLevel(level).Uint64("lines", leftOut).Msg("log lines left out")
	}
	return l.log.WithLevel(level)
}

// take reports whether one more line of so many octets may be written, and how many were
// left out before it.
func (v *lineLevel) take(now time.Duration, octets int, bounded bool) (leftOut uint64, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.leftOut > 0 {
		octets += lineOverhead // of the line that tells it
	}
	if !v.perSecond.Allow(now) || bounded && !v.octets.Take(now, octets) {
		v.leftOut++
		return 0, false
	}
	leftOut, v.leftOut = v.leftOut, 0
	return leftOut, true
}

// octetsInLog is what a text takes in a line at most, with its quotes.
func octetsInLog(text string) int {
	n := len(text) + 2
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7F {
			n += 5 // "\u00ff"
		}
	}
	return n
}

// printable returns text as a line can show it: whole, or its beginning of at most limit
// octets, and quoted if anything in it cannot be printed.
func printable(text string, limit int) string {
	cut := ""
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text, cut = text[:limit], "..."
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		text = strconv.QuoteToASCII(text)
	}
	return text + cut
}
