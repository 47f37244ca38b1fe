package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"sngate/internal/probe"
)

// someReport has everything that a report may have.
func someReport() *probe.Report {
	trip, end := 0.012, time.Unix(2_000_000_000, 0)
	part := func(name string) *probe.Part {
		p := &probe.Part{Name: name, Address: "udp://gw.example:1883", ClientID: "dev", Result: probe.OK, RoundTripSeconds: &trip}
		for _, step := range probe.Steps(name) {
			p.Steps = append(p.Steps, probe.Step{Name: step, Result: probe.OK, Seconds: 0.001, Text: "done"})
		}
		return p
	}
	r := &probe.Report{Result: probe.OK, Started: time.Unix(1_900_000_000, 0), Seconds: 0.5, Broker: part(probe.PartBroker), Gateway: part(probe.PartGateway)}
	r.Broker.TLS = &probe.TLS{Expires: &end}
	return r
}

func TestMetricsOfTheProbeAreThoseOfThePage(t *testing.T) {
	results := newProbeResults()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(results); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Gather(); err != nil { // before the first probe is over
		t.Fatal(err)
	}
	results.add(someReport())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	registered := make(map[string]string)
	for _, f := range families {
		var names []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			names = append(names, l.GetName())
		}
		registered[f.GetName()] = fmt.Sprint(strings.ToLower(f.GetType().String()), names)
	}
	page, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	for _, r := range regexp.MustCompile("(?m)^\\| `(sngate_probe_[a-z_]+)` \\| (\\w+) \\| (.*?) ?\\| (.+) \\|$").FindAllStringSubmatch(string(page), -1) {
		names := []string{}
		for _, l := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(r[3], -1) {
			names = append(names, l[1])
		}
		slices.Sort(names)
		documented[r[1]] = fmt.Sprint(r[2], names)
	}
	if d := cmp.Diff(registered, documented); d != "" {
		t.Errorf("registry (-) and docs/METRICS.md (+) differ:\n%s", d)
	}
}

func TestSummariesAndExitCodesOfTheProbe(t *testing.T) {
	ok, warning, failed, skipped := someReport(), someReport(), someReport(), someReport()
	ok.Gateway.Text, ok.Gateway.RoundTripSeconds = "no gateway is running at x", nil
	warning.Result, warning.Broker.Steps[3] = probe.Warning, probe.Step{Name: "tls", Result: probe.Warning, Text: "ends\nsoon"}
	failed.Result, failed.Gateway.Steps[2] = probe.Failed, probe.Step{Name: "connect", Result: probe.Failed, Text: "no CONNACK"}
	skipped.Result = probe.Skipped
	for _, tc := range []struct {
		r    *probe.Report
		code int
		want string
	}{
		{ok, 0, "OK: broker udp://gw.example:1883 round trip 12.00 ms; gateway udp://gw.example:1883 not probed: no gateway is running at x"},
		{warning, 1, `"WARNING: broker udp://gw.example:1883: tls: ends\nsoon"`},
		{failed, 2, "FAILED: gateway udp://gw.example:1883: connect: no CONNACK"},
		{skipped, 3, "UNKNOWN: nothing was probed"},
	} {
		if got, code := probeSummary(tc.r), probeExit(tc.r.Result); got != tc.want || code != tc.code {
			t.Errorf("%q, code %d; want %q, %d", got, code, tc.want, tc.code)
		}
	}
}

func TestWhatIsNotProbed(t *testing.T) {
	config := write(t, "sngate.toml", "[broker]\nurl = \"tcp://127.0.0.1:1\"\n[gateway]\nclient_id = \"a+b\"\n")
	for _, tc := range []struct{ args, want string }{
		{"", "the client id a+b-probe cannot be in a topic: give one by --topic"},
		{"--topic t --fallback 1", "--fallback 1: the configuration has 0"},
		{"--topic t --no-broker --client pump-1 --yes", "--clean says that this may be"},
	} {
		code, stdout, stderr := call(t, "", slices.Concat([]string{"probe", "-c", config}, strings.Fields(tc.args))...)
		if code != exitNotProbed || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: code %d, %q, %q", tc.args, code, stdout, stderr)
		}
	}
}

// Without --client a probe is the gateway's own, and without --gateway it is at the listener.
func TestWhatIsProbedByItself(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0") // says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
	config := write(t, "sngate.toml", fmt.Sprintf("listener = [{address = \":%s\"}]\n[broker]\nurl = \"tcp://127.0.0.1:1\"\nfallback_urls = [\"tcp://127.0.0.1:2\"]\n[gateway]\nclient_id = \"gw\"\n", port))
	for _, tc := range []struct{ args, broker string }{{"", "tcp://127.0.0.1:1"}, {"--fallback 1", "tcp://127.0.0.1:2"}} {
		code, stdout, _ := call(t, "", slices.Concat([]string{"probe", "-c", config, "--timeout", "0.1", "--json"}, strings.Fields(tc.args))...)
		var r probe.Report
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitProbeFailed {
			t.Fatalf("code %d, %v", code, err)
		}
		if r.Broker.Address != tc.broker || r.Broker.ClientID != "gw-probe" || r.Gateway.Address != "udp://127.0.0.1:"+port || r.Gateway.ClientID != "gw-probe" || r.Topic != "gw-probe/probe" {
			t.Errorf("%+v, %+v", r.Broker, r.Gateway)
		}
	}
	if code, stdout, _ := call(t, "", "probe", "-c", write(t, "sngate.toml", "[broker]\nurl = \"tcp://127.0.0.1:1\"\n[broker.topic_map]\npublish = \"up/{client_id}/\"\n"), "--no-gateway", "--json"); code != exitProbeFailed || !strings.Contains(stdout, `"topic": "probe"`) {
		t.Errorf("code %d, %s", code, stdout)
	}
	for given, want := range map[string]string{"gw.example": "gw.example:1883", "gw.example:7": "gw.example:7", "::1": "[::1]:1883", "[::1]:7": "[::1]:7", ":7": "127.0.0.1:7"} {
		if got := gatewayAddress(given); got != want {
			t.Errorf("%s is %s, want %s", given, got, want)
		}
	}
}

// Between two probes there is never less than what the broker wants between two connects, even
// where one has taken longer than the interval.
func TestProbesRestInBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var at []time.Duration
		took := []time.Duration{time.Second, 25 * time.Second, 8 * time.Second, 0, 0}
		again(ctx, 10*time.Second, 5*time.Second, func() {
			at = append(at, time.Since(began)/time.Second)
			time.Sleep(took[len(at)-1])
			if len(at) == len(took) {
				cancel()
			}
		})
		if want := []time.Duration{0, 10, 40, 53, 60}; !slices.Equal(at, want) {
			t.Errorf("probes at the seconds %d, want %d", at, want)
		}
	})
}

func TestTheIntervalOfProbesIsThatOfConnects(t *testing.T) {
	config := write(t, "sngate.toml", "[broker]\nurl = \"tcp://127.0.0.1:1\"\n[broker.limits]\nconnect_interval = \"5s\"\n")
	for interval, raised := range map[string]bool{"1": true, "5": false} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		var errs bytes.Buffer
		run(ctx, []string{"probe", "-c", config, "--no-gateway", "--listen", "127.0.0.1:0", "--interval", interval}, strings.NewReader(""), io.Discard, &errs)
		cancel()
		if said := strings.Contains(errs.String(), "a probe every 5s, as broker.limits.connect_interval wants\n"); said != raised {
			t.Errorf("--interval %s: %q", interval, errs.String())
		}
	}
}
