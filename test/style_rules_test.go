package test

import (
	"strings"
	"testing"
)

func TestMissingPackageCommentIsFound(t *testing.T) {
	wantFaults(t, missingPackageComments([]source{
		parse(t, file{"a/a.go", "package a\n"}),
		parse(t, file{"a/doc.go", "// Package a does things.\npackage a\n"}),
		parse(t, file{"b/b.go", "// A comment too far away.\n\npackage b\n"}),
	}), "b: no file")
}

func TestLongFilesAndFunctionsAreFound(t *testing.T) {
	long := "package a\n\nfunc f() {\n" + strings.Repeat("\t_ = 0\n", maxFileLines) + "}\n"
	wantFaults(t, tooLong(parse(t, file{"a.go", long})), "a.go: 404 lines", "a.go:3: f has 402 lines")
	excused := "// long file: a table.\n" + strings.Replace(long, "func f", "// f is one.\n//\n// long function: it is a table.\nfunc f", 1)
	wantFaults(t, tooLong(parse(t, file{"a.go", excused})))
	atLimit := "package a\n\nfunc f() {\n" + strings.Repeat("\t_ = 0\n", maxFunctionLines-2) + "}\n"
	wantFaults(t, tooLong(parse(t, file{"a.go", atLimit})))
}

func TestGlobalStateIsFound(t *testing.T) {
	all := []source{
		parse(t, file{"a/a.go", `package a

var count int
var errBad, errWorse error = errors.New("bad"), worse(1)
var names = [...]string{"a", "b"}
var cache = map[string]int{}
var byName, other = map[string]int{"a": 1}, new(int)
var _ I = T{}
var listed = sync.Pool{}
var mu sync.Mutex

func init() {}
`}),
		parse(t, file{"a/b.go", "package a\n\nfunc f() {\n\tcache[\"x\"] = 1\n}\n\nfunc (T) init() {}\n"}),
		parse(t, file{"a/a_test.go", "package a\n\nvar forTests int\n"}),
	}
	wantFaults(t, globalState(all, map[string]string{"a: listed": "reason"}),
		"a/a.go:3: package-level variable count", "a.go:6: package-level variable cache", "variable other", "variable mu", "a.go:12: init")
}

func TestSkipsAreFound(t *testing.T) {
	wantFaults(t, skips(parse(t, file{"a_test.go", `package a

func TestA(t *testing.T) {
	t.Skip("no")
	if testing.Short() {
		return
	}
	r.Skip(4)
}

 func FuzzA(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) { t.Skip() }) }
`})), "a_test.go:4", "a_test.go:5")
}

func TestForbiddenPhrasesAreFound(t *testing.T) {
	wantFaults(t, forbidden([]file{
		{"a.go", "package a\n\n// TO" + "DO: later\nvar mask = \"ab-XXXXXX\"\n"},
		{"b.md", "see /ho" + "me/me/x and\n/wo" + "rk/main, not site/work/1 or a//work-ing.example/home\n"},
		{"c.md", "as the RS" + "MB does\n"},
		{"d.md", "said, maintained, AIRPORT, main\n"},
	}), "a.go:3", "b.md:1", "b.md:2", "c.md:1")
}
