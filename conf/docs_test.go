package conf

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// page reads docs/CONFIG.md.
func page(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../docs/CONFIG.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// docRow is one row of the tables of keys.
type docRow struct{ key, typ, def, bounds, meaning, env string }

func docRows(t *testing.T) (rows []docRow) {
	t.Helper()
	for _, line := range strings.Split(page(t), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		if len(cells) != 6 {
			t.Errorf("%d cells in %s", len(cells), line)
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, docRow{strings.Trim(cells[0], "`"), cells[1], cells[2], cells[3], cells[4], strings.Trim(cells[5], "`")})
	}
	return rows
}

// fieldAt finds the field of a key, and whether the key has subkeys only.
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

func TestThePageHasEveryKeyAndNoOther(t *testing.T) {
	var want, got []string
	for _, key := range knownKeys("", reflect.TypeFor[Config]()) {
		if table, _ := splitPath(key); table != "" {
			want = append(want, key)
		}
	}
	for _, row := range docRows(t) {
		got = append(got, row.key)
		if len(row.meaning) < 20 {
			t.Errorf("%s is not explained", row.key)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys of the configuration (-) and of docs/CONFIG.md (+): %s", diff)
	}
}

func TestThePageHasTheTypesRangesAndVariables(t *testing.T) {
	types := map[string]string{"a string": "string", "an integer": "integer", "true or false": "boolean", `a duration such as "10s"`: "duration",
		"an array of strings": "list of strings", "an array of tables": "list of tables"}
	for _, row := range docRows(t) {
		f := fieldAt(t, row.key)
		if want := types[wants(reflect.New(f.Type).Elem())]; row.typ != want {
			t.Errorf("%s: type %q, want %q", row.key, row.typ, want)
		}
		bounds := f.Tag.Get("range")
		if words := f.Tag.Get("enum"); words != "" {
			bounds = "`\"" + strings.ReplaceAll(words, ",", "\"`, `\"") + "\"`"
		}
		if bounds != "" && row.bounds != bounds {
			t.Errorf("%s: range %q, want %q", row.key, row.bounds, bounds)
		}
		env := envName(row.key)
		for _, whole := range []string{"listener", "topics.predefined", "session.max_packet_sizes"} {
			if strings.HasPrefix(row.key, whole+".") {
				env = envName(whole)
			}
		}
		if row.env != env {
			t.Errorf("%s: variable %q, want %q", row.key, row.env, env)
		}
	}
}

func TestThePageHasTheDefaults(t *testing.T) {
	text, table := "", ""
	for _, row := range docRows(t) {
		at, name := splitPath(row.key)
		if at == "topics.predefined" || at == "session.max_packet_sizes" {
			continue // no element by default
		}
		if at != table {
			table = at
			header := "[" + at + "]\n"
			if at == "listener" {
				header = "[" + header[:len(header)-1] + "]\n"
			}
			text += header
		}
		text += name + " = " + strings.Trim(row.def, "`") + "\n"
	}
	if diff := cmp.Diff(Default(), mustParse(t, text), prefixes); diff != "" {
		t.Errorf("defaults (-) and those of docs/CONFIG.md (+): %s", diff)
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
