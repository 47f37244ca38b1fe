package conf

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What the gateway itself publishes has to keep the limits too.
func TestTheStatusTopicKeepsTheLimitsOfTheBroker(t *testing.T) {
	const status = "[gateway]\nstatus_topic = 'a/b/c'\n[broker.limits]\n"
	mustParse(t, status+"max_topic_bytes = 5\nmax_topic_levels = 3")
	for text, want := range map[string]string{
		"max_topic_bytes = 4":  "test.toml:2: gateway.status_topic: has 5 octets, and broker.limits.max_topic_bytes is 4",
		"max_topic_levels = 2": "test.toml:2: gateway.status_topic: has 3 levels, and broker.limits.max_topic_levels is 2",
	} {
		if got := mustRefuse(t, status+text); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestTheKeepAliveHasTwoBoundsOrNone(t *testing.T) {
	for text, want := range map[string][]int{"[]": {}, "[0, 900]": {0, 900}, "[60, 60]": {60, 60}, "[30, 65535]": {30, 65535}} {
		if got := mustParse(t, "[broker.limits]\nkeep_alive = "+text).Broker.Limits.KeepAlive; !slices.Equal(got, want) {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

func TestAStatusThatTheBrokerDoesNotKeepIsWarnedOf(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"[broker.limits]\nretain = 'drop'\nwill = 'gateway'", nil},
		{"[gateway]\nstatus_topic = 's'", nil},
		{"[gateway]\nstatus_topic = 's'\n[broker.limits]\nretain = 'refuse'", []string{"broker.limits.retain"}},
		{"[gateway]\nstatus_topic = 's'\n[broker.limits]\nretain = 'drop'\nwill = 'refuse'", []string{"broker.limits.retain", "broker.limits.will"}},
	} {
		path := put(t, filepath.Join(t.TempDir(), "sngate.toml"), c.text, 0o600)
		_, warnings, err := Load(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		ok := slices.EqualFunc(warnings, c.want, func(w Warning, about string) bool {
			return w.Key == "gateway.status_topic" && strings.Contains(w.Msg, about)
		})
		if !ok {
			t.Errorf("%q: got %v, want %v", c.text, warnings, c.want)
		}
	}
}

func TestWhoPublishesTheWills(t *testing.T) {
	for text, want := range map[string]bool{
		"":                                 false,
		"[session]\nwill_keeper='gateway'": true,
		"[broker.limits]\nwill='gateway'":  true,
		"[broker.limits]\nwill='refuse'":   true, // those there were before
	} {
		if got := mustParse(t, text).GatewayPublishesWills(); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
}
