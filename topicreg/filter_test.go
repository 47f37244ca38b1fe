package topicreg

import "testing"

func TestFilterMatchesTopicsAsMQTTSays(t *testing.T) {
	for _, tt := range []struct {
		filter, name string
		want         bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"a/b", "a", false}, {"a", "a/b", false},
		{"#", "a/b/c", true}, {"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "ab", false},
		{"+", "a", true}, {"+", "a/b", false}, {"+", "/a", false}, {"+/+", "/a", true}, {"/+", "/a", true},
		{"a/+/c", "a/b/c", true}, {"a/+/c", "a//c", true}, {"a/+/c", "a/b/d", false}, {"a/+", "a", false},
		{"a/+/#", "a", false}, {"a/+/#", "a/b", true}, {"a/", "a/", true}, {"a/", "a", false}, {"a", "a/", false},
		{"#", "$SYS/x", false}, {"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"$SYS/+", "$SYS/x", true},
		{"$share/g/a/b", "a/b", true}, {"$share/g/a/+", "a/b", true}, {"$share/g/a", "b", false},
		{"$share/g/#", "$SYS/x", false}, {"$share/g/#", "a", true}, {"$share/g", "g", false},
		{"$share/g/x", "$share/g/x", true}, // a broker that does not know shared subscriptions
	} {
		if got := Matches(tt.filter, tt.name); got != tt.want {
			t.Errorf("Matches(%q, %q) = %v", tt.filter, tt.name, got)
		}
	}
}

func TestNamesTopicOnlyWithoutWildcardAndGroup(t *testing.T) {
	for filter, want := range map[string]bool{
		"a/b": true, "te": true, "$SYS/x": true, "$share": true, "a/#": false, "+": false,
		"$share/g/a": false, "$share/g/a/#": false, "$shared/g/a": true,
	} {
		if NamesTopic(filter) != want || NamesTopic([]byte(filter)) != want {
			t.Errorf("NamesTopic(%q) is not %v", filter, want)
		}
	}
}
