package conf

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBrokerAddressesMayLackTheScheme(t *testing.T) {
	tests := map[string]string{
		"tcp://broker.example:1884":   "broker.example:1884",
		"mqtt://broker.example:1884":  "broker.example:1884",
		"MQTT://broker.example":       "broker.example:1883",
		"mqtt://broker.example/":      "broker.example:1883",
		"broker.example:1884":         "broker.example:1884",
		"broker.example":              "broker.example:1883",
		"broker.example:1883/":        "broker.example:1883",
		"localhost":                   "localhost:1883",
		"mqtt":                        "mqtt:1883",
		"mqtt:1884":                   "mqtt:1884",
		"tcp":                         "tcp:1883",
		"192.0.2.7":                   "192.0.2.7:1883",
		"192.0.2.7:1884":              "192.0.2.7:1884",
		"[2001:db8::7]:1884":          "[2001:db8::7]:1884",
		"[2001:db8::7]":               "[2001:db8::7]:1883",
		"2001:db8::7":                 "[2001:db8::7]:1883",
		"fe80::7%eth0":                "[fe80::7%eth0]:1883",
		"mqtt://[2001:db8::7]":        "[2001:db8::7]:1883",
		"my_broker":                   "my_broker:1883",
		"embedded.example":            "embedded.example:1883",
		"tcp://embedded.example:1883": "embedded.example:1883",
	}
	for text, want := range tests {
		cfg := mustParse(t, "[broker]\nurl = '"+text+"'\nfallback_urls = ['other', '192.0.2.99:1', 'mqtt://third']")
		if got := cfg.Broker.Address(); got != want || cfg.Broker.Embedded() {
			t.Errorf("url %q: broker %q, want %q", text, got, want)
		}
		cfg = mustParse(t, "[broker]\nurl = 'other'\nfallback_urls = ['"+text+"']")
		if diff := cmp.Diff([]string{want}, cfg.Broker.Fallbacks()); diff != "" {
			t.Errorf("fallback %q: %s", text, diff)
		}
	}
}

func TestBrokersWithTLSHaveAPortOfTheirOwn(t *testing.T) {
	tests := map[string]string{
		"ssl://broker.example":      "broker.example:8883",
		"tls://broker.example":      "broker.example:8883",
		"MQTTS://broker.example":    "broker.example:8883",
		"mqtts://broker.example:80": "broker.example:80",
		"ssl://[2001:db8::7]":       "[2001:db8::7]:8883",
		"tls://192.0.2.7/":          "192.0.2.7:8883",
	}
	for text, want := range tests {
		b := mustParse(t, "[broker]\nurl = '"+text+"'\nfallback_urls = ['plain', 'ssl://other', 'tcp://third:8883']").Broker
		if got := b.Address(); got != want {
			t.Errorf("url %q: broker %q, want %q", text, got, want)
		}
		if diff := cmp.Diff([]string{want, "other:8883"}, b.SecureAddresses()); diff != "" {
			t.Errorf("url %q: %s", text, diff)
		}
		b = mustParse(t, "[broker]\nurl = 'plain'\nfallback_urls = ['"+text+"']").Broker
		if diff := cmp.Diff([]string{want}, b.SecureAddresses()); diff != "" {
			t.Errorf("fallback %q: %s", text, diff)
		}
	}
	if list := mustParse(t, "[broker]\nurl = 'tcp://broker:8883'").Broker.SecureAddresses(); list != nil {
		t.Errorf("without TLS: %v", list)
	}
}

func TestBrokersReachedByWebSocketHaveAPath(t *testing.T) {
	tests := []struct {
		text, address, url string
		secure             bool
	}{
		{"ws://broker.example", "broker.example:80", "ws://broker.example/mqtt", false},
		{"wss://broker.example", "broker.example:443", "wss://broker.example/mqtt", true},
		{"WSS://broker.example:8084/", "broker.example:8084", "wss://broker.example:8084/", true},
		{"ws://[2001:db8::7]:9001/a/b", "[2001:db8::7]:9001", "ws://[2001:db8::7]:9001/a/b", false},
		{"wss://hub.example/$iothub/websocket?iothub-no-client-cert=true", "hub.example:443", "wss://hub.example/$iothub/websocket?iothub-no-client-cert=true", true},
	}
	for _, c := range tests {
		for _, file := range []string{"url = '" + c.text + "'\nfallback_urls = ['tcp://other', 'ssl://third']", "url = 'other'\nfallback_urls = ['ssl://third', '" + c.text + "']"} {
			b := mustParse(t, "[broker]\n"+file).Broker
			got := b.WebSockets()
			if len(got) != 1 || got[c.address] == nil || got[c.address].String() != c.url {
				t.Errorf("%s: %v", c.text, got)
			}
			if slices.Contains(b.SecureAddresses(), c.address) != c.secure || !slices.Contains(append(b.Fallbacks(), b.Address()), c.address) {
				t.Errorf("%s: secure %v", c.text, b.SecureAddresses())
			}
		}
	}
}

