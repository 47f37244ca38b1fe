package secretstest

import (
	"fmt"
	"strings"
	"testing"
)

// recorder takes the failures of a Check.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func TestASecretIsFoundInEveryForm(t *testing.T) {
	const secret = `hunter2 "x"<`
	var s Search
	s.Add(secret, "other one")
	for _, text := range []string{
		`password=` + secret, `{"password":"hunter2 \"x\"\u003c"}`, `"hunter2 \"x\"<"`, "aHVudGVyMiAieCI8", "68756e7465723220227822" + "3c",
		"68756E74657232202278223C", "68 75 6e 74 65 72 32 20 22 78 22 3c", "hunter2+%22x%22%3C", "hunter2%20%22x%22%3C",
		"104 117 110 116 101 114 50 32 34 120 34 60",
	} {
		r := &recorder{TB: t}
		s.Check(r, "the log", "before\nline "+text+" end\nafter")
		if len(r.failures) != 1 || !strings.Contains(r.failures[0], "line ") || strings.Contains(r.failures[0], "after") {
			t.Errorf("%s: %q", text, r.failures)
		}
	}
	r := &recorder{TB: t}
	s.Check(r, "the log", "hunter2 x other  one")
	if len(r.failures) != 0 {
		t.Errorf("%q", r.failures)
	}
}

func TestShortSecretsAreLeftOut(t *testing.T) {
	var s Search
	s.Add("", "w", "short")
	s.Check(t, "the log", "a word that is short")
}
