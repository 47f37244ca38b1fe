//go:build brokers

package brokers

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
)

var (
	update = flag.Bool("update", false, "rewrite the table of docs/BROKERS.md")
	only   = flag.String("broker", "", "test this broker alone")
	built  programs
)

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "sngate-brokers-")
	if err == nil {
		built, err = buildPrograms(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// each runs a test with every broker, which is started for it.
func each(t *testing.T, test func(t *testing.T, k kind, b broker)) {
	tried := 0
	for _, k := range kinds() {
		if *only == "" || *only == k.name {
			t.Run(k.name, func(t *testing.T) { test(t, k, k.start(t, &built)) })
			tried++
		}
	}
	if tried == 0 {
		t.Fatalf("there is no broker %q", *only)
	}
}

func TestScenarios(t *testing.T) {
	each(t, func(t *testing.T, k kind, b broker) { play(t, k, b, built.sngate, scenarios()) })
}

// TestProbes compares what the brokers do with docs/BROKERS.md.
func TestProbes(t *testing.T) {
	p := readPage(t)
	each(t, func(t *testing.T, k kind, b broker) {
		column := slices.IndexFunc(kinds(), func(other kind) bool { return other.name == k.name })
		for _, q := range allQuestions() {
			t.Run(q.text, func(t *testing.T) {
				got := q.probe(t, b)
				if p.cells[q.text] == nil {
					p.cells[q.text] = make([]string, len(kinds()))
				}
				if want := p.cells[q.text][column]; got != want && !*update {
					t.Errorf("%s does %q, docs/BROKERS.md says %q", k.name, got, want)
				}
				p.cells[q.text][column] = got
			})
		}
	})
	if *update {
		p.write(t)
	}
}
