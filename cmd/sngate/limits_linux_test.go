package main

import (
	"strings"
	"testing"
)

// No machine has a million ports.
func TestCheckAndRunWarnOfShortages(t *testing.T) {
	path := write(t, "sngate.toml", `listener = [{ address = "127.0.0.1:0" }]
embedded_broker.address = "127.0.0.1:0"
store.path = ""
ops.address = ""
session.max_sessions = 1000000
`)
	if code, stdout, stderr := call(t, "", "check", path); code != exitOK || stdout != "ok\n" || !strings.HasPrefix(stderr, "warning: session.max_sessions: 1000000 devices need ") {
		t.Errorf("check: code %d, %q, %q", code, stdout, stderr)
	}
	if code, log := runUntilStarted(t, path); code != exitOK || !strings.Contains(log, `"level":"warn","key":"session.max_sessions"`) {
		t.Errorf("run: code %d, %s", code, log)
	}
}
