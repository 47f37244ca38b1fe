package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"sngate/conf"
)

func TestLogger(t *testing.T) {
	for format, want := range map[string]string{"console": " WRN hello\n", "json": `"level":"warn"`, "": `"level":"warn"`} {
		var b bytes.Buffer
		log, err := newLogger(conf.Log{Level: "warn", Format: format}, &b)
		if err != nil {
			t.Fatal(err)
		}
		log.Info().Msg("quiet")
		log.Warn().Msg("hello")
		if got := b.String(); !strings.Contains(got, want) || strings.Contains(got, "quiet") || strings.Contains(got, "\x1b") {
			t.Errorf("%q: %q", format, got)
		}
	}
	if log, err := newLogger(conf.Log{Level: "loud"}, os.Stderr); err == nil || log.GetLevel() != zerolog.Disabled {
		t.Errorf("level loud: %v", err)
	}
}

// Terminals are character devices, as is the null device, which is everywhere.
func TestLogOfACharacterDeviceIsToRead(t *testing.T) {
	terminal, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if !isTerminal(terminal) || isTerminal(&bytes.Buffer{}) {
		t.Error("terminals are not told from other streams")
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if isTerminal(file) {
		t.Error("a file is a terminal")
	}
}

func TestFilesThatOthersCanReadAreWarnedOfByCheckAndRun(t *testing.T) {
	path := write(t, "sngate.toml", `listener = [{ address = "127.0.0.1:0" }]
embedded_broker.address = "127.0.0.1:0"
store.path = ""
ops.address = ""
broker.username = "u"
broker.password = "hunter2"
session.max_sessions = 10
`)
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o644: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := call(t, "", "check", path)
		warned := strings.HasPrefix(stderr, "warning: broker.password: other users can read "+path)
		if code != exitOK || stdout != "ok\n" || warned != want || !want && stderr != "" {
			t.Errorf("check, mode %o: code %d, %q, %q", mode, code, stdout, stderr)
		}
		code, log := runUntilStarted(t, path)
		warned = strings.Contains(log, `"level":"warn","key":"broker.password"`)
		if code != exitOK || warned != want || strings.Contains(log, "hunter2") {
			t.Errorf("run, mode %o: code %d, %s", mode, code, log)
		}
	}
}
