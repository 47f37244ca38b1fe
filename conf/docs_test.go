package conf

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// configPage has a table of the keys of each section, made from the struct tags and from
// example.toml: the comment above a key is its meaning, the value its default.
const configPage = "../docs/CONFIG.md"

// updateFlag is read through the flag package, so that no variable outlives a test.
const updateFlag = "update"

func TestMain(m *testing.M) {
	flag.Bool(updateFlag, false, "rewrite the tables of "+configPage)
	m.Run()
}

func page(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(configPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// exampleKey is a key as example.toml shows it.
type exampleKey struct {
	path    string // without the numbers of list elements
	value   string
	meaning string
	bounds  string // the comment's last line, "" if it tells neither a range nor words
}

// exampleKeys reads example.toml.
func exampleKeys() (keys []exampleKey) {
	table, comment := "", []string(nil)
	for line := range strings.Lines(Example()) {
		line = strings.TrimSuffix(line, "\n")
		name, value, isKey := strings.Cut(line, " = ")
		switch {
		case strings.HasPrefix(line, "# "):
			comment = append(comment, line[2:])
			continue
		case strings.HasPrefix(line, "#"): // another value
		case strings.HasPrefix(line, "["):
			table = strings.Trim(line, "[]")
		case isKey:
			k := exampleKey{path: join(table, name), value: value}
			if last := len(comment) - 1; last >= 0 && (strings.HasPrefix(comment[last], "Range: ") || strings.HasPrefix(comment[last], "One of: ")) {
				k.bounds, comment = comment[last], comment[:last]
			}
			k.meaning = strings.Join(comment, " ")
			keys = append(keys, k)
		}
		comment = nil
	}
	return keys
}

// fieldAt finds the field of a key.
func fieldAt(t *testing.T, path string) reflect.StructField {
	t.Helper()
	typ := reflect.TypeFor[Config]()
	var f reflect.StructField
	for _, key := range strings.Split(path, ".") {
		if typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		var ok bool
		if f, ok = fieldOf(typ, key); !ok {
			t.Fatalf("no key %s", path)
		}
		typ = f.Type
	}
	return f
}

// bounds are what the tags of a field say, in the words of example.toml.
func bounds(f reflect.StructField) string {
	if words, ok := f.Tag.Lookup("enum"); ok {
		return `One of: "` + strings.ReplaceAll(words, ",", `", "`) + `"`
	}
	if span := f.Tag.Get("range"); span != "" {
		return "Range: " + span
	}
	return ""
}

func TestExampleTellsTheBoundsOfEveryKey(t *testing.T) {
	for _, k := range exampleKeys() {
		if want := bounds(fieldAt(t, k.path)); k.bounds != want {
			t.Errorf("%s: the comment ends with %q, want %q", k.path, k.bounds, want)
		}
		if len(k.meaning) < 20 {
			t.Errorf("%s: %q explains nothing", k.path, k.meaning)
		}
	}
}

const keyTableHead = "| Key | Type | Default | Range | Meaning |\n|---|---|---|---|---|\n"

// asCode finds what a page sets as code and a TOML comment does not.
var asCode = regexp.MustCompile(`\[+[a-z_.]+\]+|\{[A-Za-z_:]+\}|[a-z_]+ = "[^"]*"|"[^"]*"|[a-z.]*[a-z]_[a-z0-9_.]*[a-z0-9]|\$[A-Z_]+|\b(?:gateway|store|broker|session)\.[a-z]+\b|/[a-z]{5,}`)

// keyTable is the table of one section.
func keyTable(t *testing.T, table string) string {
	t.Helper()
	types := map[string]string{"a string": "string", "an integer": "integer", "true or false": "boolean", `a duration such as "10s"`: "duration",
		"an array of strings": "list of strings", "an array of integers": "list of integers", "an array of tables": "list of tables",
		"a table of strings": "table of strings"}
	rows := keyTableHead
	for _, k := range exampleKeys() {
		name, ofTable := strings.CutPrefix(k.path, table+".")
		if !ofTable {
			continue
		}
		f := fieldAt(t, k.path)
		_, span, _ := strings.Cut(k.bounds, ": ")
		rows += fmt.Sprintf("| `%s.%s` | %s | `%s` | %s | %s |\n", table, name, types[wants(reflect.New(f.Type).Elem())], k.value,
			asCode.ReplaceAllString(span, "`$0`"), asCode.ReplaceAllString(k.meaning, "`$0`"))
	}
	return rows
}

func TestTheKeyTablesAreFresh(t *testing.T) {
	have := page(t)
	heading := regexp.MustCompile(`(?m)^### \[+([a-z_]+)\]+\n`)
	var sections []string
	text, want := have, ""
	for {
		at := heading.FindStringSubmatchIndex(text)
		if at == nil {
			break
		}
		table := text[at[2]:at[3]]
		sections = append(sections, table)
		start := at[1] + strings.Index(text[at[1]:], keyTableHead)
		if start < at[1] {
			t.Fatalf("[%s] has no table of keys", table)
		}
		end := start
		for strings.HasPrefix(text[end:], "|") {
			end += strings.Index(text[end:], "\n") + 1
		}
		want += text[:start] + keyTable(t, table)
		text = text[end:]
	}
	want += text
	var tables []string
	for _, key := range knownKeys("", reflect.TypeFor[Config]()) {
		if !strings.Contains(key, ".") {
			tables = append(tables, key)
		}
	}
	if diff := cmp.Diff(tables, sections); diff != "" {
		t.Errorf("sections of the configuration (-) and of docs/CONFIG.md (+): %s", diff)
	}
	if flag.Lookup(updateFlag).Value.String() == "true" {
		if err := os.WriteFile(configPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("docs/CONFIG.md is stale, run \"make pages\" (- wanted): %s", diff)
	}
}

func TestTheSnippetsOfThePageAreValid(t *testing.T) {
	snippets := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(page(t), -1)
	if len(snippets) != 2 {
		t.Fatalf("%d snippets", len(snippets))
	}
	for _, s := range snippets {
		if cfg := mustParse(t, s[1]); cfg.Broker.Address() != "broker.example:1883" {
			t.Errorf("broker %q", cfg.Broker.Address())
		}
	}
	for _, env := range regexp.MustCompile("`(SNGATE_[A-Z_]+=[^`]*)`").FindAllStringSubmatch(page(t), -1) {
		mustParse(t, "", strings.ReplaceAll(env[1], "'", ""))
	}
}

func TestTheMessagesOfThePageAreTheRealOnes(t *testing.T) {
	lines := regexp.MustCompile(`(?m)^  sngate\.toml:(\d+): .*\n  sngate\.toml:(\d+): .*\n  SNGATE_.*$`).FindString(page(t))
	text := strings.Repeat("\n", 10) + "[session]\nretry_count = 99\n\n\nhold_time = '1s'\n"
	_, err := Parse("sngate.toml", []byte(text), []string{"SNGATE_LOG_LEVEL=loud"})
	if err == nil || strings.ReplaceAll(lines, "\n  ", "\n") != "  "+err.Error() {
		t.Errorf("the page says\n%s\nand Parse\n%v", lines, err)
	}
}
