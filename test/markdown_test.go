package test

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// page is one Markdown file.
type page struct {
	path  string
	lines []string
}

// block is a fenced code block. Its language is the first word of the info string.
type block struct {
	path     string
	line     int // of its first line of code, from 1
	language string
	code     string
}

func (b block) at() string { return fmt.Sprintf("%s:%d", b.path, b.line) }

// pages are the project's Markdown files.
func pages(files []file) []page {
	var found []page
	for _, f := range files {
		if strings.HasSuffix(f.path, ".md") && !strings.Contains(f.path, "testdata/") {
			found = append(found, page{f.path, strings.Split(f.text, "\n")})
		}
	}
	return found
}

// blocks are the page's fenced code blocks, and prose its other lines, with
// empty ones in place of the blocks so that line numbers stay.
func (p page) split() (blocks []block, prose []string) {
	open := -1
	for i, line := range p.lines {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open < 0:
			language, _, _ := strings.Cut(fence, " ")
			blocks = append(blocks, block{path: p.path, line: i + 2, language: language})
			open = i
		case isFence:
			blocks[len(blocks)-1].code = strings.Join(p.lines[open+1:i], "\n") + "\n"
			open = -1
		case open < 0:
			prose = append(prose, line)
			continue
		}
		prose = append(prose, "")
	}
	return blocks, prose
}

// anchors are the names of the page's headings as links use them.
func (p page) anchors() []string {
	_, prose := p.split()
	var names []string
	for _, line := range prose {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		name := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.TrimSpace(title))
		for base, n := name, 1; slices.Contains(names, name); n++ {
			name = fmt.Sprint(base, "-", n)
		}
		names = append(names, name)
	}
	return names
}

// brokenLinks reports relative links of the pages that lead nowhere: to no
// file or folder of exists, or to no heading.
func brokenLinks(all []page, exists func(path string) bool) []string {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code := regexp.MustCompile("`[^`]*`")
	var faults []string
	for _, p := range all {
		_, prose := p.split()
		for i, line := range prose {
			for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(line, ""), -1) {
				if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
					continue
				}
				target, anchor, _ := strings.Cut(m[1], "#")
				file := p.path
				if target != "" {
					file = path.Join(path.Dir(p.path), target)
				}
				if !exists(file) {
					faults = append(faults, fmt.Sprintf("%s:%d: link to %s: there is no %s", p.path, i+1, m[1], file))
					continue
				}
				to := slices.IndexFunc(all, func(q page) bool { return q.path == file })
				if anchor != "" && to >= 0 && !slices.Contains(all[to].anchors(), anchor) {
					faults = append(faults, fmt.Sprintf("%s:%d: link to %s: no heading of %s has that name", p.path, i+1, m[1], file))
				}
			}
		}
	}
	return faults
}

// command is one program started in a shell block.
type command struct {
	line  int // within the block, from 0
	words []string
}

// commands reads a block of shell lines: comments, prompts, sudo, assignments
// and continuation lines are understood, and pipes and lists taken apart. It is
// no shell; quoted operators are beyond it, and no documentation needs them.
func commands(code string) []command {
	var found []command
	lines := strings.Split(code, "\n")
	for i := 0; i < len(lines); i++ {
		start, line := i, lines[i]
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + " " + lines[i]
		}
		line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		if at := strings.Index(" "+line, " #"); at >= 0 {
			line = line[:at]
		}
		for _, part := range regexp.MustCompile(`&&|\|\||[|;&]`).Split(line, -1) {
			words := strings.Fields(part)
			for len(words) > 0 && (words[0] == "sudo" || regexp.MustCompile(`^[A-Z_]+=`).MatchString(words[0])) {
				words = words[1:]
			}
			if len(words) > 0 {
				found = append(found, command{start, words})
			}
		}
	}
	return found
}

// unknownCommands reports uses of sngate with a subcommand and of make with a
// target that do not exist.
func unknownCommands(b block, subcommands, targets []string) []string {
	var faults []string
	for _, c := range commands(b.code) {
		at := fmt.Sprintf("%s:%d", b.path, b.line+c.line)
		switch path.Base(c.words[0]) {
		case "sngate":
			if len(c.words) > 1 && !slices.Contains(subcommands, c.words[1]) {
				faults = append(faults, fmt.Sprintf("%s: sngate has no subcommand %q", at, c.words[1]))
			}
		case "make":
			for _, word := range c.words[1:] {
				if !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") && !slices.Contains(targets, word) {
					faults = append(faults, fmt.Sprintf("%s: the Makefile has no target %q", at, word))
				}
			}
		}
	}
	return faults
}

// makeTargets are the targets of a Makefile, without those made by a pattern.
func makeTargets(makefile string) []string {
	var targets []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):([^=]|$)`).FindAllStringSubmatch(makefile, -1) {
		targets = append(targets, m[1])
	}
	return targets
}

func TestMarkdownIsTakenApart(t *testing.T) {
	p := page{"docs/a.md", strings.Split("# Head, one\ntext\n```toml\n[a]\n# not a heading\n```\n## Head, one\n```sh title\nmake x\n```\n```\nplain\n```", "\n")}
	blocks, prose := p.split()
	want := []block{
		{"docs/a.md", 4, "toml", "[a]\n# not a heading\n"},
		{"docs/a.md", 9, "sh", "make x\n"},
		{"docs/a.md", 12, "", "plain\n"},
	}
	if !slices.Equal(blocks, want) {
		t.Errorf("blocks %+v, want %+v", blocks, want)
	}
	if len(prose) != len(p.lines) || prose[1] != "text" || prose[3] != "" {
		t.Errorf("prose %q", prose)
	}
	if got := p.anchors(); !slices.Equal(got, []string{"head-one", "head-one-1"}) {
		t.Errorf("anchors %q", got)
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	all := []page{
		{"README.md", []string{"[a](docs/a.md) [b](docs/b.md) [c](docs/a.md#here)", "[d](docs/a.md#gone) [e](https://example.org/x) `[f](nowhere)` [g](#top)", "# Top"}},
		{"docs/a.md", []string{"# Here", "[up](../README.md#top), [folder](../packaging), ![picture](none.png)"}},
	}
	exists := func(p string) bool { return slices.Contains([]string{"README.md", "docs/a.md", "packaging"}, p) }
	wantFaults(t, brokenLinks(all, exists), "README.md:1: link to docs/b.md", "README.md:2: link to docs/a.md#gone", "docs/a.md:2: link to none.png")
}

func TestUnknownCommandsAreFound(t *testing.T) {
	b := block{path: "README.md", line: 10, code: `# sngate nothing
$ make run
make -j2 FUZZTIME=1s tests && sudo make build
./bin/sngate sub -t 'a/#' &
SNGATE_LOG_LEVEL=debug sngate rum \
  -c x.toml
mosquitto_pub -t a -m make | sngate
`}
	wantFaults(t, unknownCommands(b, []string{"run", "sub"}, []string{"run", "build"}),
		`README.md:12: the Makefile has no target "tests"`, `README.md:14: sngate has no subcommand "rum"`)
}

func TestMakeTargetsAreRead(t *testing.T) {
	got := makeTargets("GO ?= go\nVAR := x\n.PHONY: a\nall:\nfmt-check: go ## text\n\techo no: x\ncross/%: go\n")
	if !slices.Equal(got, []string{"all", "fmt-check"}) {
		t.Errorf("targets %q", got)
	}
}
