package topicreg

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustPredefined(t testing.TB, entries ...Entry) *Predefined {
	t.Helper()
	p, err := NewPredefined(entries)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheMoreSpecificPredefinedTopicWins(t *testing.T) {
	p := mustPredefined(t,
		Entry{1, "global/1", ""},
		Entry{2, "global/2", ""},
		Entry{1, "star/1", "*"},
		Entry{1, "short/1", "p*"},
		Entry{1, "long/1", "pump-*"},
		Entry{1, "exact/1", "pump-7"},
		Entry{3, "long/3", "pump-?"},
		Entry{4, "global/2", "pump-7"},
		Entry{0xFFFE, "last", ""},
	)
	names := []struct {
		client string
		id     uint16
		want   string
	}{
		{"pump-7", 1, "exact/1"},
		{"pump-8", 1, "long/1"},
		{"pipe", 1, "short/1"},
		{"x", 1, "star/1"},
		{"", 1, "star/1"},
		{"pump-7", 2, "global/2"},
		{"pump-7", 4, "global/2"},
		{"pump-8", 4, ""},
		{"pump-7", 3, "long/3"},
		{"pump-77", 3, ""},
		{"x", 0xFFFE, "last"},
		{"x", 0, ""},
		{"x", 0xFFFF, ""},
	}
	for _, tt := range names {
		if got, ok := p.Name(tt.client, tt.id); got != tt.want || ok != (tt.want != "") {
			t.Errorf("Name(%q, %d) = %q, %v, want %q", tt.client, tt.id, got, ok, tt.want)
		}
	}
	ids := []struct {
		client, name string
		want         uint16
	}{
		{"pump-7", "exact/1", 1},
		{"pump-7", "long/1", 0}, // its id has another meaning for this client
		{"pump-8", "long/1", 1},
		{"pump-8", "short/1", 0},
		{"x", "global/1", 0}, // every client id matches "*"
		{"pump-7", "global/2", 4},
		{"pump-8", "global/2", 2},
		{"pump-8", "exact/1", 0},
		{"x", "nobody's", 0},
	}
	for _, tt := range ids {
		if got, ok := p.ID(tt.client, tt.name); got != tt.want || ok != (tt.want != 0) {
			t.Errorf("ID(%q, %q) = %d, %v, want %d", tt.client, tt.name, got, ok, tt.want)
		}
	}
}

func TestAnEmptyPredefinedSetKnowsNothing(t *testing.T) {
	for _, p := range []*Predefined{nil, {}, mustPredefined(t)} {
		if name, ok := p.Name("x", 1); ok || name != "" {
			t.Errorf("Name = %q, %v", name, ok)
		}
		if id, ok := p.ID("x", "a"); ok || id != 0 {
			t.Errorf("ID = %d, %v", id, ok)
		}
	}
}

func TestFaultsOfPredefinedTopicsAreAllReported(t *testing.T) {
	tests := []struct {
		why     string
		entries []Entry
		want    []string // "index field: part of the message"
	}{
		{"twice the same is no clash", []Entry{{1, "a", ""}, {1, "a", ""}, {1, "a", "p*"}, {1, "a", "p*"}}, nil},
		{"another scope is no clash", []Entry{{1, "a", ""}, {1, "b", "p*"}, {1, "c", "p1"}, {2, "c", ""}}, nil},
		{"more literal characters is no clash", []Entry{{1, "a", "pu*"}, {1, "b", "p*"}}, nil},
		{"patterns that never meet", []Entry{{1, "a", "p*"}, {1, "b", "q*"}}, nil},
		{"patterns that meet", []Entry{{1, "a", "p*"}, {1, "b", "q*"}, {1, "c", "*r"}, {2, "c", "s?"}}, []string{
			`2 id: 1 already stands for "a" for client "p*", which can match the same client ids (0)`,
			`2 id: 1 already stands for "b" for client "q*", which can match the same client ids (1)`}},
		{"patterns that meet in a name", []Entry{{1, "a", "p*x"}, {2, "a", "p?x"}}, []string{
			`1 name: "a" already has the id 1 for client "p*x", which can match the same client ids (0)`}},
		{"patterns without literals", []Entry{{1, "a", "*"}, {1, "b", "??"}}, []string{`1 id: 1 already stands for "a" for client "*"`}},
		{"same pattern", []Entry{{1, "a", "p*"}, {1, "b", "p*"}}, []string{`1 id: 1 already stands for "a" (0)`}},
		{"same client", []Entry{{1, "a", "p"}, {2, "a", "p"}}, []string{`1 name: "a" already has the id 1 (0)`}},
		{"both at once", []Entry{{1, "a", ""}, {2, "b", ""}, {1, "b", ""}}, []string{`2 id: 1 already stands for "a" (0)`, `2 name: "b" already has the id 2 (1)`}},
		{"bad fields", []Entry{{0, "", "\xff"}, {0xFFFF, "a/+", "a\x00"}, {3, "\xff", strings.Repeat("c", 1025)}}, []string{
			"0 id: 0 is reserved; want 1..65534", "0 name: is empty", "0 client: is not well-formed UTF-8",
			"1 id: 65535 is reserved", "1 name: contains a wildcard", "1 client: contains the character U+0000",
			"2 name: is not well-formed UTF-8", "2 client: is longer than 1024 octets"}},
	}
	for _, tt := range tests {
		p, err := NewPredefined(tt.entries)
		got := faults(err)
		if len(got) != len(tt.want) || (p == nil) != (len(tt.want) > 0) {
			t.Errorf("%s: faults %q, want %q", tt.why, got, tt.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], tt.want[i]) {
				t.Errorf("%s: fault %q, want %q", tt.why, got[i], tt.want[i])
			}
		}
	}
}

