package metrics

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sngate/gateway/session"
)

func TestReasonsForDropsAndEndsCoverAll(t *testing.T) {
	exported := make(map[session.Reason]bool)
	for _, why := range append(DropReasons(), EndReasons()...) {
		exported[why] = true
	}
	for i, name := range session.ReasonNames() {
		why := session.Reason(i)
		if exported[why] != (why != session.ReasonNone) {
			t.Errorf("%s is exported: %v", name, exported[why])
		}
	}
}

func TestMetricsPageListsTheEndsOfSessions(t *testing.T) {
	page, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Why sessions end")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented, counted []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [A-Z]").FindAllStringSubmatch(section, -1) {
		if row[1] != "reason" {
			documented = append(documented, row[1])
		}
	}
	for _, why := range EndReasons() {
		counted = append(counted, why.String())
	}
	if d := cmp.Diff(counted, documented); d != "" {
		t.Errorf("counted (-) and documented (+) differ:\n%s", d)
	}
}

func TestMetricsPageListsTheReasonsOfDrops(t *testing.T) {
	page, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Why something is dropped")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented, counted []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [A-Z].{15,} \\|$").FindAllStringSubmatch(section, -1) {
		documented = append(documented, row[1])
	}
	for _, why := range DropReasons() {
		counted = append(counted, why.String())
	}
	if d := cmp.Diff(counted, documented); d != "" {
		t.Errorf("counted (-) and documented (+) differ:\n%s", d)
	}
	row := regexp.MustCompile("(?m)^\\| `sngate_upstream_drops_total` .*$").FindString(string(page))
	for i := range upstreamDrops {
		if reason := upstreamDrops[i].reason; !strings.Contains(row, "`"+reason+"`") {
			t.Errorf("%s of the broker side is not documented", reason)
		}
	}
}
