package conf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

func TestLinesOfKeys(t *testing.T) {
	tests := []struct {
		why, text string
		want      map[string]int
	}{
		{"plain", "a = 1\nb = 2", map[string]int{"a": 1, "b": 2}},
		{"tables", "[t]\na = 1\n\n[ u . v ]\nb = 2", map[string]int{"t": 1, "t.a": 2, "u": 4, "u.v": 4, "u.v.b": 5}},
		{"dotted keys", "a.b.c = 1\na . d = 2\n", map[string]int{"a": 1, "a.b": 1, "a.b.c": 1, "a.d": 2}},
		{"quoted keys", "\"a b\" = 1\n'x.y'.\"z\\\"\\u0041\" = 2\n\"c\" = 3\n[\"q]\"]\nd = 4\n\"\" = 5", map[string]int{
			`"a b"`: 1, `"x.y"`: 2, `"x.y"."z\"A"`: 2, "c": 3, `"q]"`: 4, `"q]".d`: 5, `"q]".""`: 6}},
		{"comments", "# a = 1\na = 1 # b = 2\n# [t]\n\t# x\n[t] # [u]\nb = \"#\" # c", map[string]int{"a": 2, "t": 5, "t.b": 6}},
		{"arrays of tables", "[[t]]\na = 1\n[[t]]\na = 2\n[t.u]\nb = 3\n[[t.v]]\nc = 4\n[[t]]", map[string]int{
			"t": 1, "t[0]": 1, "t[0].a": 2, "t[1]": 3, "t[1].a": 4, "t[1].u": 5, "t[1].u.b": 6,
			"t[1].v": 7, "t[1].v[0]": 7, "t[1].v[0].c": 8, "t[2]": 9}},
		{"inline tables", "t = { a = 1, b.c = \"}\", d = { e = [1] } }\nu = 2", map[string]int{
			"t": 1, "t.a": 1, "t.b": 1, "t.b.c": 1, "t.d": 1, "t.d.e": 1, "t.d.e[0]": 1, "u": 2}},
		{"arrays", "a = [\n 1, # ]\n \"]\",\n [2,\n3], ]\nb = []", map[string]int{
			"a": 1, "a[0]": 2, "a[1]": 3, "a[2]": 4, "a[2][0]": 4, "a[2][1]": 5, "b": 6}},
		{"array of inline tables", "a = [\n { id = 1 },\n\n { id = 2,\n x = 3 }]", map[string]int{
			"a": 1, "a[0]": 2, "a[0].id": 2, "a[1]": 4, "a[1].id": 4, "a[1].x": 5}},
		{"strings", "a = \"x\\\"\\\\\"\nb = 'y\\'\nc = \"\"\nd = ''\ne = 1", map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}},
		{"multi-line strings", "a = \"\"\"\nx = 1\n[t]\n\\\"\"\" \"\" \\\n\"\"\"\"\"\nb = '''\n'' \\'''\nc = ''''q'''''\nd = \"\"\"\"\"\"\ne = 1", map[string]int{
			"a": 1, "b": 6, "c": 8, "d": 9, "e": 10}},
		{"values of other kinds", "a = 1979-05-27 07:32:00Z\nb = -1_0.5e+3\nc = true#x\nd = 0xFF", map[string]int{"a": 1, "b": 2, "c": 3, "d": 4}},
		{"line ends and a byte order mark", "\ufeffa = 1\r\n\r\n[t]\r\nb = 2\r\n", map[string]int{"a": 1, "t": 3, "t.b": 4}},
		{"sub-table before its table", "[a.b]\nx = 1\n[a]\ny = 2", map[string]int{"a": 1, "a.b": 1, "a.b.x": 2, "a.y": 4}},
	}
	for _, tt := range tests {
		var tree map[string]any
		if _, err := toml.Decode(tt.text, &tree); err != nil {
			t.Errorf("%s: not TOML: %v", tt.why, err)
		}
		if diff := cmp.Diff(tt.want, keyLines(tt.text)); diff != "" {
			t.Errorf("%s: %s", tt.why, diff)
		}
	}
}

// FuzzLines wants an end on any text, and for valid documents a line for every path. There
// may be lines for more, and other numbers for elements: the decoder drops what is no table
// from an array of tables that has an empty key. So what is below one is not looked at.
func FuzzLines(f *testing.F) {
	f.Add(example)
	f.Add("a.\"b c\" = [ {x = 1}, [ '''\n''' ] ]\n[[t]]\n[[t.u]]\nv = \"\"\"\\\"\"\"\"")
	f.Add("a.\"\"=[{x = 1}, [ 1 ] ]")
	f.Add("a.\"\"=[[],{x = 1}]")
	f.Add("a = [}")
	f.Add("\xfe\xff")
	f.Fuzz(func(t *testing.T, text string) {
		lines := keyLines(text)
		var tree map[string]any
		if _, err := toml.Decode(text, &tree); err != nil {
			return
		}
		last := 1 + strings.Count(text, "\n")
		known := 0
		var walk func(path string, v any)
		walk = func(path string, v any) {
			if n := lines[path]; n < 1 || n > last {
				t.Fatalf("%q: line %d of %s", text, n, path)
			}
			known++
			if table, ok := v.(map[string]any); ok {
				for key, v := range table {
					if key != "" {
						walk(join(path, key), v)
					}
				}
			}
			if items, ok := elements(v); ok {
				for i, v := range items {
					walk(fmt.Sprintf("%s[%d]", path, i), v)
				}
			}
		}
		for key, v := range tree {
			if key != "" {
				walk(join("", key), v)
			}
		}
		if known > len(lines) {
			t.Errorf("%q: %d paths, but %d lines: %v", text, known, len(lines), lines)
		}
	})
}
