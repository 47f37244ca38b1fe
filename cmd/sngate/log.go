package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sngate/conf"
)

// journalVariable names the stream to the journal that systemd has given the process.
const journalVariable = "JOURNAL_STREAM"

// newLogger makes the logger of [log]. Where no format is set it depends on where the log
// goes, and so do colours and priorities: a terminal has a reader, the rest has programs.
func newLogger(c conf.Log, w io.Writer) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("log.level: %w", err)
	}
	terminal, out := isTerminal(w), w
	var j *journalWriter
	if isJournal(w, os.Getenv(journalVariable)) {
		j = &journalWriter{out: w}
		out = &j.line
	}
	if c.Format == "console" || c.Format == "" && terminal {
		out = zerolog.ConsoleWriter{Out: out, NoColor: !terminal, TimeFormat: time.RFC3339}
	}
	if j != nil {
		j.format, out = out, j
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger(), nil
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// journalWriter puts before each line the priority that journald and syslog know, as in
// "<4>". Its methods may be called from any goroutine.
type journalWriter struct {
	out    io.Writer
	format io.Writer // writes an event to line

	mu   sync.Mutex
	line bytes.Buffer // in one piece, so that lines do not mix with those of others
}

// WriteLevel writes one event.
func (j *journalWriter) WriteLevel(level zerolog.Level, event []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.line.Reset()
	fmt.Fprintf(&j.line, "<%d>", priority(level))
	if _, err := j.format.Write(event); err != nil {
		return 0, err
	}
	if _, err := j.out.Write(j.line.Bytes()); err != nil {
		return 0, err
	}
	return len(event), nil
}

// Write writes an event without a level.
func (j *journalWriter) Write(event []byte) (int, error) {
	return j.WriteLevel(zerolog.NoLevel, event)
}

// priority is the syslog priority of a level (RFC 5424 section 6.2.1).
func priority(level zerolog.Level) int {
	switch level {
	case zerolog.TraceLevel, zerolog.DebugLevel:
		return 7
	case zerolog.WarnLevel:
		return 4
	case zerolog.ErrorLevel:
		return 3
	case zerolog.FatalLevel, zerolog.PanicLevel:
		return 2
	}
	return 6
}

// printFaults prints the faults of a configuration, of which no logger could be made: one
// line each, which the journal takes for errors.
func printFaults(w io.Writer, faults error) {
	prefix := ""
	if isJournal(w, os.Getenv(journalVariable)) {
		prefix = fmt.Sprintf("<%d>", priority(zerolog.ErrorLevel))
	}
	for line := range strings.Lines(faults.Error() + "\n") {
		fmt.Fprint(w, prefix, line)
	}
}
