//go:build unix

package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"sngate/internal/loadgen"
)

// round is the results of one round, by load and peer. All loads of a round run one after the
// other, each with all its peers, so that what else the machine does meets them alike.
type round map[string]map[peer]*loadgen.Result

// figure is what the rounds say of a measure: medians. ratio is that of the rounds' ratios.
type figure struct {
	value, other, ratio float64
	rounds              int // of which the value is known, and the ratio where there is one
}

// figure works a measure out.
func (m *measure) figure(all []round) figure {
	var values, others, ratios []float64
	for _, r := range all {
		own := r[m.load][gateway]
		if own == nil {
			continue
		}
		if m.peer == "" {
			values = append(values, m.value(own))
			continue
		}
		of, value := m.peerLoad, m.peerValue
		if of == "" {
			of = m.load
		}
		if value == nil {
			value = m.value
		}
		values = append(values, m.value(own))
		if other := r[of][m.peer]; other != nil && value(other) > 0 {
			others = append(others, value(other))
			ratios = append(ratios, m.value(own)/value(other))
		}
	}
	f := figure{median(values), median(others), median(ratios), len(values)}
	if m.peer != "" {
		f.rounds = len(ratios)
	}
	return f
}

// counts is the number that the target is for.
func (m *measure) counts(f figure) float64 {
	if m.peer != "" {
		return f.ratio
	}
	return f.value
}

// median returns the middle one of a list, or the mean of the two in the middle; NaN for none.
func median(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	list = slices.Sorted(slices.Values(list))
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}

// cells is a measure's row of the table.
func (m *measure) cells(all []round) []string {
	f := m.figure(all)
	show := func(v float64, format string) string {
		if math.IsNaN(v) {
			return "-"
		}
		return fmt.Sprintf(format, v)
	}
	other, ratio := "", ""
	if m.peer != "" {
		other, ratio = show(f.other, m.format+" ("+string(m.peer)+")"), show(f.ratio, "%.2f")
	}
	verdict := "not measured"
	if f.rounds > 0 {
		verdict = "no"
		if m.reached(m.counts(f)) {
			verdict = "yes"
		}
	}
	return []string{m.text, show(f.value, m.format), other, ratio, m.wanted(), verdict}
}

func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	line(slices.Repeat([]string{"---"}, len(head)))
	for _, r := range rows {
		line(r)
	}
	return b.String()
}

// made is a result with a CPU time per message, for the tests below.
func made(us float64) *loadgen.Result {
	return &loadgen.Result{Gateway: &loadgen.Gateway{MicrosPerMessage: us}}
}

func TestFiguresAreMediansOfTheRounds(t *testing.T) {
	rounds := []round{
		{"a": {gateway: made(30), floor: made(20)}, "b": {gateway: made(10)}},
		{"a": {gateway: made(90), floor: made(30)}, "b": {gateway: made(20)}}, // a busy machine
		{"a": {gateway: made(20), floor: made(40)}, "b": {gateway: made(40)}},
		{"a": {gateway: nil, floor: made(1)}},
		{"a": {gateway: made(40), floor: made(0)}}, // too short to count
	}
	for _, tt := range []struct {
		m    measure
		want []string
	}{
		{measure{text: "x", load: "a", value: perMessage, format: "%.0f us", peer: floor, target: 1.5}, []string{"x", "35 us", "30 us (floor)", "1.50", "at most 1.50 times floor", "yes"}},
		{measure{text: "x", load: "a", value: perMessage, format: "%.0f us", peer: floor, target: 1.4}, []string{"x", "35 us", "30 us (floor)", "1.50", "at most 1.40 times floor", "no"}},
		{measure{text: "x", load: "a", value: perMessage, format: "%.0f us", peer: floor, target: 1.6, least: true}, []string{"x", "35 us", "30 us (floor)", "1.50", "at least 1.60 times floor", "no"}},
		{measure{text: "x", load: "b", value: perMessage, format: "%.0f us", peer: floor, peerLoad: "a", target: 1}, []string{"x", "20 us", "30 us (floor)", "0.67", "at most 1.00 times floor", "yes"}},
		{measure{text: "x", load: "b", value: perMessage, format: "%.0f us", target: 19}, []string{"x", "20 us", "", "", "at most 19 us", "no"}},
		{measure{text: "x", load: "b", value: perMessage, format: "%.0f us", peer: before, target: .5}, []string{"x", "20 us", "-", "-", "at most 0.50 times before", "not measured"}},
		{measure{text: "x", load: "c", value: perMessage, format: "%.0f us", target: 1}, []string{"x", "-", "", "", "at most 1 us", "not measured"}},
	} {
		if got := tt.m.cells(rounds); !slices.Equal(got, tt.want) {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// A measure speaks of a load that is there, with a peer that it has.
func TestMeasuresHaveTheirLoads(t *testing.T) {
	peers := make(map[string][]peer)
	for _, l := range loads() {
		peers[l.name] = l.peers
	}
	used := make(map[string]bool)
	for _, m := range measures() {
		used[m.load] = true
		of := m.peerLoad
		if of == "" {
			of = m.load
		}
		if !slices.Contains(peers[m.load], gateway) || m.peer != "" && !slices.Contains(peers[of], m.peer) {
			t.Errorf("%s: no load %q, or no %q under %q", m.text, m.load, m.peer, of)
		}
	}
	if len(used) != len(loads()) {
		t.Errorf("%d loads, of which %d are measured", len(loads()), len(used))
	}
}
