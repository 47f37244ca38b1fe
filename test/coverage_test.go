package test

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const coveragePage = "test/COVERAGE.md"

// updateFlag is read through the flag package, so that no variable outlives a test.
const updateFlag = "update"

func TestMain(m *testing.M) {
	flag.Bool(updateFlag, false, "rewrite "+coveragePage)
	m.Run()
}

func updating() bool { return flag.Lookup(updateFlag).Value.String() == "true" }

// behaviour is one case of the list of behaviours. Numbers have gaps and are
// never reused; tests carry them in their names.
type behaviour struct {
	number   int
	group    string
	required bool // a test must carry its number
	title    string
}

// readCases reads testdata/cases.tsv: number, group, "yes" or "no", title.
func readCases(text string) ([]behaviour, error) {
	var cases []behaviour
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 4 || f[1] == "" || f[3] == "" || f[2] != "yes" && f[2] != "no" {
			return nil, fmt.Errorf("line %d: want number, group, yes or no, title, apart by tabs", i+1)
		}
		n, err := strconv.Atoi(f[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: number %q", i+1, f[0])
		}
		if len(cases) > 0 && n <= cases[len(cases)-1].number && f[1] == cases[len(cases)-1].group {
			return nil, fmt.Errorf("line %d: number %d is not above the one before", i+1, n)
		}
		if slices.ContainsFunc(cases, func(c behaviour) bool { return c.number == n }) {
			return nil, fmt.Errorf("line %d: number %d twice", i+1, n)
		}
		cases = append(cases, behaviour{n, f[1], f[2] == "yes", f[3]})
	}
	return cases, nil
}

// testRef is a test that carries the number of a case in its name.
type testRef struct {
	path string // of the file
	name string // "TestX" or "TestX/subtest"
}

func (r testRef) String() string { return "`" + r.name + "` (" + r.path + ")" }

// caseTests finds the tests of each case: functions of test files, and
// subtests named by a string literal in a call of Run. Tests below internal/ do
// not count: they are about sngate's own client and tools, not the gateway.
func caseTests(all []source) map[int][]testRef {
	found := make(map[int][]testRef)
	add := func(s source, name, carrier string) {
		for _, n := range caseNumbers(carrier) {
			if ref := (testRef{s.path, name}); !slices.Contains(found[n], ref) {
				found[n] = append(found[n], ref)
			}
		}
	}
	for _, s := range all {
		if !s.isTest() || strings.HasPrefix(s.path, "internal/") {
			continue
		}
		for _, decl := range s.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !isTestName(f.Name.Name) {
				continue
			}
			add(s, f.Name.Name, f.Name.Name)
			ast.Inspect(f, func(n ast.Node) bool {
				if sub, ok := subtestName(n); ok {
					add(s, f.Name.Name+"/"+strings.ReplaceAll(sub, " ", "_"), sub)
				}
				return true
			})
		}
	}
	for _, refs := range found {
		slices.SortFunc(refs, func(a, b testRef) int {
			return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.name, b.name))
		})
	}
	return found
}

// caseNumbers reads "...Case64_66..." as 64 and 66.
func caseNumbers(name string) []int {
	var numbers []int
	for _, m := range regexp.MustCompile(`Case(\d+(?:_\d+)*)`).FindAllStringSubmatch(name, -1) {
		for _, digits := range strings.Split(m[1], "_") {
			if n, err := strconv.Atoi(digits); err == nil {
				numbers = append(numbers, n)
			}
		}
	}
	return numbers
}

func isTestName(name string) bool {
	return strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") || strings.HasPrefix(name, "Benchmark")
}

