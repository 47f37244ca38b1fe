package session

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOnlyTheOwnerAssignsToAPart: what one part wants of another it says by a method. Load
// fills the parts of a session that is not in use yet.
func TestOnlyTheOwnerAssignsToAPart(t *testing.T) {
	text, err := os.ReadFile("session.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "// The parts of the session.")
	list, _, _ = strings.Cut(list, "\n}")
	var parts []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+) +\w+$`).FindAllStringSubmatch(list, -1) {
		parts = append(parts, m[1])
	}
	if len(parts) < 10 {
		t.Fatalf("parts %q are not all", parts)
	}
	foreign := regexp.MustCompile(`\bs\.(` + strings.Join(parts, "|") + `)\.\w[\w.\[\]]*(, [\w.\[\]]+)* *([-+|&]?=[^=]|\+\+|--)`)
	if !foreign.MatchString("ul.s.down.queue.head, x = 1, 2") || foreign.MatchString("dl.s.up.window == 1") {
		t.Fatal("the pattern does not tell assignments")
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "record.go" {
			continue
		}
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(code), "\n") {
			line, _, _ = strings.Cut(line, "//")
			if foreign.MatchString(line) && !strings.Contains(line, ".s = s") && !strings.Contains(line, ".s, s.") {
				t.Errorf("%s:%d: %s", name, i+1, strings.TrimSpace(line))
			}
		}
	}
}
