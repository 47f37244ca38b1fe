package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// probeReport is what "sngate probe --json" prints, as docs/CLI.md has it.
type probeReport struct {
	Result          string
	Topic           string
	Broker, Gateway *probePart
}

type probePart struct {
	Address, Result string
	FailedStep      string   `json:"failed_step"`
	RoundTrip       *float64 `json:"round_trip_seconds"`
	TLS             *struct {
		Version, Cipher string
		Expires         time.Time
		Chain           []struct{ Subject string }
	}
	Steps []struct{ Name, Result, Reason, Text, Advice string }
}

// failed describes the step that has failed, with its reason and all that is told of it.
func (p *probePart) failed() string {
	if p == nil {
		return "not probed"
	}
	for _, s := range p.Steps {
		if s.Name == p.FailedStep {
			return s.Name + " " + s.Reason + ": " + s.Text + "\n" + s.Advice
		}
	}
	return p.Result
}

// configOf is the configuration file of a gateway.
func configOf(g *testgateway.Gateway) string { return g.Cmd.Args[len(g.Cmd.Args)-1] }

// configFile writes a configuration with which no gateway runs.
func configFile(t *testing.T, broker, more string) string {
	t.Helper()
	port := testgateway.FreeUDPPort(t)
	return writeFile(t, "sngate.toml", fmt.Sprintf("listener = [{address = \"127.0.0.1:%d\"}]\n[gateway]\nclient_id = \"gw\"\n[broker]\nurl = %q\n%s", port, broker, more))
}

// probeJSON probes and returns the report.
func probeJSON(t *testing.T, code int, args ...string) *probeReport {
	t.Helper()
	p := sngate(t, append([]string{"probe", "--json"}, args...)...)
	p.WantExit(code)
	r := new(probeReport)
	if err := json.Unmarshal([]byte(p.Stdout.String()), r); err != nil {
		t.Fatalf("%v in:\n%s%s", err, p.Stdout, p.Stderr)
	}
	return r
}

