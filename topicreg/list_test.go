package topicreg

import (
	"fmt"
	"slices"
	"testing"
)

func TestAllListsWhatAnIDMeansForAClient(t *testing.T) {
	p, err := NewPredefined([]Entry{
		{ID: 9, Name: "all/nine"},
		{ID: 2, Name: "all/two"},
		{ID: 2, Name: "pump/two", Client: "pump-*"},
		{ID: 7, Name: "one/seven", Client: "pump-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	list := func(p *Predefined, client string, limit int) (got []string) {
		p.All(client, func(id uint16, name string) bool {
			got = append(got, fmt.Sprint(id, " ", name))
			return len(got) < limit
		})
		return got
	}
	tests := []struct {
		set    *Predefined
		client string
		limit  int
		want   []string
	}{
		{p, "pump-1", 10, []string{"2 pump/two", "7 one/seven", "9 all/nine"}},
		{p, "pump-2", 10, []string{"2 pump/two", "9 all/nine"}},
		{p, "", 10, []string{"2 all/two", "9 all/nine"}},
		{p, "pump-1", 1, []string{"2 pump/two"}},
		{nil, "x", 10, nil},
	}
	for _, tt := range tests {
		if got := list(tt.set, tt.client, tt.limit); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.client, got, tt.want)
		}
	}
}