// subtestName is the name in t.Run("name", ...).
func subtestName(n ast.Node) (string, bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 2 {
		return "", false
	}
	if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "Run" {
		return "", false
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	name, err := strconv.Unquote(lit.Value)
	return name, err == nil
}

// renderCoverage makes the page.
func renderCoverage(cases []behaviour, found map[int][]testRef) string {
	var page strings.Builder
	required, covered := 0, 0
	for _, c := range cases {
		if c.required {
			required++
			if len(found[c.number]) > 0 {
				covered++
			}
		}
	}
	fmt.Fprintf(&page, "# Behaviours and their tests\n\n"+
		"Made by `make pages` from the names of the tests; do not edit. A test\n"+
		"carries the numbers of the behaviours it shows, as in `..._Case64_66`. Numbers\n"+
		"have gaps. %d of %d required behaviours have a test; \"later\" marks those that\n"+
		"belong to a part of sngate not made yet.\n", covered, required)
	group := ""
	for _, c := range cases {
		if c.group != group {
			group = c.group
			fmt.Fprintf(&page, "\n## %s\n\n| case | behaviour | tests |\n|---|---|---|\n", group)
		}
		tests := make([]string, 0, len(found[c.number]))
		for _, ref := range found[c.number] {
			tests = append(tests, ref.String())
		}
		cell := strings.Join(tests, "<br>")
		if cell == "" && c.required {
			cell = "**missing**"
		} else if cell == "" {
			cell = "later"
		}
		fmt.Fprintf(&page, "| %d | %s | %s |\n", c.number, c.title, cell)
	}
	return page.String()
}

// coverageFaults reports required cases without a test, and tests with the
// number of a case that does not exist.
func coverageFaults(cases []behaviour, found map[int][]testRef) []string {
	known := make(map[int]bool)
	var faults []string
	for _, c := range cases {
		known[c.number] = true
		if c.required && len(found[c.number]) == 0 {
			faults = append(faults, fmt.Sprintf("case %d (%s: %s) has no test with Case%d in its name", c.number, c.group, c.title, c.number))
		}
	}
	for _, n := range slices.Sorted(maps.Keys(found)) {
		if !known[n] {
			faults = append(faults, fmt.Sprintf("%v names case %d, which is not in testdata/cases.tsv", found[n], n))
		}
	}
	return faults
}

func loadCases(t *testing.T) []behaviour {
	t.Helper()
	text, err := os.ReadFile("testdata/cases.tsv")
	if err != nil {
		t.Fatal(err)
	}
	cases, err := readCases(string(text))
	if err != nil {
		t.Fatalf("testdata/cases.tsv: %v", err)
	}
	return cases
}

func TestCoveragePageIsFresh(t *testing.T) {
	cases, found := loadCases(t), caseTests(sources(t, tree(t)))
	want := renderCoverage(cases, found)
	page := filepath.Join(root, filepath.FromSlash(coveragePage))
	if updating() {
		if err := os.MkdirAll(filepath.Dir(page), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatalf("%v: run \"make pages\"", err)
	}
	for _, line := range staleLines(string(have), want) {
		t.Error(line)
	}
}

// maxStaleLines is enough to see what is wrong.
const maxStaleLines = 20

// staleLines tells how a page differs from the one that should be there.
func staleLines(have, want string) []string {
	if have == want {
		return nil
	}
	stale := []string{coveragePage + " is stale: run \"make pages\""}
	haveLines, wantLines := strings.Split(have, "\n"), strings.Split(want, "\n")
	for _, line := range haveLines {
		if !slices.Contains(wantLines, line) {
			stale = append(stale, "on the page: "+line)
		}
	}
	for _, line := range wantLines {
		if !slices.Contains(haveLines, line) {
			stale = append(stale, "in the tests: "+line)
		}
	}
	if more := len(stale) - maxStaleLines; more > 0 {
		stale = append(stale[:maxStaleLines], fmt.Sprintf("and %d lines more", more))
	}
	return stale
}

func TestCoverageOfRequiredCases(t *testing.T) {
	wantNoFaults(t, coverageFaults(loadCases(t), caseTests(sources(t, tree(t)))))
}
