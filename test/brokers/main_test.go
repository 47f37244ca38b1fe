//go:build brokers

package brokers

import (
	"flag"
	"fmt"
	"os"
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
	for _, k := range kinds() {
		if *only == "" || *only == k.name {
			t.Run(k.name, func(t *testing.T) { test(t, k, k.start(t, &built)) })
		}
	}
}

func TestScenarios(t *testing.T) {
	each(t, func(t *testing.T, k kind, b broker) { play(t, k, b, built.sngate, scenarios()) })
}

func TestProbe(t *testing.T) {
	each(t, func(t *testing.T, k kind, b broker) {
		for _, q := range questions() {
			t.Run(q.text, func(t *testing.T) { t.Logf("CELL|%s|%s|%s", k.name, q.text, q.probe(t, b)) })
		}
	})
}
