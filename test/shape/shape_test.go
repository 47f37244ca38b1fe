package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// project writes a module of these files, and loads it.
func project(t *testing.T, files map[string]string) []*packages.Package {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module sngate\n\ngo 1.26\n"
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pkgs, err := load(dir, "./...")
	if err != nil {
		t.Fatal(err)
	}
	return pkgs
}

// smallSession breaks each rule about the session a known number of times.
func smallSession() map[string]string {
	return map[string]string{
		"snpacket/sn12/sn12.go": "package sn12\n\ntype Ack struct{}\n",
		"gateway/session/session.go": `package session

type Config struct{ Durable bool }
type durable struct{ n int }
type part struct{ n [2]int }
type Session struct {
	cfg  *Config
	here part
	wide int
	d    *durable
}

func New() *Session                 { return &Session{here: part{}, wide: 1} }
func (s *Session) storing() bool    { return s.d != nil && s.cfg.Durable } // 2 tests
func (s *Session) one()             { s.wide = 1; s.here.n[0]++ }
func (p *part) two()                { p.n[1] = 2 }
`,
		"gateway/session/a.go": `package session

import "sngate/snpacket/sn12"

func (s *Session) a() { s.wide++; s.here.n[1] = 1; _ = sn12.Ack{}; s.d = nil }
func other(p *part) bool { return p == nil }
`,
		"gateway/session/b.go": `package session

func (s *Session) b() {
	if s.storing() { // 1 test
		s.wide, s.here = 2, part{}
	}
	if x := s.wide; nil == s.d { // 1 test
		_ = x
	}
}
`,
		"gateway/session/c.go": "package session\n\nfunc (s *Session) c() { s.cfg.Durable = true }\n",
		"gateway/session/sn12/sn12.go": `package sn12

import codec "sngate/snpacket/sn12"

type Dialogue struct{ ack codec.Ack }
`,
		"gateway/sessiontest/x.go": "package sessiontest\n\ntype T struct{ a, b, c, d, e, f, g int }\n",
		"test/x.go":                "package test\n\ntype T struct{ a, b, c, d, e, f, g int }\n",
	}
}

func TestCountsOfASmallSession(t *testing.T) {
	want := map[string]figure{
		"methods of one type":                               {n: 5, where: "gateway/session.Session"},
		"files with methods of one type":                    {n: 4, where: "gateway/session.Session"},
		"fields of one struct with state":                   {n: 4, where: "gateway/session.Session, gateway/session.durable 1, gateway/session.part 1"},
		"session fields assigned in more than 2 files":      {n: 2, where: "here 3, wide 3"},
		"tests of \"is there a store\" in the session":      {n: 4, where: "in 2 files"},
		"session files outside the dialogue that name sn12": {n: 1, where: "a"},
	}
	for _, f := range counts(project(t, smallSession())) {
		w, ok := want[f.count]
		if delete(want, f.count); ok && (f.n != w.n || f.where != w.where) {
			t.Errorf("%s: %d (%s), want %d (%s)", f.count, f.n, f.where, w.n, w.where)
		}
	}
	for count := range want {
		t.Errorf("%s is not counted", count)
	}
}

func TestReferencesUpAreCountedInLargePackages(t *testing.T) {
	const top = "package p\n\nfunc Top() { Low(); low2(); T{}.m() }\n"
	files := map[string]string{
		"store/top.go":     top + strings.Repeat("// a line\n", largePackage),
		"store/middle.go":  "package p\n\ntype T struct{ f int }\n\nfunc (T) m() { Low() }\n",
		"store/low.go":     "package p\n\nfunc Low() { var t T; t.f = 1 }\nfunc low2() { Low() }\n", // a type further up
		"store/small/a.go": "package small\n\nfunc A() { B() }\n",
		"store/small/b.go": "package small\n\nfunc B() { A() }\n",
	}
	for _, f := range upward(project(t, files)) {
		n, where := 0, ""
		if f.count == "references up, store" {
			n, where = 1, "store 1 of 4"
		}
		if f.n != n || f.where != where {
			t.Errorf("%s: %d (%s), want %d (%s)", f.count, f.n, f.where, n, where)
		}
	}
}

func TestOrderHasAsFewReferencesUpAsThereCanBe(t *testing.T) {
	for name, c := range map[string]struct {
		edges string // "ab" is a reference from a to b
		up    int
	}{
		"none":        {"", 0},
		"layers":      {"ab ac bc cd bd", 0},
		"layers back": {"ba ca cb dc db", 0},
		"a pair":      {"ab ba", 1},
		"a ring":      {"ab bc cd da", 1},
		"two rings":   {"ab ba bc cd dc", 2},
		"a hub":       {"ab ac ad ba ca da", 3},
	} {
		g := &graph{files: []string{"a", "b", "c", "d"}, to: make([][]bool, 4)}
		for i := range g.to {
			g.to[i] = make([]bool, 4)
		}
		for _, e := range strings.Fields(c.edges) {
			g.to[e[0]-'a'][e[1]-'a'] = true
		}
		if n := g.up(g.order()); n != c.up {
			t.Errorf("%s: %d references up, want %d", name, n, c.up)
		}
	}
}

func TestReportFindsWhatIsAboveItsCeiling(t *testing.T) {
	bounds := []ceiling{{"low", 5, 1}, {"high", 5, 1}, {"gone", 5, 1}}
	var table strings.Builder
	faults := report(&table, []figure{{"low", 5, "x"}, {"high", 6, "y"}, {"new", 1, "z"}}, bounds)
	want := []string{"high: 6, more than 5: y", "new: no ceiling", "gone: a ceiling without a count"}
	if strings.Join(faults, "\n") != strings.Join(want, "\n") {
		t.Errorf("faults %q, want %q", faults, want)
	}
	if !strings.Contains(table.String(), "low    5    5        1     x\n") {
		t.Errorf("table:\n%s", table.String())
	}
}