func TestEntryErrorsNameTheEntries(t *testing.T) {
	_, err := NewPredefined([]Entry{{1, "a", ""}, {1, "b", ""}, {2, "+", ""}})
	want := "predefined topic 1: id: 1 already stands for \"a\" (entry 0)\n" +
		"predefined topic 2: name: contains a wildcard ('+' or '#'), which only a topic filter may have"
	if err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestThePredefinedSetKeepsItsOwnEntries(t *testing.T) {
	entries := []Entry{{1, "a", ""}}
	p := mustPredefined(t, entries...)
	entries[0].Name = "b"
	if name, _ := p.Name("x", 1); name != "a" {
		t.Errorf("Name = %q after the caller changed its slice", name)
	}
}

// faults lists what NewPredefined found.
func faults(err error) (all []string) {
	if err == nil {
		return nil
	}
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var f *EntryError
		if !errors.As(e, &f) {
			return append(all, "not an EntryError: "+e.Error())
		}
		text := fmt.Sprintf("%d %s: %s", f.Index, f.Field, f.Msg)
		if f.Other >= 0 {
			text += fmt.Sprintf(" (%d)", f.Other)
		}
		all = append(all, text)
	}
	return all
}

func rank(e Entry) int {
	switch {
	case e.Client == "":
		return 0
	case isPattern(e.Client):
		return 1 + specificity(e.Client)
	}
	return 1 << 20
}

// naive looks a predefined topic up by the rule itself: of the entries that apply to a
// client and fit, the most specific.
func naive(entries []Entry, client string, fits func(Entry) bool) (best Entry, ok bool) {
	for _, e := range entries {
		applies := e.Client == "" || Match(e.Client, client)
		if applies && fits(e) && (!ok || rank(e) > rank(best)) {
			best, ok = e, true
		}
	}
	return best, ok
}

// clashing reports whether two entries that both apply to the client, with equal
// specificity, contradict each other.
func clashing(entries []Entry, client string) bool {
	for i, a := range entries {
		for _, b := range entries[:i] {
			both := (a.Client == "" || Match(a.Client, client)) && (b.Client == "" || Match(b.Client, client))
			if both && rank(a) == rank(b) && (a.ID == b.ID) != (a.Name == b.Name) {
				return true
			}
		}
	}
	return false
}

// TestLookupsFollowTheRule draws small sets of entries. A set is refused exactly if some
// client exists for which two of its entries clash; every lookup in an accepted set is
// compared with the rule.
func TestLookupsFollowTheRule(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	scopes := []string{"", "", "a", "ab", "*", "a*", "*b", "?b", "a?", "b*", "?", "ab*", "*ab", "a*b"}
	var clients []string
	words("abc", 4, func(c string) bool { clients = append(clients, c); return true })
	accepted, refused := 0, 0
	for range 2000 {
		entries := make([]Entry, 2+rnd.IntN(5))
		for i := range entries {
			entries[i] = Entry{uint16(1 + rnd.IntN(4)), string(rune('k' + rnd.IntN(4))), scopes[rnd.IntN(len(scopes))]}
		}
		p, err := NewPredefined(entries)
		clash := slices.ContainsFunc(clients, func(c string) bool { return clashing(entries, c) })
		if clash != (err != nil) {
			t.Fatalf("%v: clash %v, error %v", entries, clash, err)
		}
		if err != nil {
			refused++
			continue
		}
		accepted++
		for _, c := range clients {
			for k := range 4 {
				checkLookup(t, p, entries, c, uint16(1+k), string(rune('k'+k)))
			}
		}
	}
	if accepted < 100 || refused < 100 {
		t.Errorf("accepted %d and refused %d sets: the draw is lopsided", accepted, refused)
	}
}

func checkLookup(t *testing.T, p *Predefined, entries []Entry, client string, id uint16, name string) {
	t.Helper()
	best, found := naive(entries, client, func(e Entry) bool { return e.ID == id })
	if got, ok := p.Name(client, id); got != best.Name || ok != found {
		t.Fatalf("%v: Name(%q, %d) = %q, %v, want %q, %v", entries, client, id, got, ok, best.Name, found)
	}
	best, found = naive(entries, client, func(e Entry) bool {
		meaning, _ := naive(entries, client, func(o Entry) bool { return o.ID == e.ID })
		return e.Name == name && meaning.Name == name
	})
	if got, ok := p.ID(client, name); got != best.ID || ok != found {
		t.Fatalf("%v: ID(%q, %q) = %d, %v, want %d, %v", entries, client, name, got, ok, best.ID, found)
	}
}

func TestPredefinedLookupsAllocateNothing(t *testing.T) {
	p := mustPredefined(t, Entry{1, "a", ""}, Entry{2, "b", "pump-*"}, Entry{3, "c", "pump-7"})
	got := make([]bool, 4)
	n := testing.AllocsPerRun(100, func() {
		_, got[0] = p.Name("pump-7", 1)
		_, got[1] = p.Name("pump-7", 2)
		_, got[2] = p.ID("pump-7", "c")
		_, got[3] = p.ID("pump-8", "b")
	})
	if diff := cmp.Diff([]bool{true, true, true, true}, got); diff != "" || n != 0 {
		t.Errorf("%v allocations; found: %s", n, diff)
	}
}

func BenchmarkPredefinedName(b *testing.B) {
	entries := []Entry{{1, "global", ""}}
	for i := range 20 {
		entries = append(entries, Entry{2, fmt.Sprint("pattern/", i), fmt.Sprintf("site-%02d/*", i)})
	}
	p := mustPredefined(b, entries...)
	for name, id := range map[string]uint16{"global": 1, "pattern": 2} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := p.Name("site-19/pump-0042", id); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}
