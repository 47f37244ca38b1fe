package test

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const reliabilityPage = "docs/RELIABILITY.md"

// outageTable is the heading above the table whose rows each name their tests.
const outageTable = "## Outages"

func TestDocsOutageTableNamesItsTests(t *testing.T) {
	files := tree(t)
	all := pages(files)
	wantNoFaults(t, outageFaults(pageAt(t, all, reliabilityPage), testNames(sources(t, files))))
}

// promisePage has the table of the README's promises.
const promisePage = "test/PROMISES.md"

func pageAt(t *testing.T, all []page, path string) page {
	t.Helper()
	i := slices.IndexFunc(all, func(p page) bool { return p.path == path })
	if i < 0 {
		t.Fatal(path + " does not exist")
	}
	return all[i]
}

// Each promise in bold under the README's guarantees has rows with tests.
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
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| Promise |") {
			continue
		}
		if !testRefs.MatchString(line) {
			faults = append(faults, fmt.Sprintf("%s:%d: a promise without a test", promisePage, i+1))
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
	good := []string{"| Promise | Part of it | Tests |", "| A holds | x | `TestA` (p) |", "| | y | `TestA` (p) |", "| B | z | `TestB` (p) |"}
	wantFaults(t, promiseFaults(readme, good))
	wantFaults(t, promiseFaults(readme, []string{"| A holds | x | none |"}), "a promise without a test", `promises "B"`)
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

// outageFaults reports missing tests, and rows of the outage table without a test.
func outageFaults(p page, tests map[string]bool) []string {
	faults := missingTests(p, tests)
	inTable, rows := false, 0
	for i, line := range p.lines {
		at := fmt.Sprintf("%s:%d: ", p.path, i+1)
		refs := testRefs.FindAllStringSubmatch(line, -1)
		switch {
		case strings.HasPrefix(line, "## "):
			inTable = line == outageTable
		case inTable && strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| Outage "):
			if rows++; len(refs) == 0 {
				faults = append(faults, at+"a row of the outage table without a test")
			}
		}
	}
	if rows == 0 {
		faults = append(faults, p.path+": no table under "+outageTable)
	}
	return faults
}

func TestOutageFaultsAreFound(t *testing.T) {
	tests := map[string]bool{"test/outage TestA": true}
	good := page{"r.md", []string{outageTable, "| Outage | Tests |", "|---|---|", "| a | `TestA` (test/outage) |", "## Other", "| x | y |"}}
	wantFaults(t, outageFaults(good, tests))
	bad := page{"r.md", []string{outageTable, "| a | `TestB` (test/outage) |", "| b | none |", "`TestA` is nowhere"}}
	wantFaults(t, outageFaults(bad, tests), "no TestB in test/outage", "r.md:4: a test without its folder", "r.md:3: a row")
	wantFaults(t, outageFaults(page{"r.md", []string{"text"}}, tests), "no table")
}

// What lasts is measured by monotonic time and by the running time that the store keeps. A
// point on the calendar, or a time taken apart, would be the wall clock's.
func TestArchNothingDecidesByTheWallClock(t *testing.T) {
	var faults []string
	for _, s := range sources(t, tree(t)) {
		part := strings.SplitN(s.dir, "/", 2)[0]
		if slices.Contains([]string{"gateway", "upstream", "store"}, part) && !s.isTest() {
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