// secureBroker is a mosquitto with TLS that knows the gateway, and lets each client use the topics
// of its own client id alone.
func secureBroker(t *testing.T) (s *tlsSite, settings testgateway.Settings) {
	t.Helper()
	rules := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(rules, []byte("pattern readwrite %c/#\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = startTLSWith(t, map[string]string{"site": gatewaySecret}, "acl_file "+rules)
	password := writeFile(t, "password", gatewaySecret)
	return s, s.settings(testgateway.Settings{"broker.username": `"site"`, "broker.password_file": strconv.Quote(password)})
}

func TestProbeOfTheWholePath(t *testing.T) {
	t.Parallel()
	s, settings := secureBroker(t)
	g := startGateway(t, s.url(), settings)
	g.AwaitReady(200)

	args := []string{"-c", configOf(g), "--gateway", g.Addr, "--expiry-days", "0"}
	r := probeJSON(t, 0, args...)
	if r.Result != "ok" || r.Topic != "gw-probe/probe" || r.Broker.RoundTrip == nil || r.Gateway.RoundTrip == nil {
		t.Errorf("%+v, %+v, %+v", r, r.Broker, r.Gateway)
	}
	if c := r.Broker.TLS; c == nil || !strings.HasPrefix(c.Version, "TLS 1.") || len(c.Chain) != 2 || c.Expires.Before(time.Now()) {
		t.Errorf("%+v", c)
	}
	for _, part := range []*probePart{r.Broker, r.Gateway} {
		for _, step := range part.Steps {
			if step.Result != "ok" && step.Name != "resolve" && step.Name != "websocket" {
				t.Errorf("%s %+v", part.Address, step)
			}
		}
	}
	text := sngate(t, append([]string{"probe"}, args...)...)
	text.WantExit(0)
	brief := sngate(t, append([]string{"probe", "--brief"}, args...)...)
	brief.WantExit(0)
	if lines := brief.Stdout.Lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "OK: broker ssl://localhost:") {
		t.Errorf("%q", lines)
	}
	for _, want := range []string{"broker ssl://localhost:", "ok       tls", "0: ", "issued by CN=site ca", ", for localhost", "gateway udp://" + g.Addr + " as gw-probe", "came back after", "\nOK: "} {
		if !strings.Contains(text.Stdout.String(), want) {
			t.Errorf("%q is not in:\n%s", want, text.Stdout)
		}
	}
	// The certificates of the site are valid for a day.
	soon := probeJSON(t, 1, "-c", configOf(g), "--no-gateway")
	if soon.Result != "warning" || soon.Gateway != nil {
		t.Errorf("%+v", soon)
	}
	forbidden := probeJSON(t, 2, append(args, "--topic", "forbidden", "--timeout", "1")...)
	for _, part := range []*probePart{forbidden.Broker, forbidden.Gateway} {
		// Some versions of mosquitto close, others only give the message to nobody.
		if !regexp.MustCompile(`^(receive (no_echo|closed)|publish closed): .*(may not publish|close on what they forbid)`).MatchString(strings.ReplaceAll(part.failed(), "\n", " ")) {
			t.Errorf("%s", part.failed())
		}
	}
	s.Stop()
	down := probeJSON(t, 2, append(args, "--no-broker")...)
	if !strings.HasPrefix(down.Gateway.failed(), "connect rejected_congestion: ") || !strings.Contains(down.Gateway.failed(), "no connection to its broker") {
		t.Errorf("%s", down.Gateway.failed())
	}
	for _, p := range []*testgateway.Process{text, brief} {
		if out := p.Stdout.String() + p.Stderr.String(); strings.Contains(out, gatewaySecret) {
			t.Errorf("a password is in:\n%s", out)
		}
	}
}

// Faults as they are with a real broker.
func TestProbeSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s, _ := secureBroker(t)
	wants := startTLS(t, "require_certificate true")
	plain := mosquitto.Start(t, mosquitto.Options{})
	ca := fmt.Sprintf("ca_file = %q\n", s.at("ca.pem"))
	for _, tc := range []struct{ name, url, more, want string }{
		{"no such name", "tcp://broker.invalid:1883", "", `^resolve (not_found|resolver|timeout): `},
		{"nobody listens", "tcp://127.0.0.1:1", "", `^tcp refused: connection refused`},
		{"TLS to a plain port", "ssl://" + plain.Addr(), "", `^tls tls_closed: [^\n]*\n.*want "tcp://"`},
		{"plain to a port of TLS", "tcp://" + s.Addr(), "", `^connect (not_mqtt|closed): `},
		{"another name", s.url(), ca + "server_name = \"mqtt.example\"\n", `^tls tls_name_mismatch: TLS: the broker's certificate is for "localhost", not for "mqtt.example"`},
		{"unknown authority", s.url(), "", `^tls tls_unknown_ca: .*"CN=site ca"`},
		{"no client certificate", wants.url(), fmt.Sprintf("ca_file = %q\n", wants.at("ca.pem")), `^(tls|connect) tls_certificate_required: `},
		{"nobody", s.url(), ca, `^connect connack_5: [^\n]*not authorized[^\n]*\nno user name was sent`},
		{"wrong password", s.url(), ca + "username = \"site\"\npassword = \"wrong-secret\"\n", `^connect connack_[45]: [^\n]*\nlook at user name and password`},
		{"no credentials", s.url(), ca + "credentials_required = true\ndevice = [{client = \"pump-*\", username = \"x\"}]\n", `^credentials no_credentials: no credentials for this client id`},
	} {
		r := probeJSON(t, 2, "-c", configFile(t, tc.url, tc.more), "--timeout", "5")
		if got := r.Broker.failed(); !regexp.MustCompile(tc.want).MatchString(got) {
			t.Errorf("%s: %s", tc.name, got)
		}
		if strings.Contains(r.Broker.failed(), "wrong-secret") {
			t.Errorf("%s: the password is shown", tc.name)
		}
		if r.Gateway == nil || r.Gateway.Result != "skipped" {
			t.Errorf("%s: %+v", tc.name, r.Gateway)
		}
	}
	nobody := fmt.Sprintf("127.0.0.1:%d", testgateway.FreeUDPPort(t))
	r := probeJSON(t, 2, "-c", configFile(t, plain.URL(), ""), "--gateway", nobody)
	if r.Broker.Result != "ok" || !strings.HasPrefix(r.Gateway.failed(), "connect refused: nothing listens") {
		t.Errorf("%s, %s", r.Broker.failed(), r.Gateway.failed())
	}
	p := sngate(t, "probe", "-c", writeFile(t, "bad.toml", "[broker]\nurl = \"ftp://x\"\n"))
	p.WantExit(3)
	if !strings.Contains(p.Stderr.String(), "broker.url") {
		t.Errorf("%s", p.Stderr)
	}
}

