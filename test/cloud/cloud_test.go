package cloud

import (
	"encoding/json"
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
	seen := probes(t, s, h, sngate, g.Addr) + probesAlone(t, s, program, folder, ca, change, variable)
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
	seen += g.Stderr.String() + check.Stdout.String() + check.Stderr.String() + pub.Stderr.String() + sub.Stderr.String()
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

// probe is the page's command. The certificates of tests end soon.
func (s *Section) probe(t *testing.T) (args []string) {
	t.Helper()
	args = strings.Fields(s.Probe)
	if len(args) < 2 || args[0] != "sngate" || args[1] != "probe" || !slices.Contains(args, "--clean") {
		t.Fatalf("the section has %q", s.Probe)
	}
	return append(args[1:], "--expiry-days", "0")
}

// probes has the device probed for, to the hub and through the gateway, and returns what is printed.
func probes(t *testing.T, s *Section, h *hub.Hub, sngate func(args ...string) *testgateway.Process, gateway string) string {
	t.Helper()
	topics := s.Topics()
	p := sngate(append(s.probe(t), "--gateway", gateway, "--json")...)
	p.WantExit(0)
	type part struct {
		RoundTrip float64 `json:"round_trip_seconds"`
		Steps     []struct{ Name, Result, Text string }
	}
	var r struct{ Broker, Gateway part }
	if err := json.Unmarshal([]byte(p.Stdout.String()), &r); err != nil {
		t.Fatal(err)
	}
	for _, part := range []part{r.Broker, r.Gateway} {
		for _, step := range part.Steps {
			switch {
			case step.Name != "receive":
			case s.Profile == "azure-iot-hub" && step.Result == "skipped" && part.RoundTrip == 0 && strings.Contains(step.Text, "this broker sends nothing back"):
			case s.Profile != "azure-iot-hub" && step.Result == "ok" && part.RoundTrip > 0:
			default:
				t.Errorf("%+v", step)
			}
		}
	}
	for _, m := range h.Messages() {
		if m.ClientID != s.MQTTClientID(t, Device) || m.Topic != topics.AtHub || m.QoS != 1 {
			t.Errorf("the hub has %+v", m)
		}
	}
	if n := len(h.Messages()); n != 2 {
		t.Errorf("%d messages of the probe, want 2", n)
	}
	return p.Stdout.String() + p.Stderr.String()
}

// probesAlone has a device that may be in use probed for, at another hub of the same kind.
func probesAlone(t *testing.T, s *Section, program, folder string, ca *securetest.CA, change func(*hub.Options), variable func(string) string) string {
	t.Helper()
	h := s.Hub(t, ca, change)
	address := h.Listen(t)
	p := testgateway.StartProcess(t, testgateway.Command{
		Name: program, Args: slices.DeleteFunc(s.probe(t), func(arg string) bool { return arg == "--clean" }),
		Env: append(s.Environment(address), variable(address)), Dir: folder,
	})
	p.WantExit(0)
	if list, m, left := h.Violations(), h.Messages(), h.Subscriptions(s.sessionID(t)); len(list) > 0 || len(m) != 1 || len(left) > 0 {
		t.Errorf("the hub complains of %v, has the messages %v and the subscriptions %q", list, m, left)
	}
	return p.Stdout.String() + p.Stderr.String()
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
