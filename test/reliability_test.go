package test

import (
	"fmt"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reliabilityPage tells operators of outages.
const reliabilityPage = "docs/RELIABILITY.md"

// outageHeading is the heading, on both pages, above the tables of outages.
const outageHeading = "## Outages"

// Each outage that operators are told of has a row with tests.
func TestDocsOutagesNameTheirTests(t *testing.T) {
	all := pages(tree(t))
	wantNoFaults(t, outageFaults(pageAt(t, all, reliabilityPage), pageAt(t, all, promisePage)))
}

// promisePage names the tests of the README's promises, and of what RELIABILITY.md says.
const promisePage = "test/PROMISES.md"

func pageAt(t *testing.T, all []page, path string) page {
	t.Helper()
	i := slices.IndexFunc(all, func(p page) bool { return p.path == path })
	if i < 0 {
		t.Fatal(path + " does not exist")
	}
	return all[i]
}

// Each promise in bold under the README's guarantees has rows, and each row has tests.
func TestDocsPromisesNameTheirTests(t *testing.T) {
	files := tree(t)
	all := pages(files)
	wantNoFaults(t, promiseFaults(pageAt(t, all, "README.md").lines, pageAt(t, all, promisePage).lines))
	wantNoFaults(t, missingTests(pageAt(t, all, promisePage), testNames(sources(t, files))))
}

var promise = regexp.MustCompile(`^- \*\*(.+?)\.?\*\*`)

func promiseFaults(readme, promises []string) []string {
	var faults []string
	rows := map[string]bool{}
	for i, line := range promises {
		if !strings.HasPrefix(line, "| ") || i+1 < len(promises) && strings.HasPrefix(promises[i+1], "|---") {
			continue
		}
		if !testRefs.MatchString(line) {
			faults = append(faults, fmt.Sprintf("%s:%d: a row without a test", promisePage, i+1))
		}
		if name := strings.TrimSpace(strings.Split(line, "|")[1]); name != "" {
			rows[name] = true
		}
	}
	guarantees, found := false, 0
	for _, line := range readme {
		if strings.HasPrefix(line, "## ") {
			guarantees = line == "## What it guarantees"
		}
		m := promise.FindStringSubmatch(line)
		if !guarantees || m == nil {
			continue
		}
		if found++; !rows[m[1]] {
			faults = append(faults, "README.md promises \""+m[1]+"\", which has no row in "+promisePage)
		}
	}
	if found == 0 {
		faults = append(faults, "README.md promises nothing")
	}
	return faults
}

func TestPromiseFaultsAreFound(t *testing.T) {
	readme := []string{"## What it guarantees", "- **A holds.** Text", "- **B**, too"}
	good := []string{"| Promise | Part of it | Tests |", "|---|---|---|", "| A holds | x | `TestA` (p) |", "| | y | `TestA` (p) |", "| B | z | `TestB` (p) |"}
	wantFaults(t, promiseFaults(readme, good))
	wantFaults(t, promiseFaults(readme, []string{"| A holds | x | none |"}), "a row without a test", `promises "B"`)
	wantFaults(t, promiseFaults(nil, good), "promises nothing")
}

// testNames are the test functions of each folder, as "folder TestName".
func testNames(all []source) map[string]bool {
	names := make(map[string]bool)
	for _, s := range all {
		for _, decl := range s.ast.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && s.isTest() && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names[s.dir+" "+f.Name.Name] = true
			}
		}
	}
	return names
}

var testRefs = regexp.MustCompile("`(Test\\w+)` \\(([\\w/]+)\\)")

// missingTests reports every test that the page names, with its folder, and that does not
// exist, and those named without a folder.
func missingTests(p page, tests map[string]bool) []string {
	var faults []string
	for i, line := range p.lines {
		at := fmt.Sprintf("%s:%d: ", p.path, i+1)
		refs := testRefs.FindAllStringSubmatch(line, -1)
		for _, m := range refs {
			if !tests[m[2]+" "+m[1]] {
				faults = append(faults, at+"there is no "+m[1]+" in "+m[2])
			}
		}
		if named := regexp.MustCompile("`Test\\w+`").FindAllString(line, -1); len(named) != len(refs) {
			faults = append(faults, at+"a test without its folder in parentheses")
		}
	}
	return faults
}

