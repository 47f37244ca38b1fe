//go:build unix

package bench

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The pages, and what their tables stand between.
const (
	performancePage = "../../docs/PERFORMANCE.md"
	sizingPage      = "../../docs/SIZING.md"

	opening = "<!-- measured -->\n"
	closing = "<!-- end -->\n"
)

func performanceHead() []string {
	return []string{"measure", "sngate", "compared with", "ratio", "wanted", "reached"}
}

// readBlock returns what stands between the marks of a page, and what is around it.
func readBlock(t *testing.T, path string) (before, block, after string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), opening)
	block, after, ok2 := strings.Cut(rest, closing)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for a table, between %q and %q", path, opening, closing)
	}
	return before, block, after
}

func writeBlock(t *testing.T, path, block string) {
	t.Helper()
	before, _, after := readBlock(t, path)
	if err := os.WriteFile(path, []byte(before+opening+block+closing+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// origin says when and where figures were measured. others is how many CPUs the rest of the
// machine was using while the devices were idle; below 0 it is not known.
func origin(rounds int, others float64) string {
	first := func(path, key string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			return "unknown"
		}
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); key == "" {
				return strings.TrimSpace(line)
			} else if ok && strings.TrimSpace(name) == key {
				return strings.TrimSpace(value)
			}
		}
		return "unknown"
	}
	count := fmt.Sprintf("medians of %d rounds", rounds)
	if rounds == 1 {
		count = "one round"
	}
	s := fmt.Sprintf("Measured on %s: %d CPUs (%s), %s of memory, Linux %s, %s; %s.",
		time.Now().Format("2 January 2006"), runtime.NumCPU(), first("/proc/cpuinfo", "model name"),
		first("/proc/meminfo", "MemTotal"), first("/proc/sys/kernel/osrelease", ""), runtime.Version(), count)
	if others >= 0 {
		s += fmt.Sprintf(" While the devices were idle, other programs were using %.2f CPUs.", others)
	}
	return s + "\n\n"
}

// rowsOf returns the first cell of each row of a table.
func rowsOf(block string) (list []string) {
	for line := range strings.Lines(block) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| ") && cells[0] != "| ---" {
			list = append(list, strings.TrimPrefix(cells[0], "| "))
		}
	}
	return list
}

// The page has been written since the measures were last changed.
func TestPerformancePageHasARowForEachMeasure(t *testing.T) {
	_, block, _ := readBlock(t, performancePage)
	want := []string{performanceHead()[0]}
	for _, m := range measures() {
		want = append(want, m.text)
		if !strings.Contains(block, " | "+m.wanted()+" | ") {
			t.Errorf("%s: the page does not say that %s is wanted", m.text, m.wanted())
		}
	}
	if got := rowsOf(block); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the rows are\n%s\nand should be\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
