package conf

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// keyLines finds the line of every key, table and array element of a TOML document that
// the parser has accepted: the parser keeps its positions to itself. The paths are those
// of the decoder, such as "session.retry_count" and "topics.predefined[2].id".
func keyLines(src string) map[string]int {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff", "\ufeff"} { // as the parser does
		if rest, ok := strings.CutPrefix(src, mark); ok {
			src = rest
			break
		}
	}
	s := &scanner{src: src, line: 1, at: make(map[string]int), tables: make(map[string]int)}
	table := ""
	for s.blank(); s.pos < len(src); s.blank() {
		switch {
		case s.has("[["):
			s.advance(2)
			table = s.header(true)
			s.advance(2)
		case s.has("["):
			s.advance(1)
			table = s.header(false)
			s.advance(1)
		default:
			s.pair(table)
		}
	}
	return s.at
}

// scanner walks through a document. Every move is made by advance, and every loop makes at
// least one, so that it ends on any text.
type scanner struct {
	src    string
	pos    int
	line   int            // of pos, from 1
	at     map[string]int // path -> line
	tables map[string]int // path of an array of tables -> its tables so far
}

func (s *scanner) has(text string) bool { return strings.HasPrefix(s.src[s.pos:], text) }

func (s *scanner) advance(n int) {
	for ; n > 0 && s.pos < len(s.src); n-- {
		if s.src[s.pos] == '\n' {
			s.line++
		}
		s.pos++
	}
}

// blank passes over space, line ends and comments.
func (s *scanner) blank() {
	for s.pos < len(s.src) {
		switch s.src[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.advance(1)
		case '#':
			s.until("\n")
		default:
			return
		}
	}
}

// until moves to the next of some characters, or to the end.
func (s *scanner) until(chars string) {
	for s.pos < len(s.src) && strings.IndexByte(chars, s.src[s.pos]) < 0 {
		s.advance(1)
	}
}

// note keeps the first line of a path.
func (s *scanner) note(path string, line int) {
	if _, ok := s.at[path]; !ok {
		s.at[path] = line
	}
}

// header reads the name of a table and returns its path.
func (s *scanner) header(array bool) string {
	line, parts, path := s.line, s.key(), ""
	for i, part := range parts {
		path = join(path, part)
		s.note(path, line)
		n := s.tables[path]
		switch last := i == len(parts)-1; {
		case last && array:
			s.tables[path]++
			path = index(path, n)
			s.note(path, line)
		case !last && n > 0:
			path = index(path, n-1) // the latest table of an array
		}
	}
	return path
}

// pair reads a key and its value.
func (s *scanner) pair(path string) {
	line := s.line
	for _, part := range s.key() {
		path = join(path, part)
		s.note(path, line)
	}
	s.advance(1) // "="
	s.value(path)
}

// key reads a key, which may be dotted and quoted, up to the '=' or ']' behind it.
func (s *scanner) key() []string {
	start, quoted := s.pos, false
	for s.until("=]\"'"); s.has(`"`) || s.has("'"); s.until("=]\"'") {
		quoted = true
		s.text()
	}
	raw := s.src[start:s.pos]
	if !quoted {
		parts := strings.Split(raw, ".")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		return parts
	}
	// Let the parser undo the quotes and escapes. It lists no longer key than this one.
	var tree map[string]any
	meta, err := toml.Decode(raw+" = 0", &tree)
	if err != nil {
		return []string{raw}
	}
	var parts []string
	for _, k := range meta.Keys() {
		if len(k) > len(parts) {
			parts = k
		}
	}
	return parts
}

// value passes over a value and notes what is in it.
func (s *scanner) value(path string) {
	s.blank()
	switch {
	case s.has(`"`) || s.has("'"):
		s.text()
	case s.has("["):
		s.advance(1)
		for i := 0; s.more("]"); i++ {
			s.note(index(path, i), s.line)
			s.value(index(path, i))
		}
	case s.has("{"):
		s.advance(1)
		for s.more("}") {
			s.pair(path)
		}
	default:
		s.advance(1)
		s.until(",]}#\n")
	}
}

// more moves to the next element of an array or inline table, or behind its end.
func (s *scanner) more(end string) bool {
	for s.blank(); s.has(","); s.blank() {
		s.advance(1)
	}
	if s.has(end) {
		s.advance(1)
		return false
	}
	return s.pos < len(s.src)
}

// text passes over a string of any of the four kinds.
func (s *scanner) text() {
	quote := s.src[s.pos : s.pos+1]
	end := quote
	if s.has(quote + quote + quote) {
		end = quote + quote + quote
	}
	s.advance(len(end))
	for s.pos < len(s.src) && !s.has(end) {
		if quote == `"` && s.has(`\`) {
			s.advance(1)
		}
		s.advance(1)
	}
	s.advance(len(end))
	// Up to two quotes more belong to a multi-line string: """a"""".
	for i := 0; i < 2 && len(end) == 3 && s.has(quote); i++ {
		s.advance(1)
	}
}

// join adds a key to a path, in quotes when it is not a bare one.
func join(path, key string) string {
	bare := key != ""
	for _, c := range []byte(key) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			bare = false
		}
	}
	if !bare {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// index adds the number of an array's element to a path.
func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
