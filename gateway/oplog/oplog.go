// Package oplog is what an operator is told: the log, within bounds, what a drop or refusal
// was and what would be right, the refusals of each device for who asks, and the trace.
//
// The log is bounded twice: in lines per second, so that a burst hides nothing else, and
// in octets per day, so that neither a flood nor a broken device fills a disk or wears a
// card out. The octets are those of level info and above. Debug is for who looks for a
// fault, and bounded per second only.
package oplog

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"sngate/internal/rate"
	"sngate/topicreg"
)

// Log is the log of a running gateway, bounded. It may be used from many goroutines.
type Log struct {
	log        zerolog.Logger
	now        func() time.Duration
	predefined *topicreg.Predefined // for advice
	levels     [len(limitsOf)][zerolog.ErrorLevel + 1]level
}

// New returns the log of a gateway. now is the monotonic time since it started.
func New(log zerolog.Logger, now func() time.Duration, predefined *topicreg.Predefined) *Log {
	l := &Log{log: log, now: now, predefined: predefined}
	for kind, limits := range limitsOf {
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

// Enabled reports whether lines of this level are written at all.
func (l *Log) Enabled(level zerolog.Level) bool {
	return level >= l.log.GetLevel() && level >= zerolog.GlobalLevel()
}

// At begins a line, or returns nil, which takes fields and writes nothing, when there are
// too many of its kind and level. texts are what the line has of variable length; the
// first line after some that were left out says how many.
func (l *Log) At(kind Kind, level zerolog.Level, texts ...string) *zerolog.Event {
	if !l.Enabled(level) {
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

// Exhaust uses up all limits for good. A test can tell by it that nothing is written past
// them.
func (l *Log) Exhaust() {
	for kind := range l.levels {
		for level := range l.levels[kind] {
			v := &l.levels[kind][level]
			v.mu.Lock()
			v.octets = rate.NewLimiter(rate.Every(time.Hour, 0))
			v.mu.Unlock()
		}
	}
}

// loggedIDLimit is how many octets of a client id that was not accepted are logged.
const loggedIDLimit = 64

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
