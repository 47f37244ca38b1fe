package topicreg

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestRulesForNamesAndFilters(t *testing.T) {
	long := strings.Repeat("a", 65535)
	tests := []struct {
		text         string
		name, filter error
		wildcard     bool
	}{
		{"a", nil, nil, false},
		{"/", nil, nil, false},
		{"//", nil, nil, false},
		{"a/b c/ü/漢/😀", nil, nil, false},
		{"\ufffd", nil, nil, false}, // U+FFFD itself is well-formed
		{"\ufeffa", nil, nil, false},
		{"$SYS/x", nil, nil, false},
		{long, nil, nil, false},
		{long + "a", ErrTooLong, ErrTooLong, false},
		{"", ErrEmpty, ErrEmpty, false},
		{"a\x00b", ErrNUL, ErrNUL, false},
		{"a\xffb", ErrNotUTF8, ErrNotUTF8, false},
		{"a\xc3", ErrNotUTF8, ErrNotUTF8, false},
		{"\xc0\x80", ErrNotUTF8, ErrNotUTF8, false},         // U+0000, overlong
		{"\xed\xa0\x80", ErrNotUTF8, ErrNotUTF8, false},     // surrogate U+D800
		{"\xf4\x90\x80\x80", ErrNotUTF8, ErrNotUTF8, false}, // beyond U+10FFFF
		{"#", ErrWildcard, nil, true},
		{"+", ErrWildcard, nil, true},
		{"/#", ErrWildcard, nil, true},
		{"a/#", ErrWildcard, nil, true},
		{"+/+", ErrWildcard, nil, true},
		{"/+", ErrWildcard, nil, true},
		{"+/a/#", ErrWildcard, nil, true},
		{"$SYS/#", ErrWildcard, nil, true},
		{"a#", ErrWildcard, ErrPlaceHash, true},
		{"a/#/b", ErrWildcard, ErrPlaceHash, true},
		{"#/", ErrWildcard, ErrPlaceHash, true},
		{"##", ErrWildcard, ErrPlaceHash, true},
		{"+#", ErrWildcard, ErrPlacePlus, true},
		{"a+", ErrWildcard, ErrPlacePlus, true},
		{"+a", ErrWildcard, ErrPlacePlus, true},
		{"a/+b/c", ErrWildcard, ErrPlacePlus, true},
		{"++", ErrWildcard, ErrPlacePlus, true},
	}
	for _, tt := range tests {
		show := tt.text[:min(len(tt.text), 20)]
		if got := ValidName(tt.text); got != tt.name {
			t.Errorf("ValidName(%q) = %v, want %v", show, got, tt.name)
		}
		if got := ValidName([]byte(tt.text)); got != tt.name {
			t.Errorf("ValidName([]byte %q) = %v, want %v", show, got, tt.name)
		}
		if got := ValidFilter(tt.text); got != tt.filter {
			t.Errorf("ValidFilter(%q) = %v, want %v", show, got, tt.filter)
		}
		if got := ValidFilter([]byte(tt.text)); got != tt.filter {
			t.Errorf("ValidFilter([]byte %q) = %v, want %v", show, got, tt.filter)
		}
		if got := HasWildcard(tt.text); got != tt.wildcard {
			t.Errorf("HasWildcard(%q) = %v, want %v", show, got, tt.wildcard)
		}
	}
}

func TestRulesForShortNames(t *testing.T) {
	tests := []struct {
		name [2]byte
		want error
	}{
		{[2]byte{'a', 'b'}, nil},
		{[2]byte{'/', '1'}, nil},
		{[2]byte{'$', 'a'}, nil},
		{[2]byte{0xc3, 0xbc}, nil}, // one character of two octets
		{[2]byte{'a', 0}, ErrNUL},
		{[2]byte{0, 0}, ErrNUL},
		{[2]byte{'a', 0xff}, ErrNotUTF8},
		{[2]byte{0xff, 'a'}, ErrNotUTF8},
		{[2]byte{'a', '#'}, ErrWildcard},
		{[2]byte{'+', 'a'}, ErrWildcard},
	}
	for _, tt := range tests {
		if got := ValidShort(tt.name); got != tt.want {
			t.Errorf("ValidShort(% x) = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// What MQTT 3.1.1 section 1.5.3 allows a broker to close the connection for.
func TestControlCharactersAreRefused(t *testing.T) {
	for _, s := range []string{"\x01", "a\x1fb", "\x7f", "\u0080", "a/\u009f", "\ufdd0", "\ufdef", "\ufffe", "\uffff", "\U0001ffff", "\U0010fffe"} {
		if got := ValidName(s); got != ErrControl {
			t.Errorf("ValidName(%q) = %v, want %v", s, got, ErrControl)
		}
		if got := ValidFilter([]byte(s)); got != ErrControl {
			t.Errorf("ValidFilter(%q) = %v, want %v", s, got, ErrControl)
		}
	}
	for _, s := range []string{" ", "~", "\u00a0", "\ufdcf", "\ufdf0", "\ufffd", "\U0001fffd"} {
		if got := ValidName(s); got != nil {
			t.Errorf("ValidName(%q) = %v", s, got)
		}
	}
	if got := ValidShort([2]byte{1, 2}); got != ErrControl {
		t.Errorf("ValidShort(01 02) = %v, want %v", got, ErrControl)
	}
}

func TestRulesAllocateNothing(t *testing.T) {
	name, filter := []byte("site/Köln/漢/temperature"), []byte("site/+/漢/#")
	text := string(name)
	var failed error
	n := testing.AllocsPerRun(100, func() {
		for _, err := range []error{ValidName(name), ValidName(text), ValidFilter(filter), ValidShort([2]byte{0xc3, 0xbc})} {
			if err != nil {
				failed = err
			}
		}
		if HasWildcard(name) {
			failed = ErrWildcard
		}
	})
	if n != 0 || failed != nil {
		t.Errorf("%v allocations, error %v", n, failed)
	}
}

// filterByLevels is sections 1.5.3 and 4.7.1 of MQTT 3.1.1 word by word, on whole levels.
func filterByLevels(s string) bool {
	forbidden := func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Noncharacter_Code_Point, r) }
	if s == "" || len(s) > 65535 || !utf8.ValidString(s) || strings.ContainsFunc(s, forbidden) {
		return false
	}
	levels := strings.Split(s, "/")
	for i, l := range levels {
		if strings.Contains(l, "#") && (l != "#" || i != len(levels)-1) || strings.Contains(l, "+") && l != "+" {
			return false
		}
	}
	return true
}

func FuzzRules(f *testing.F) {
	for _, s := range []string{"", "a", "a/+/#", "\xc3\xbc", "\xed\xa0\x80", "#/", "a\x00", "\x06", "\u009f", "\ufffe"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := string(b)
		if got, want := ValidFilter(b) == nil, filterByLevels(s); got != want {
			t.Errorf("ValidFilter(%q): valid %v, want %v", s, got, want)
		}
		if got, want := ValidName(b) == nil, filterByLevels(s) && !strings.ContainsAny(s, "+#"); got != want {
			t.Errorf("ValidName(%q): valid %v, want %v", s, got, want)
		}
		if ValidName(b) != ValidName(s) || ValidFilter(b) != ValidFilter(s) {
			t.Errorf("%q: octets and string differ", s)
		}
	})
}

func BenchmarkValidName(b *testing.B) {
	name := []byte("site/7/pump-0042/temperature")
	b.ReportAllocs()
	for b.Loop() {
		if err := ValidName(name); err != nil {
			b.Fatal(err)
		}
	}
}
