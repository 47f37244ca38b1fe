package test

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sngate/conf"
)

// firstScreen is how many lines of README.md a reader sees before scrolling.
const firstScreen = 45

func readme(t *testing.T, all []page) page {
	t.Helper()
	i := slices.IndexFunc(all, func(p page) bool { return p.path == "README.md" })
	if i < 0 {
		t.Fatal("README.md does not exist")
	}
	return all[i]
}

func TestDocsReadmeFirstScreen(t *testing.T) {
	wantNoFaults(t, firstScreenFaults(readme(t, pages(tree(t)))))
}

// firstScreenFaults reports what a newcomer does not find on the first screen:
// what this is, how to run it, how to test it, each by one command.
func firstScreenFaults(p page) []string {
	var faults []string
	screen := page{p.path, p.lines[:min(len(p.lines), firstScreen)]}
	if screen.lines[0] != "# sngate" {
		faults = append(faults, "the first line is not \"# sngate\"")
	}
	what := ""
	for _, line := range screen.lines[1:] {
		if line != "" {
			what = line
			break
		}
	}
	if !strings.Contains(what, "MQTT-SN") || strings.HasPrefix(what, "#") {
		faults = append(faults, fmt.Sprintf("the first paragraph %q does not say that this is about MQTT-SN", what))
	}
	for _, want := range []struct{ heading, command string }{{"Run it", "make run"}, {"Test it", "make test"}} {
		at := slices.IndexFunc(screen.lines, func(l string) bool { return regexp.MustCompile(`^##+ ` + want.heading + `$`).MatchString(l) })
		if at < 0 {
			faults = append(faults, fmt.Sprintf("no heading %q within the first %d lines", want.heading, firstScreen))
			continue
		}
		below := strings.TrimLeft(strings.Join(screen.lines[at+1:], "\n"), "\n")
		indented, fenced := "    "+want.command+"\n", "```sh\n"+want.command+"\n```\n"
		if !strings.HasPrefix(below+"\n", indented) && !strings.HasPrefix(below+"\n", fenced) {
			faults = append(faults, fmt.Sprintf("below %q the first thing is not a code block with just %q", want.heading, want.command))
		}
	}
	return faults
}

func TestDocsConfigurationSnippetsAreValid(t *testing.T) {
	// The files a snippet names are the reader's. One of ours stands in for passwords; a CSV block
	// above it is the file of the devices.
	all := pages(tree(t))
	t.Chdir(t.TempDir())
	if err := os.Mkdir("certs", 0o700); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	namesFile := regexp.MustCompile(`(?m)^(\s*password_file\s*=\s*)"[^"]*"`)
	found := 0
	for _, p := range all {
		blocks, _ := p.split()
		for _, b := range blocks {
			if b.language == "csv" {
				if err := os.WriteFile("devices.csv", []byte(b.code), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if b.language != "toml" {
				continue
			}
			found++
			code := namesFile.ReplaceAllString(b.code, "${1}"+strings.ReplaceAll(strconv.Quote(secret), "$", "$$"))
			if _, err := conf.Parse(b.at(), []byte(code), nil); err != nil {
				t.Errorf("%s: %v", b.at(), err)
			}
		}
	}
	if found == 0 {
		t.Error("no page shows a configuration (```toml)")
	}
}

func TestDocsCommandsExist(t *testing.T) {
	files := tree(t)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets, subcommands := makeTargets(string(makefile)), subcommandNames(sources(t, files))
	found := 0
	for _, p := range pages(files) {
		blocks, _ := p.split()
		for _, b := range blocks {
			if b.language == "sh" {
				found++
				wantNoFaults(t, unknownCommands(b, subcommands, targets))
			}
		}
	}
	if found == 0 {
		t.Error("no page shows a command (```sh)")
	}
}

// subcommandNames are the words cmd/sngate compares something with: the cases
// of its switches, the keys of its maps, the fields of its tables.
func subcommandNames(all []source) []string {
	var names []string
	for _, s := range all {
		if s.dir != "cmd/sngate" || s.isTest() {
			continue
		}
		add := func(e ast.Expr) {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				if _, ok := kv.Key.(*ast.BasicLit); ok {
					e = kv.Key
				} else {
					e = kv.Value
				}
			}
			if lit, ok := e.(*ast.BasicLit); ok {
				if word, err := strconv.Unquote(lit.Value); err == nil && regexp.MustCompile(`^[a-z]+$`).MatchString(word) {
					names = append(names, word)
				}
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CaseClause:
				for _, e := range n.List {
					add(e)
				}
			case *ast.CompositeLit:
				for _, e := range n.Elts {
					add(e)
				}
			}
			return true
		})
	}
	return names
}

func TestDocsLinksLeadSomewhere(t *testing.T) {
	exists := func(p string) bool {
		_, err := os.Stat(filepath.Join(root, filepath.FromSlash(p)))
		return err == nil
	}
	wantNoFaults(t, brokenLinks(pages(tree(t)), exists))
}

func TestFirstScreenFaultsAreFound(t *testing.T) {
	text := func(lines ...string) page { return page{"README.md", lines} }
	good := []string{"# sngate", "", "sngate is an MQTT-SN gateway.", "", "## Run it", "", "```sh", "make run", "```", "", "## Test it", "", "```sh", "make test", "```"}
	wantFaults(t, firstScreenFaults(text(good...)))
	wantFaults(t, firstScreenFaults(text("# SNGate", "", "## Run it", "make run")),
		"first line", "first paragraph", "below \"Run it\"", "no heading \"Test it\"")
	indented := text("# sngate", "An MQTT-SN gateway.", "## Run it", "    make run", "", "## Test it", "", "    make test")
	wantFaults(t, firstScreenFaults(indented))
	far := append(slices.Clone(good[:10]), make([]string, firstScreen)...)
	wantFaults(t, firstScreenFaults(text(append(far, good[10:]...)...)), "no heading \"Test it\"")
	swapped := slices.Clone(good)
	swapped[7] = "make run && echo"
	wantFaults(t, firstScreenFaults(text(swapped...)), "below \"Run it\"")
}

func TestSubcommandNamesAreFound(t *testing.T) {
	got := subcommandNames([]source{parse(t, file{"cmd/sngate/main.go", `package main

var table = []command{{"run", "text of run"}, {name: "check"}}
var byName = map[string]func(){"pub": pub}

func main() {
	switch os.Args[1] {
	case "sub", "decode":
		println("other")
	}
}
`})})
	if want := []string{"run", "check", "pub", "sub", "decode"}; !slices.Equal(got, want) {
		t.Errorf("subcommands %q, want %q", got, want)
	}
}
