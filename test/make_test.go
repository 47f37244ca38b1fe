package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fakeGo makes a program that answers like the Go of the given version.
func fakeGo(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "go")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// needsGo returns what "make run" says of Go, and whether it goes on.
func needsGo(t *testing.T, goProgram string) (said string, ok bool) {
	t.Helper()
	cmd := exec.Command("make", "--no-print-directory", "GO="+goProgram, "go")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=0")
	out, err := cmd.CombinedOutput()
	text := regexp.MustCompile(`(?m)^make: .*\n`).ReplaceAllString(string(out), "")
	return text, err == nil
}

func TestGoThatIsTooOldIsToldInOneLine(t *testing.T) {
	needed := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readFile(t, "go.mod"))[1]
	of := func(version string) string {
		return "case $1 in env) echo " + version + " ;; version) echo go version " + version + " linux/amd64 ;; esac\n"
	}
	// A newer Go that may not fetch another one, or cannot: "go env" in the folder fails.
	stuck := func(version string) string {
		return "case $1 in version) echo go version " + version + " linux/amd64 ;; *) echo 'go: go.mod requires go >= 1.99' >&2; exit 1 ;; esac\n"
	}
	for _, tt := range []struct {
		name, script string
		want         string // "": good enough
	}{
		{"Debian 12", of("go1.19.8"), "go1.19.8"},
		{"one too old", of("go1.25.9"), "go1.25.9"},
		{"not allowed to fetch", stuck("go1.24.4"), "go1.24.4: install it from https://go.dev/dl/ and put its bin folder first in PATH, or let it fetch that one by itself: GOTOOLCHAIN=auto"},
		{"broken", "exit 1\n", "older"},
		{"the one needed", of("go" + needed), ""},
		{"newer", of("go1.100.2"), ""},
		{"a new series", of("go2.0"), ""},
		{"a release candidate", of("go" + needed + "rc1"), ""},
		{"built from source", of("devel go1.99-abcdef"), ""},
	} {
		said, ok := needsGo(t, fakeGo(t, tt.script))
		if tt.want == "" {
			if !ok || said != "" {
				t.Errorf("%s: %v, %q", tt.name, ok, said)
			}
			continue
		}
		if ok || strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "sngate needs Go "+needed+" or newer, and ") ||
			!strings.Contains(said, tt.want) || !strings.Contains(said, "https://go.dev/dl/") {
			t.Errorf("%s: %v, %q", tt.name, ok, said)
		}
	}
	if said, ok := needsGo(t, "no-such-go"); ok || strings.Count(said, "\n") != 1 || !strings.Contains(said, "no-such-go was not found in PATH: install it from https://go.dev/dl/") {
		t.Errorf("no Go: %v, %q", ok, said)
	}
}

// Every target that uses Go asks first whether it is good enough.
func TestEveryTargetThatUsesGoChecksIt(t *testing.T) {
	makefile := readFile(t, "Makefile")
	checked := map[string]bool{"go": true, "clean": true, "help": true, "deps": true}
	for _, m := range regexp.MustCompile(`(?m)^([a-z%/-]+):([^=#\n]*)`).FindAllStringSubmatch(makefile, -1) {
		good := checked[m[1]]
		for _, needs := range strings.Fields(m[2]) {
			good = good || checked[needs] || strings.HasPrefix(needs, "$(PLATFORMS")
		}
		checked[m[1]] = good
		if !good && strings.Contains(recipe(makefile, m[1]), "$(GO)") {
			t.Errorf("make %s uses Go and does not check it", m[1])
		}
	}
}

func TestMakeCheckIsTheShortPart(t *testing.T) {
	makefile := readFile(t, "Makefile")
	text := recipe(makefile, "check")
	for _, part := range []string{"$(GO) test", "grep -v '/test/'"} {
		if !strings.Contains(text, part) {
			t.Errorf("make check does not use %q", part)
		}
	}
	for _, part := range []string{"-race", "fuzz", "deps.sh"} {
		if strings.Contains(text, part) {
			t.Errorf("make check uses %q, which takes long or installs something", part)
		}
	}
	if !regexp.MustCompile(`(?m)^check: go fmt-check vet `).MatchString(makefile) {
		t.Error("make check does not check format and vet")
	}
}

// The version of what "make build" builds tells its commit, also where Go itself would not
// find it.
func TestMakeBuildNotesTheCommit(t *testing.T) {
	cmd := exec.Command("make", "--no-print-directory", "-n", "COMMIT=0123abc", "build")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=0")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "-X sngate/internal/version.commit=0123abc") {
		t.Errorf("%v: %s", err, out)
	}
	if !regexp.MustCompile(`(?m)^COMMIT \?= \$\(shell test -e \.git && git describe `).MatchString(readFile(t, "Makefile")) {
		t.Error("the Makefile does not ask git for the commit")
	}
}

// A vulnerability must not pass for a network that is away, nor the other way round.
func TestVulncheckFailsUnlessTheDatabaseIsAway(t *testing.T) {
	for name, c := range map[string]struct {
		says   string
		status int
		fails  bool
	}{
		"nothing found":   {"No vulnerabilities found.", 0, false},
		"vulnerability":   {"Your code is affected by 1 vulnerability.", 3, true},
		"no database":     {"govulncheck: fetching vulnerabilities: no such host", 1, false},
		"does not build":  {"govulncheck: loading packages: there are errors", 1, true},
		"words elsewhere": {"# govulncheck: fetching vulnerabilities: no", 3, true},
	} {
		cmd := exec.Command("sh", "test/vulncheck.sh")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GO="+fakeGo(t, fmt.Sprintf("echo '%s'; exit %d", c.says, c.status)))
		out, err := cmd.CombinedOutput()
		if (err != nil) != c.fails || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if says := strings.Contains(string(out), "NOT CHECKED"); says != (name == "no database") {
			t.Errorf("%s: says that nothing was checked: %v", name, says)
		}
	}
}