// outages are the names of the outages in a page's tables, by the line that has them.
func outages(p page) map[string]int {
	names := make(map[string]int)
	inside := false
	for i, line := range p.lines {
		if strings.HasPrefix(line, "## ") {
			inside = line == outageHeading
		}
		if name, isRow := strings.CutPrefix(line, "| "); inside && isRow {
			if name, _, _ = strings.Cut(name, " | "); name != "Outage" {
				names[name] = i + 1
			}
		}
	}
	return names
}

// outageFaults reports outages of one page that the other does not have, both ways.
func outageFaults(told, tested page) []string {
	var faults []string
	here, there := outages(told), outages(tested)
	for _, name := range slices.Sorted(maps.Keys(here)) {
		if there[name] == 0 {
			faults = append(faults, fmt.Sprintf("%s:%d: outage %q has no row in %s", told.path, here[name], name, tested.path))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if here[name] == 0 {
			faults = append(faults, fmt.Sprintf("%s:%d: outage %q is not in %s", tested.path, there[name], name, told.path))
		}
	}
	if len(here) == 0 {
		faults = append(faults, told.path+": no table under "+outageHeading)
	}
	return faults
}

func TestOutageFaultsAreFound(t *testing.T) {
	told := page{"r.md", []string{outageHeading, "### The disk", "| Outage | Seen |", "|---|---|", "| a | x |", "## Other", "| c | y |"}}
	tested := page{"p.md", []string{outageHeading, "| Outage | Tests |", "|---|---|", "| a | `TestA` (test) |"}}
	wantFaults(t, outageFaults(told, tested))
	wantFaults(t, outageFaults(told, page{"p.md", []string{outageHeading, "| b | z |"}}), `r.md:5: outage "a" has no row`, `p.md:2: outage "b" is not in r.md`)
	wantFaults(t, outageFaults(page{"r.md", []string{"text"}}, tested), `p.md:4: outage "a"`, "r.md: no table")
}

func TestMissingTestsAreFound(t *testing.T) {
	p := page{"p.md", []string{"| a | `TestA` (test/outage), `TestB` (test/outage) |", "`TestA` is nowhere"}}
	wantFaults(t, missingTests(p, map[string]bool{"test/outage TestA": true}), "p.md:1: there is no TestB in test/outage", "p.md:2: a test without its folder")
}

// What lasts is measured by monotonic time and by the running time that the store keeps. A
// point on the calendar, or a time taken apart, would be the wall clock's.
func TestArchNothingDecidesByTheWallClock(t *testing.T) {
	var faults []string
	for _, s := range sources(t, tree(t)) {
		part := strings.SplitN(s.dir, "/", 2)[0]
		if slices.Contains([]string{"gateway", "upstream", "store"}, part) && !s.isTest() && !hasDates(s) {
			faults = append(faults, calendarUses(s)...)
		}
	}
	wantNoFaults(t, faults)
}

// calendarUses reports what takes the wall clock's reading out of a time.Time or makes one
// without a monotonic reading. Sums, differences and comparisons of time.Now use that.
func calendarUses(s source) []string {
	functions := []string{"Unix", "UnixMilli", "UnixMicro", "Date", "Parse", "ParseInLocation"} // of package time
	methods := []string{"Unix", "UnixMilli", "UnixMicro", "UnixNano", "AddDate", "YearDay", "Weekday", "Clock"}
	var faults []string
	ast.Inspect(s.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		names := methods
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
			names = functions
		}
		if slices.Contains(names, sel.Sel.Name) {
			faults = append(faults, s.at(n)+": "+sel.Sel.Name+": the wall clock may jump by years")
		}
		return true
	})
	return faults
}

func TestCalendarUsesAreFound(t *testing.T) {
	s := parse(t, file{"gateway/x.go", `package gateway

import "time"

func f(since time.Time) bool {
	_ = time.Now().UnixNano()
	_ = time.Since(since)
	return time.Now().After(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
}
`})
	wantFaults(t, calendarUses(s), "x.go:6: UnixNano", "x.go:8: Date")
}