// A gateway that does not take the device says so.
func TestProbeOfAGatewayThatRefuses(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "embedded", testgateway.Settings{"embedded_broker.address": `"127.0.0.1:0"`, "session.allow": `["meter-*"]`})
	r := probeJSON(t, 2, "--no-broker", "--gateway", g.Addr, "-c", configFile(t, "embedded", ""))
	if got := r.Gateway.failed(); !strings.HasPrefix(got, "connect rejected_not_supported: ") || !strings.Contains(got, "session.allow") {
		t.Errorf("%s", got)
	}
}

// The client id of a device is taken only with --yes; and then what the broker keeps for the
// device, subscriptions and messages, is still there afterwards.
func TestProbeAsADeviceKeepsItsSession(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	device := func(filters ...string) *testgateway.Client {
		return testgateway.ConnectMQTTWith(t, broker.Addr(), func(o *mqtt.ClientOptions) { o.SetClientID("pump-1").SetCleanSession(false) }, filters...)
	}
	device("for/pump").Disconnect(100)
	other := testgateway.ConnectMQTT(t, broker.Addr(), "pump-1/#")
	other.Send("for/pump", []byte("held"), 1, false)

	config := configFile(t, broker.URL(), "")
	refused := sngate(t, "probe", "-c", config, "--client", "pump-1")
	refused.WantExit(2)
	if !strings.Contains(refused.Stderr.String(), "--yes") || strings.Contains(broker.Log(), "as pump-1 (p2, c0, k60)") {
		t.Errorf("%s", refused.Stderr)
	}
	r := probeJSON(t, 0, "-c", config, "--client", "pump-1", "--yes")
	if r.Gateway != nil || r.Broker.RoundTrip != nil {
		t.Errorf("%+v", r)
	}
	if m := other.Receive(); m.Topic() != "pump-1/probe" {
		t.Errorf("%s", m.Topic())
	}
	device().WantMessage("for/pump", "held")

	r = probeJSON(t, 0, "-c", config, "--client", "pump-1", "--yes", "--clean")
	if r.Broker.RoundTrip == nil || r.Gateway == nil {
		t.Errorf("%+v", r)
	}
}

