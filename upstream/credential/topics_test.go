package credential

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func mappedBook(t *testing.T, publish, subscribe string) *Book {
	t.Helper()
	table, err := NewTable([]string{"client_id", "product"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]string{{"dev", "P1"}, {"none", ""}, {"wild", "a/+"}, {"deep", "a/b"}, {"long", strings.Repeat("x", MaxPrefix)}} {
		if err := table.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	return NewBook(Rules{Gateway: "gw", Topics: TopicMap{
		Publish: template(t, publish, "product"), Subscribe: template(t, subscribe, "product"), DeliverAs: "all",
	}}, table)
}

func TestTopicsAreFilledIn(t *testing.T) {
	b := mappedBook(t, "{product}/{client_id}/", "{gateway}/")
	c, err := b.Connect("dev", time.Now())
	if want := (Topics{Publish: "P1/dev/", Subscribe: "gw/", DeliverAs: "all"}); err != nil || c.Topics != want {
		t.Errorf("%+v, %v", c.Topics, err)
	}
	if c, err = b.Connect("deep", time.Now()); err != nil || c.Topics.Publish != "a/b/deep/" {
		t.Errorf("%+v, %v", c.Topics, err)
	}
	for filters, want := range map[bool][2]int{false: {len("a/b/deep/"), 3}, true: {len("gw/"), 1}} {
		if octets, slashes := b.PrefixSize("deep", filters); octets != want[0] || slashes != want[1] {
			t.Errorf("size %d, %d; want %v", octets, slashes, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { b.PrefixSize("deep", false) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if octets, slashes := NewBook(Rules{}, nil).PrefixSize("dev", true); octets != 0 || slashes != 0 {
		t.Error("there is no prefix")
	}
}

// A client may not choose a client id by which it has the topics of others.
func TestTopicsThatCannotBeAreRefused(t *testing.T) {
	for id, want := range map[string]error{"none": ErrNone, "unknown": ErrNone, "wild": ErrTopics, "long": ErrTopics} {
		if _, err := mappedBook(t, "{product}/", "").Connect(id, time.Now()); !errors.Is(err, want) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"a/b", "+", "#", "x+"} {
		if _, err := mappedBook(t, "", "{client_id}/").Connect(id, time.Now()); !errors.Is(err, ErrTopics) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := mappedBook(t, "site/", "").Connect("a/b", time.Now()); err != nil {
		t.Errorf("a client id that is in no topic: %v", err)
	}
}
