package topicreg

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMatchOfPatterns(t *testing.T) {
	tests := []struct {
		pattern, client string
		want            bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "a", true},
		{"a", "A", false},
		{"a", "ab", false},
		{"ab", "a", false},
		{"*", "", true},
		{"*", "anything/at all", true},
		{"**", "x", true},
		{"pump-*", "pump-", true},
		{"pump-*", "pump-7", true},
		{"pump-*", "xpump-7", false},
		{"*-7", "pump-7", true},
		{"*-7", "pump-77", false},
		{"*-7", "-7-7", true},
		{"a*b*c", "abc", true},
		{"a*b*c", "aXbXbXc", true},
		{"a*b*c", "acb", false},
		{"*ab*ab*", "xabab", true},
		{"*ab*ab*", "xaba", false},
		{"?", "", false},
		{"?", "x", true},
		{"?", "xx", false},
		{"?", "ü", true}, // a character, not an octet
		{"??", "ü", false},
		{"*?", "ü", true},
		{"*?ü", "üü", true},
		{"ü", "ý", false}, // one octet in common
		{"*ü", "ýü", true},
		{"?ü", "ýü", true},
		{"*ü?", "ýüý", true},
		{"?", "\xff", true},
		{"\ufffd", "\xff", false},
		{"pump-??", "pump-42", true},
		{"pump-??", "pump-4", false},
		{"*?*?*", "ab", true},
		{"*?*?*", "a", false},
		{"a.c", "abc", false},
		{"[ab]", "a", false},
	}
	for _, tt := range tests {
		if got := Match(tt.pattern, tt.client); got != tt.want {
			t.Errorf("Match(%q, %q) = %v, want %v", tt.pattern, tt.client, got, tt.want)
		}
	}
}

func TestOverlapOfPatterns(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"*", "*", true},
		{"a*", "*b", true},
		{"a*", "b*", false},
		{"a*b", "*c", false},
		{"ab*", "a?c", true},
		{"ab*", "a?c*", true},
		{"abd*", "a?c*", false},
		{"ab?", "*c?", false},
		{"a?*", "?b*", true},
		{"?", "??", false},
		{"?*", "??", true},
		{"*a*b*", "*b*a*", true},
		{"x*y", "xy", true},
		{"x?y", "xy", false},
		{"ü*", "?", true},
		{"", "*", true},
		{"", "?", false},
	}
	for _, tt := range tests {
		if got := overlap(tt.a, tt.b); got != tt.want {
			t.Errorf("overlap(%q, %q) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
		if got := overlap(tt.b, tt.a); got != tt.want {
			t.Errorf("overlap(%q, %q) = %v, want %v", tt.b, tt.a, got, tt.want)
		}
	}
}

// words calls f with every word of up to n letters, until f returns false.
func words(letters string, n int, f func(string) bool) {
	var walk func(prefix string) bool
	walk = func(prefix string) bool {
		if !f(prefix) {
			return false
		}
		for _, r := range letters {
			if len(prefix) < n && !walk(prefix+string(r)) {
				return false
			}
		}
		return true
	}
	walk("")
}

// TestOverlapMeansAClientInCommon compares overlap with a search through all short
// client ids, for all pairs of short patterns: two patterns of n elements that meet at
// all meet in a word of at most 2n.
func TestOverlapMeansAClientInCommon(t *testing.T) {
	const n = 3
	matches := make(map[string]map[string]bool)
	words("ab*?", n, func(p string) bool {
		matches[p] = make(map[string]bool)
		words("abc", 2*n, func(c string) bool {
			if Match(p, c) {
				matches[p][c] = true
			}
			return true
		})
		return true
	})
	for p, ofP := range matches {
		for q, ofQ := range matches {
			want := false
			for c := range ofP {
				if ofQ[c] {
					want = true
					break
				}
			}
			if got := overlap(p, q); got != want {
				t.Fatalf("overlap(%q, %q) = %v, want %v", p, q, got, want)
			}
		}
	}
}

// matchByDefinition says what '*' and '?' mean, in exponential time.
func matchByDefinition(p, c []rune) bool {
	switch {
	case len(p) == 0:
		return len(c) == 0
	case p[0] == '*':
		return matchByDefinition(p[1:], c) || len(c) > 0 && matchByDefinition(p, c[1:])
	case len(c) == 0:
		return false
	}
	return (p[0] == '?' || p[0] == c[0]) && matchByDefinition(p[1:], c[1:])
}

func FuzzMatch(f *testing.F) {
	f.Add("a*b?", "axxby")
	f.Add("*ü*", "xüx")
	f.Add("**a", "\xffa")
	f.Fuzz(func(t *testing.T, pattern, client string) {
		got := Match(pattern, client) // any text at all: no panic
		if len(pattern) > 12 || len(client) > 12 || !utf8.ValidString(pattern) || !utf8.ValidString(client) {
			return
		}
		if want := matchByDefinition([]rune(pattern), []rune(client)); got != want {
			t.Errorf("Match(%q, %q) = %v, want %v", pattern, client, got, want)
		}
		if !strings.ContainsAny(client, "*?") && overlap(pattern, client) != got {
			t.Errorf("overlap(%q, %q) = %v, but Match is %v", pattern, client, !got, got)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !Match("plant-*/pump-????", "plant-cologne/pump-0042") {
			b.Fatal("no match")
		}
	}
}
