package brokers

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

const pagePath = "../../docs/BROKERS.md"

// page is docs/BROKERS.md, taken apart at the table of the brokers.
type page struct {
	before, after string              // of the table
	cells         map[string][]string // by question, one for each kind
	order         []string            // of the questions
	answers       map[string]string
}

const lastColumn = "What sngate does"

func tableHead() string {
	head := []string{"What is done"}
	for _, k := range kinds() {
		head = append(head, k.name)
	}
	return row(append(head, lastColumn)) + row(slices.Repeat([]string{"---"}, len(head)+1))
}

func row(cells []string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

func readPage(t testing.TB) page {
	t.Helper()
	data, err := os.ReadFile(pagePath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), tableHead())
	if !ok {
		t.Fatalf("%s has no table with the head\n%s", pagePath, tableHead())
	}
	p := page{before: before, cells: make(map[string][]string), answers: make(map[string]string)}
	for {
		line, more, _ := strings.Cut(rest, "\n")
		if !strings.HasPrefix(line, "| ") {
			p.after = rest
			return p
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | ")
		if len(cells) != len(kinds())+2 {
			t.Fatalf("the line has %d cells: %s", len(cells), line)
		}
		text, last := cells[0], len(cells)-1
		p.order, p.answers[text], p.cells[text] = append(p.order, text), cells[last], cells[1:last]
		rest = more
	}
}

// write renders the page with the questions of today and the cells that are known.
func (p *page) write(t testing.TB) {
	t.Helper()
	var out bytes.Buffer
	out.WriteString(p.before + tableHead())
	for _, q := range allQuestions() {
		cells := p.cells[q.text]
		if cells == nil {
			cells = make([]string, len(kinds()))
		}
		out.WriteString(row(slices.Concat([]string{q.text}, cells, []string{q.answer})))
	}
	out.WriteString(p.after)
	if err := os.WriteFile(pagePath, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The table and the probes are about the same, and every cell has been measured.
func TestPageHasARowForEachProbe(t *testing.T) {
	p := readPage(t)
	var want []string
	for _, q := range allQuestions() {
		want = append(want, q.text)
		if q.answer == "" || p.answers[q.text] != q.answer {
			t.Errorf("%s: the page says %q, the probe %q", q.text, p.answers[q.text], q.answer)
		}
		for i, cell := range p.cells[q.text] {
			if strings.TrimSpace(cell) == "" {
				t.Errorf("%s: the cell of %s is empty", q.text, kinds()[i].name)
			}
		}
	}
	if !slices.Equal(p.order, want) {
		t.Errorf("the rows are %q, want %q", p.order, want)
	}
}

// The page tells which scenarios there are, each as "- **name**: ...".
func TestPageListsEachScenario(t *testing.T) {
	p := readPage(t)
	var listed, want []string
	for line := range strings.Lines(p.before + p.after) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "- **"), "**: "); ok && strings.HasPrefix(line, "- **") {
			listed = append(listed, name)
		}
	}
	for _, s := range scenarios() {
		want = append(want, s.name)
	}
	if !slices.Equal(listed, want) {
		t.Errorf("the page lists the scenarios %q, want %q", listed, want)
	}
}
