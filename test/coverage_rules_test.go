package test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testCases(t *testing.T) []behaviour {
	t.Helper()
	cases, err := readCases("# head\n1\tA\tyes\tfirst\n2\tA\tyes\tsecond\n7\tB\tno\tthird\n9\tB\tyes\tfourth\n")
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func testSources(t *testing.T) []source {
	t.Helper()
	return []source{
		parse(t, file{"b/b_test.go", `package b

func TestOne_Case1(t *testing.T) {}
func TestMany_Case1_2(t *testing.T) {
	for range 2 {
		t.Run("Case7 in words", func(t *testing.T) {})
		t.Run(name+"Case9", func(t *testing.T) {})
	}
}
func helperCase9() {}
func (x T) TestCase9() {}
`}),
		parse(t, file{"a/a_test.go", "package a\n\nfunc FuzzX_Case2(f *testing.F) {}\n"}),
		parse(t, file{"internal/c/c_test.go", "package c\n\nfunc TestCase9(t *testing.T) {}\n"}),
		parse(t, file{"a/a.go", "package a\n\nfunc TestCase9() {}\n"}),
	}
}

func TestCaseNumbersAreFoundInTestsAndSubtests(t *testing.T) {
	want := map[int][]testRef{
		1: {{"b/b_test.go", "TestMany_Case1_2"}, {"b/b_test.go", "TestOne_Case1"}},
		2: {{"a/a_test.go", "FuzzX_Case2"}, {"b/b_test.go", "TestMany_Case1_2"}},
		7: {{"b/b_test.go", "TestMany_Case1_2/Case7_in_words"}},
	}
	if diff := cmp.Diff(want, caseTests(testSources(t)), cmp.AllowUnexported(testRef{})); diff != "" {
		t.Errorf("tests of cases (-want +got):\n%s", diff)
	}
}

func TestCoverageFaultsAreFound(t *testing.T) {
	found := caseTests(testSources(t))
	found[3] = []testRef{{"b/b_test.go", "TestCase3"}}
	wantFaults(t, coverageFaults(testCases(t), found), "case 9 (B: fourth) has no test", "names case 3")
}

func TestCoveragePageShowsTestsAndGaps(t *testing.T) {
	found := caseTests(testSources(t))
	page := renderCoverage(testCases(t), found)
	for _, part := range []string{
		"2 of 3 required behaviours have a test",
		"\n## A\n\n| case | behaviour | tests |\n|---|---|---|\n| 1 | first | `TestMany_Case1_2` (b/b_test.go)<br>`TestOne_Case1` (b/b_test.go) |\n",
		"| 9 | fourth | **missing** |\n",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %q:\n%s", part, page)
		}
	}
	if stale := staleLines(page, page); stale != nil {
		t.Errorf("a fresh page is stale: %q", stale)
	}
	delete(found, 7)
	wantFaults(t, staleLines(page, renderCoverage(testCases(t), found)),
		"is stale", "on the page: | 7 | third | `TestMany", "in the tests: | 7 | third | later |")
}

func TestBadCaseListsAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no title":  "1\tA\tyes\t\n",
		"columns":   "1\tA\tyes\n",
		"required":  "1\tA\tmaybe\tx\n",
		"number":    "one\tA\tyes\tx\n",
		"order":     "2\tA\tyes\tx\n1\tA\tyes\tx\n",
		"duplicate": "1\tA\tyes\tx\n2\tB\tyes\tx\n1\tC\tyes\tx\n",
	} {
		if _, err := readCases(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