func TestProbeForPrometheus(t *testing.T) {
	t.Parallel()
	s, settings := secureBroker(t)
	g := startGateway(t, s.url(), settings)
	g.AwaitReady(200)
	p := sngate(t, "probe", "-c", configOf(g), "--gateway", g.Addr, "--listen", "127.0.0.1:0", "--interval", "1", "--timeout", "2")
	var url string
	testgateway.Eventually(t, "it says where", func() bool {
		url = regexp.MustCompile(`http://\S+`).FindString(p.Stderr.String())
		return url != ""
	})
	scrape := func() []string {
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatal(response.Status, err)
		}
		return strings.Split(string(body), "\n")
	}
	has := func(line string) {
		t.Helper()
		testgateway.Eventually(t, line, func() bool {
			return slices.ContainsFunc(scrape(), func(l string) bool { return l == line })
		})
	}
	has("sngate_probe_success 1")
	has(`sngate_probe_step_success{part="gateway",step="receive"} 1`)
	s.Stop()
	has("sngate_probe_success 0")
	has(`sngate_probe_step_success{part="broker",step="tcp"} 0`)
	s.Restart()
	g.AwaitReady(200)
	has("sngate_probe_success 1")
	p.Signal(syscall.SIGTERM)
	p.WantExit(0)
	out := p.Stderr.String()
	if strings.Contains(out, gatewaySecret) {
		t.Errorf("a password is in:\n%s", out)
	}
	if lines := p.Stderr.Lines(); len(lines) < 4 || len(lines) > 20 || !strings.Contains(out, " FAILED: broker ssl://localhost") {
		t.Errorf("want a line for each change:\n%s", out)
	}
}

// The page's commands do what it says.
func TestProbeCommandsOfThePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/CLI.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## sngate probe\n")
	_, block, _ := strings.Cut(section, "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	g := startGateway(t, mosquitto.Start(t, mosquitto.Options{}).URL(), nil)
	g.AwaitReady(200)
	ran := 0
	for line := range strings.Lines(block) {
		args := strings.Fields(line)[1:]
		for i, arg := range args {
			switch arg {
			case "sngate.toml":
				args[i] = configOf(g)
			case "127.0.0.1:9884":
				args[i] = "127.0.0.1:0"
			}
		}
		p := sngate(t, args...)
		if slices.Contains(args, "--listen") {
			testgateway.Eventually(t, "a first result", func() bool { return strings.Contains(p.Stderr.String(), " OK: ") })
			p.Signal(syscall.SIGTERM)
		}
		p.WantExit(0)
		ran++
	}
	if ran != 4 {
		t.Errorf("%d commands", ran)
	}
}

// By WebSocket, and through a proxy, it goes the way of the gateway.
func TestProbeByWebSocket(t *testing.T) {
	s, p := startWeb(t, "wss", mosquitto.Options{}), startProxy(t)
	ca := fmt.Sprintf("ca_file = %q\n", s.ca)
	args := func(url string) []string {
		more := ca
		if strings.HasPrefix(url, "ws:") {
			more = ""
		}
		return []string{"-c", configFile(t, url, more), "--no-gateway", "--expiry-days", "0"}
	}
	r := probeJSON(t, 0, args(s.url("localhost"))...)
	if r.Broker.RoundTrip == nil || r.Broker.TLS == nil || !strings.HasPrefix(r.Broker.Address, "wss://localhost:") {
		t.Errorf("%+v", r.Broker)
	}
	plain := mosquitto.Start(t, mosquitto.Options{})
	_, port, _ := strings.Cut(plain.Addr(), ":")
	r = probeJSON(t, 2, args("ws://localhost:"+port+"/mqtt")...)
	if !strings.HasPrefix(r.Broker.failed(), "websocket websocket_closed: ") {
		t.Errorf("%s", r.Broker.failed())
	}
	t.Setenv("HTTPS_PROXY", p.url(false))
	r = probeJSON(t, 2, args(s.url(webHost))...)
	if !strings.HasPrefix(r.Broker.failed(), "tcp websocket_proxy_auth: ") {
		t.Errorf("%s", r.Broker.failed())
	}
	t.Setenv("HTTPS_PROXY", p.url(true))
	out := sngate(t, append([]string{"probe"}, args(s.url(webHost))...)...)
	out.WantExit(0)
	if text := out.Stdout.String() + out.Stderr.String(); strings.Contains(text, proxyPassword) || !strings.Contains(text, "through the proxy "+p.addr) {
		t.Errorf("%s", text)
	}
}