// The environment of a machine names proxies for programs of all kinds: one that cannot be used
// matters only where it would be.
func TestProxiesOfTheEnvironmentAreChecked(t *testing.T) {
	const head = "[broker]\nurl = 'wss://broker.example'\nfallback_urls = ['tcp://b', 'ws://10.0.0.7']"
	for _, env := range []string{"", "HTTPS_PROXY=http://p:3128", "https_proxy=p:3128", "HTTPS_PROXY=http://u:hunter2@p", "HTTP_PROXY=http://p", "ALL_PROXY=socks5://p"} {
		mustParse(t, head, env)
	}
	for env, want := range map[string]string{
		"HTTPS_PROXY=socks5://u:hunter2@p": "HTTPS_PROXY: names a proxy of another kind; want http://, as in http://proxy.example:3128",
		"HTTPS_PROXY=https://p":            "HTTPS_PROXY: names a proxy of another kind",
		"https_proxy=http://u:hunter2@":    "https_proxy: is not the URL of a proxy; want one such as",
		"HTTP_PROXY=http://hunter2 p":      "HTTP_PROXY: is not the URL of a proxy; want one such as",
	} {
		if got := mustRefuse(t, head, env); !strings.Contains(got, want) || strings.Contains(got, "hunter2") {
			t.Errorf("%s: %s", env, got)
		}
		mustParse(t, "[broker]\nurl = 'ssl://broker.example'", env)
		mustParse(t, head, env, "NO_PROXY=example,10.0.0.0/8")
	}
}

func TestWhatIsNoBrokerAddressIsRefused(t *testing.T) {
	tests := map[string]string{
		"":                   "is not the URL of a broker; want",
		" ":                  "is not the URL of a broker; want",
		":1883":              "is not the URL of a broker; want",
		"//broker":           "has a part behind the port",
		"broker:":            "", // as in a URL: the usual port
		"broker:0":           "is not the URL of a broker; want",
		"broker:65536":       "is not the URL of a broker; want",
		"broker:mqtt":        "is not the URL of a broker; want",
		"broker 1883":        "is not the URL of a broker; want",
		"tcp:broker:1883":    "is not the URL of a broker; want",
		"2001:db8::7:x":      "is not the URL of a broker; want",
		"http://broker":      "is not the URL of a broker; want",
		"ws://":              "is not the URL of a broker; want",
		"wss://:443/mqtt":    "is not the URL of a broker; want",
		"ws:broker":          "is not the URL of a broker; want",
		"ws://broker/mqtt#x": "has a part behind the path",
		"wss://u:p@broker":   "has a user name in it",
		"ssl://u:p@broker":   "has a user name in it",
		"mqtts://broker/x":   "has a part behind the port",
		"tls://":             "is not the URL of a broker; want",
		"broker/topic":       "has a part behind the port",
		"broker?x=1":         "has a part behind the port",
		"mqtt://broker#x":    "has a part behind the port",
		"u:hunter2@broker":   "has a user name in it",
		"u@broker:1883":      "has a user name in it",
		"mqtt://u:p@broker":  "has a user name in it",
		"Embedded":           `did you mean "embedded"?`,
		"embeded":            `did you mean "embedded"?`,
		"embedded ":          `did you mean "embedded"?`,
		"http://embedded.eu": "is not the URL of a broker; want",
	}
	for text, want := range tests {
		for _, file := range []string{"[broker]\nurl = '" + text + "'", "[broker]\nurl = 'other'\nfallback_urls = ['" + text + "']"} {
			_, err := Parse("test.toml", []byte(file), nil)
			switch {
			case want == "":
				if err != nil {
					t.Errorf("%q: %v", text, err)
				}
			case err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2"):
				t.Errorf("%q: %v, want %q", text, err, want)
			}
		}
	}
}

func TestOneBrokerInTwoSpellingsIsOneBroker(t *testing.T) {
	for _, text := range []string{"tcp://broker:1883", "mqtt://broker", "broker", "broker:1883", "broker/"} {
		got := mustRefuse(t, "[broker]\nurl = 'tcp://broker'\nfallback_urls = ['"+text+"']")
		if !strings.Contains(got, "is the broker of broker.url too") {
			t.Errorf("%q: %s", text, got)
		}
	}
}
