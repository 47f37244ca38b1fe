//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sngate/conf"
)

// journal makes a file the stream to the journal, as systemd does, and returns it and a
// function that reads its lines.
func journal(t *testing.T) (*os.File, func() []string) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
	return file, func() []string {
		b, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	}
}

func TestJournalGetsPriorities(t *testing.T) {
	for _, format := range []string{"", "json", "console"} {
		t.Run(format, func(t *testing.T) {
			file, lines := journal(t)
			log, err := newLogger(conf.Log{Level: "trace", Format: format}, file)
			if err != nil {
				t.Fatal(err)
			}
			log.Trace().Msg("one")
			log.Debug().Msg("two")
			log.Info().Str("text", "a\nb").Msg("three")
			log.Warn().Msg("four")
			log.Error().Msg("five")
			log.Log().Msg("six")
			for i, want := range []struct{ prefix, level, text string }{
				{"<7>", "trace", "one"}, {"<7>", "debug", "two"}, {"<6>", "info", "three"}, {"<4>", "warn", "four"}, {"<3>", "error", "five"}, {"<6>", "", "six"},
			} {
				rest, ok := strings.CutPrefix(lines()[i], want.prefix)
				if !ok || !strings.Contains(rest, want.text) {
					t.Errorf("line %q, want priority %s", lines()[i], want.prefix)
				}
				var m map[string]string
				if format == "console" {
					if strings.Contains(rest, "\x1b") {
						t.Errorf("colours in the journal: %q", rest)
					}
				} else if err := json.Unmarshal([]byte(rest), &m); err != nil || m["level"] != want.level {
					t.Errorf("%q is not the event: %v", rest, err)
				}
			}
			if n := len(lines()); n != 6 {
				t.Errorf("%d lines for 6 events", n)
			}
		})
	}
}

// The variable is inherited by processes that write elsewhere.
func TestNoPrioritiesOutsideOfTheJournal(t *testing.T) {
	_, lines := journal(t)
	other, err := os.Create(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var buffer bytes.Buffer
	for _, w := range []io.Writer{other, &buffer} {
		log, err := newLogger(conf.Log{Level: "info"}, w)
		if err != nil {
			t.Fatal(err)
		}
		log.Warn().Msg("hello")
	}
	text, err := os.ReadFile(other.Name())
	if err != nil || !strings.HasPrefix(string(text), "{") || !strings.HasPrefix(buffer.String(), "{") {
		t.Errorf("%q, %q, %v", text, buffer.String(), err)
	}
	if got := lines(); len(got) != 1 || got[0] != "" {
		t.Errorf("the journal has %q", got)
	}
}

func TestFaultsOfTheConfigurationAreErrorsInTheJournal(t *testing.T) {
	file, lines := journal(t)
	bad := write(t, "bad.toml", "[gateway]\nid = 300\nname = 1\n")
	if code := run(t.Context(), []string{"-c", bad}, strings.NewReader(""), io.Discard, file); code != exitFailure {
		t.Errorf("code %d", code)
	}
	got := lines()
	if len(got) != 2 || !strings.HasPrefix(got[0], "<3>"+bad+":2: gateway.id") || !strings.HasPrefix(got[1], "<3>"+bad+":3: gateway.name") {
		t.Errorf("%q", got)
	}
}
