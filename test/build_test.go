package test

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestBuildServerScriptRunsTheTests(t *testing.T) {
	info, err := os.Stat(filepath.Join(root, ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o111 != 0o111 {
		t.Errorf(".ci/run has mode %v and cannot be run", info.Mode().Perm())
	}
	script := readFile(t, ".ci/run")
	for _, line := range []string{"set -euo pipefail", "make test"} {
		if !slices.Contains(strings.Split(script, "\n"), line) {
			t.Errorf(".ci/run has no line %q", line)
		}
	}
}

// recipe is the text of a target's recipe in a Makefile, "" if there is none.
func recipe(makefile, target string) string {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:.*\n((?:\t.*\n)*)`).FindStringSubmatch(makefile)
	if m == nil {
		return ""
	}
	return m[1]
}

// A race step without -race, or a step nobody calls, is worse than none.
func TestMakeTestRunsEveryStepForReal(t *testing.T) {
	makefile := readFile(t, "Makefile")
	steps := regexp.MustCompile(`for step in ([a-z -]+); do`).FindStringSubmatch(recipe(makefile, "test"))
	if steps == nil {
		t.Fatal("make test has no list of steps")
	}
	want := map[string][]string{
		"deps":      {"test/deps.sh"},
		"lint":      nil, // steps of its own, below
		"cross":     nil, // by pattern, below
		"footprint": {"-bench .", "Footprint", "./..."},
		"fuzz":      {"test/fuzz.sh"},
		"test-race": {"-race", "-shuffle=on", "-timeout", "./..."},
	}
	for step, parts := range want {
		if !slices.Contains(strings.Fields(steps[1]), step) {
			t.Errorf("make test does not run %s", step)
		}
		for _, part := range parts {
			if !strings.Contains(recipe(makefile, step), part) {
				t.Errorf("make %s does not use %q", step, part)
			}
		}
	}
	lint := regexp.MustCompile(`(?m)^lint: ([a-z -]+)`).FindStringSubmatch(makefile)
	if lint == nil {
		t.Fatal("make lint has no steps")
	}
	for step, parts := range map[string][]string{
		"fmt-check":   {"/bin/gofmt", "-l .", "exit 1"},
		"vet":         {"vet ./..."},
		"tidy":        {"mod tidy -diff"},
		"shape":       {"run ./test/shape"},
		"rules":       {"test ./test"},
		"staticcheck": {"tool staticcheck", "./..."},
		"vulncheck":   {"test/vulncheck.sh"},
	} {
		if !slices.Contains(strings.Fields(lint[1]), step) {
			t.Errorf("make lint does not run %s", step)
		}
		for _, part := range parts {
			if !strings.Contains(recipe(makefile, step), part) {
				t.Errorf("make %s does not use %q", step, part)
			}
		}
	}
	if fields := strings.Fields(steps[1]); fields[len(fields)-1] != "test-race" {
		t.Error("make test does not end with the summary of the main test run")
	}
	for _, platform := range []string{"linux/arm/6", "linux/arm64", "darwin/", "windows/"} {
		if !regexp.MustCompile(`(?m)^PLATFORMS :=.* ` + platform).MatchString(makefile) {
			t.Errorf("make cross does not build %s", platform)
		}
	}
}

// unit is a systemd unit file: "Section.Key" to its values in order.
func unit(t *testing.T, text string) map[string][]string {
	t.Helper()
	settings := make(map[string][]string)
	section := ""
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if m := regexp.MustCompile(`^\[(\w+)\]$`).FindStringSubmatch(line); m != nil {
			section = m[1]
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == "" || strings.TrimSpace(key) != key {
			t.Errorf("packaging/sngate.service:%d: %q is neither a section nor a setting", i+1, line)
			continue
		}
		settings[section+"."+key] = append(settings[section+"."+key], value)
	}
	return settings
}

func TestServiceRunsConfinedAndForEver(t *testing.T) {
	settings := unit(t, readFile(t, "packaging/sngate.service"))
	for key, want := range map[string]string{
		"Service.ExecStart":             "/usr/bin/sngate run -c /etc/sngate/sngate.toml",
		"Service.Restart":               "always",
		"Unit.StartLimitIntervalSec":    "0",
		"Service.DynamicUser":           "yes",
		"Service.StateDirectory":        "sngate",
		"Service.WorkingDirectory":      "/var/lib/sngate",
		"Service.StateDirectoryMode":    "0700",
		"Service.ProtectSystem":         "strict",
		"Service.ProtectHome":           "yes",
		"Service.NoNewPrivileges":       "yes",
		"Service.CapabilityBoundingSet": "",
		"Service.LoadCredential":        "password:/etc/sngate/password",
		"Service.SetCredential":         `password:\n`, // else the unit would not start without the file
		"Install.WantedBy":              "multi-user.target",
	} {
		if got := settings[key]; len(got) != 1 || got[0] != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	for _, key := range []string{"Service.MemoryMax", "Service.LimitNOFILE", "Service.SystemCallFilter", "Unit.Description"} {
		if len(settings[key]) == 0 {
			t.Errorf("%s is not set", key)
		}
	}
}
