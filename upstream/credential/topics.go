package credential

import (
	"errors"
	"fmt"
	"strings"
)

// Topics is where the topics of one client are at the broker. The zero value: where the client
// has them. The prefixes end in "/", if they are not empty, have no wildcard, and are no longer
// than MaxPrefix.
type Topics struct {
	Publish   string // stands before the topics that the client publishes to
	Subscribe string // stands before its filters, and the topics of what is sent to it
	// DeliverAs is the one topic of all messages below Subscribe, where it is not empty, and the
	// one filter that there is for them.
	DeliverAs string
}

const sharePrefix = "$share/"

// Filter returns what the broker is asked for where the client asks for filter, which has to be
// DeliverAs where that is not empty. A shared subscription stays one.
func (t *Topics) Filter(filter string) string {
	if t.DeliverAs != "" {
		return t.Subscribe + "#"
	}
	if t.Subscribe == "" {
		return filter
	}
	if rest, shared := strings.CutPrefix(filter, sharePrefix); shared {
		if group, below, found := strings.Cut(rest, "/"); found {
			return sharePrefix + group + "/" + t.Subscribe + below
		}
	}
	return t.Subscribe + filter
}

// MaxPrefix bounds each prefix of Topics, in octets.
const MaxPrefix = 1024

// TopicMap is where the topics of all clients are at the broker.
type TopicMap struct {
	Publish, Subscribe Template
	DeliverAs          string
}

// ErrTopics is why a client has no Topics.
var ErrTopics = errors.New("there is no place for the topics of this client id")

// CheckPrefix reports what is wrong with the text of a prefix.
func CheckPrefix(text string) error {
	switch {
	case text == "":
		return nil
	case len(text) > MaxPrefix:
		return fmt.Errorf("is longer than %d octets", MaxPrefix)
	case !strings.HasSuffix(text, "/"):
		return errors.New(`does not end in "/"; want whole levels of a topic`)
	}
	return nil
}

// topics returns the Topics of a client.
func (b *Book) topics(of *values) (t Topics, err error) {
	m := &b.rules.Topics
	if t.Publish, err = m.Publish.prefix(of); err != nil {
		return Topics{}, err
	}
	if t.Subscribe, err = m.Subscribe.prefix(of); err != nil {
		return Topics{}, err
	}
	t.DeliverAs = m.DeliverAs
	return t, nil
}

// prefix returns the text of t, which stands before topics. A client that could choose its client
// id so that others' topics are below its own is refused.
func (t Template) prefix(of *values) (string, error) {
	if strings.Contains(of.client, "/") && t.has(PlaceholderClientID) {
		return "", fmt.Errorf(`%w: "/" in it`, ErrTopics)
	}
	text, err := t.fill(of)
	switch {
	case err != nil:
		return "", err
	case strings.ContainsAny(text, "+#"):
		return "", fmt.Errorf("%w: a wildcard in what stands before them", ErrTopics)
	}
	if err := CheckPrefix(text); err != nil {
		return "", fmt.Errorf("%w: what stands before them %w", ErrTopics, err)
	}
	return text, nil
}

// PrefixSize returns how many octets, and slashes among them, stand before a topic of a client at
// the broker, or before a filter of it. It allocates nothing.
func (b *Book) PrefixSize(clientID string, filters bool) (octets, slashes int) {
	t := b.rules.Topics.Publish
	if filters {
		t = b.rules.Topics.Subscribe
	}
	if t.None() {
		return 0, 0
	}
	of := values{client: clientID, book: b, row: b.table.row(clientID)}
	for _, p := range t.parts {
		text := p.text
		if p.name != "" {
			text = of.value(p.name)
		}
		octets += len(text)
		slashes += strings.Count(text, "/")
	}
	return octets, slashes
}
