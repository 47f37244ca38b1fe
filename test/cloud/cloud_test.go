package cloud

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"sngate/test/hub"
	"sngate/test/testgateway"
	"sngate/upstream/secure/securetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the page tells a reader to do works: the configuration is checked, the gateway is ready,
// and a message gets to the hub, and one of the hub to the device.
func TestThePageIsFollowed(t *testing.T) {
	program, err := testgateway.Build(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	web := 0
	for _, s := range Sections(t, "../../docs/CLOUD.md") {
		t.Run(s.Profile, func(t *testing.T) {
			t.Parallel()
			follow(t, program, &s, func(*hub.Options) {}, func(string) string { return "" })
		})
		if strings.Contains(s.Text, "use port 443, with `alpn = [\"x-amzn-mqtt-ca\"]`") {
			web++
			t.Run(s.Profile+" on port 443", func(t *testing.T) {
				t.Parallel()
				follow(t, program, &s, func(o *hub.Options) { o.Port443 = true }, func(string) string { return "SNGATE_BROKER_ALPN=x-amzn-mqtt-ca" })
			})
		}
		if path, ok := webPath(&s); ok {
			web++
			t.Run(s.Profile+" by WebSocket", func(t *testing.T) {
				t.Parallel()
				follow(t, program, &s, func(o *hub.Options) { o.WebSocket = true }, func(address string) string {
					return "SNGATE_BROKER_URL=wss://" + address + path
				})
			})
		}
	}
	if web != 3 {
		t.Errorf("%d sections say how to use port 443, want 3", web)
	}
}

// webPath is the path of a section that says how its hub is reached by WebSocket.
func webPath(s *Section) (path string, ok bool) {
	m := regexp.MustCompile("`url = \"wss://[^/\"]*(/[^\"]*)\"`").FindStringSubmatch(s.Text)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// follow does what the page says. change is how the hub is another one, and variable what the
// page sets for that one.
func follow(t *testing.T, program string, s *Section, change func(*hub.Options), variable func(address string) string) {
	ca, folder := securetest.NewCA(t, "hub"), t.TempDir()
	s.Place(t, folder, ca)
	h := s.Hub(t, ca, change)
	address := h.Listen(t)
	env := append(s.Environment(address), variable(address))
	g := testgateway.StartIn(t, program, folder, env)
	g.AwaitReady(200)
	testgateway.Eventually(t, "the log says that the gateway is connected", func() bool {
		return strings.Contains(g.Stderr.String(), `"message":"connected to the broker"`)
	})

	sngate := func(args ...string) *testgateway.Process {
		return testgateway.StartProcess(t, testgateway.Command{Name: program, Args: args, Env: env, Dir: folder})
	}
	check := sngate("check", "sngate.toml")
	check.WantExit(0)
	topics := s.Topics()
	device := []string{"-i", Device, "-p", g.Port(), "-q", "1"}
	pub := sngate(append([]string{"pub", "-t", topics.Up, "-m", "hello"}, device...)...)
	pub.WantExit(0)
	want := hub.Message{ClientID: s.MQTTClientID(t, Device), Topic: topics.AtHub, Payload: "hello", QoS: 1}
	if list := h.Messages(); !slices.Contains(list, want) {
		t.Errorf("the hub has %+v, want %+v", list, want)
	}
	sub := sngate(append([]string{"sub", "-t", topics.Filter, "-C", "1"}, device...)...)
	testgateway.Eventually(t, "the hub has the subscription", func() bool { return len(h.Subscriptions(s.sessionID(t))) > 0 })
	h.Publish(topics.Down, "good morning", 1)
	sub.WantExit(0)
	if text := sub.Stdout.String(); text != "good morning\n" {
		t.Errorf("the device has received %q", text)
	}
	if list := h.Violations(); len(list) > 0 {
		t.Error(list)
	}
	seen := g.Stderr.String() + check.Stdout.String() + check.Stderr.String() + pub.Stderr.String() + sub.Stderr.String()
	for _, path := range []string{"/metrics", "/readyz", "/", "/api/v1/sessions", "/api/v1/sessions/" + Device} {
		_, text := g.Get(path)
		seen += text
	}
	for _, secret := range s.secrets(t) {
		if strings.Contains(seen, secret) {
			t.Errorf("%q is shown", secret)
		}
	}
}

// sessionID is by what the hub knows the session of the device.
func (s *Section) sessionID(t *testing.T) string {
	if s.Profile == "alibaba-iot" {
		for _, d := range s.devices(t) {
			if d.ID == Device {
				return d.Product + "/" + d.Name
			}
		}
	}
	return s.MQTTClientID(t, Device)
}

// secrets are the keys and passwords of the page.
func (s *Section) secrets(t *testing.T) (list []string) {
	head, rows, _ := strings.Cut(s.CSV, "\n")
	columns := strings.Split(head, ",")
	for line := range strings.Lines(rows) {
		for i, value := range strings.Split(strings.TrimSpace(line), ",") {
			if columns[i] == "key" || columns[i] == "password" {
				list = append(list, value)
			}
		}
	}
	if s.CSV != "" && len(list) != 2 {
		t.Errorf("%d secrets", len(list))
	}
	return list
}
