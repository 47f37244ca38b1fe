package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// settings are keys of the configuration, such as "session.hold", with their values as
// they stand in the file.
type settings map[string]string

// toml renders the settings as a configuration file.
func (s settings) toml() string {
	tables := make(map[string][]string)
	for key, value := range s {
		table, name, ok := strings.Cut(key, ".")
		if !ok {
			table, name = "", key
		}
		tables[table] = append(tables[table], name+" = "+value)
	}
	var b strings.Builder
	for _, table := range slices.Sorted(maps.Keys(tables)) { // "" first
		if table != "" {
			fmt.Fprintf(&b, "[%s]\n", table)
		}
		fmt.Fprintln(&b, strings.Join(tables[table], "\n"))
	}
	return b.String()
}

// gateway is a running sngate.
type gateway struct {
	*process
	addr  string   // of the first listener, "host:port"
	addrs []string // of all
	ops   string   // "host:port"

	crashed bool // it does not end well: see crash
}

// startGateway runs sngate against a broker, "embedded" or a URL, with a configuration
// file made of s, on ports that the system chooses. When the test ends the gateway is
// stopped, and has to end well.
func startGateway(t testing.TB, broker string, s settings) *gateway {
	t.Helper()
	return startProgram(t, built.check, broker, s)
}

func startProgram(t testing.TB, program, broker string, s settings) *gateway {
	t.Helper()
	all := settings{
		"listener":    `[{address = "127.0.0.1:0"}]`,
		"broker.url":  strconv.Quote(broker),
		"ops.address": `"127.0.0.1:0"`,
		"log.format":  `"json"`,
		"log.level":   `"debug"`,
	}
	maps.Copy(all, s)
	file := filepath.Join(t.TempDir(), "sngate.toml")
	if err := os.WriteFile(file, []byte(all.toml()), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &gateway{process: start(t, command{name: program, args: []string{"run", "-c", file}})}
	g.awaitStart()
	t.Cleanup(func() {
		if !g.crashed {
			g.stop()
		}
		if t.Failed() {
			t.Logf("configuration:\n%s\nlog of the gateway, newest last:\n%s", all.toml(), lastLines(g.stderr, 60))
		}
	})
	return g
}

func lastLines(o *output, n int) string {
	lines := o.lines()
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// logLine is a line of the JSON log.
type logLine struct {
	Level, Message, Addr, Error string

	ClientID string `json:"client_id"` // of the message "session", with those below
	State    string
	Reason   string
}

func (g *gateway) logLines() []logLine {
	var list []logLine
	for _, text := range strings.SplitAfter(g.stderr.String(), "\n") {
		var l logLine
		if strings.HasSuffix(text, "\n") && json.Unmarshal([]byte(text), &l) == nil {
			list = append(list, l)
		}
	}
	return list
}

// awaitStart reads the addresses from the log. The line of the operator's server is the
// last of the start.
func (g *gateway) awaitStart() {
	g.t.Helper()
	eventually(g.t, "the gateway starts", func() bool {
		select {
		case <-g.exited:
			g.t.Fatalf("the gateway ended at its start:\n%s", g.stderr)
		default:
		}
		g.addrs = nil
		for _, l := range g.logLines() {
			switch l.Message {
			case "listening":
				g.addrs = append(g.addrs, l.Addr)
			case "metrics and health":
				g.ops = l.Addr
				g.addr = g.addrs[0]
				return true
			}
		}
		return false
	})
}

// stopLimit is what the program may take to end after SIGTERM.
const stopLimit = 5 * time.Second

// stop ends the gateway with SIGTERM, unless it has been stopped already. It has to end
// in time with code 0, which under the race detector also means that none was found.
func (g *gateway) stop() {
	g.t.Helper()
	select {
	case <-g.exited:
	default:
		g.signal(syscall.SIGTERM)
	}
	if code := g.wait(stopLimit); code != 0 {
		g.t.Errorf("the gateway ended with code %d:\n%s", code, lastLines(g.stderr, 60))
	}
	g.wantCleanLog()
}

// crash ends the gateway at once, as a power cut would.
func (g *gateway) crash() {
	g.crashed = true
	g.kill()
}

// wantCleanLog looks for what a Go program says when something is very wrong.
func (g *gateway) wantCleanLog() {
	g.t.Helper()
	for _, bad := range []string{"panic:", "DATA RACE", "fatal error:"} {
		if log := g.stderr.String(); strings.Contains(log, bad) {
			g.t.Errorf("%q in the log:\n%s", bad, log)
		}
	}
}

// wantLost waits for the line that says that a device was lost and why.
func (g *gateway) wantLost(clientID, reason string) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("the log tells that %s is lost by %s", clientID, reason), func() bool {
		return slices.ContainsFunc(g.logLines(), func(l logLine) bool {
			return l.Message == "session" && l.ClientID == clientID && l.State == "lost" && l.Reason == reason
		})
	})
}

func (g *gateway) port() string {
	_, port, err := net.SplitHostPort(g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	return port
}

// get asks the operator's server.
func (g *gateway) get(path string) (status int, body string) {
	g.t.Helper()
	// No connection is kept: it would outlive the test.
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + g.ops + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// awaitReady waits until the gateway can serve devices, or no longer can.
func (g *gateway) awaitReady(want int) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("/readyz answers %d", want), func() bool {
		status, _ := g.get("/readyz")
		return status == want
	})
}

// metrics are the samples of one scrape by name with labels, as in
// `sngate_sessions{state="active"}`.
type metrics map[string]float64

func (g *gateway) metrics() metrics {
	g.t.Helper()
	status, text := g.get("/metrics")
	if status != http.StatusOK {
		g.t.Fatalf("/metrics answers %d: %s", status, text)
	}
	m := make(metrics)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		line = strings.TrimSpace(line)
		i := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			g.t.Fatalf("/metrics has the line %q", line)
		}
		m[line[:i]] = value
	}
	return m
}

// value is one sample, which has to be there.
func (g *gateway) value(name string) float64 {
	g.t.Helper()
	v, ok := g.metrics()[name]
	if !ok {
		g.t.Fatalf("no metric %s", name)
	}
	return v
}

// await waits for the value of a sample. A device may have its answer a moment before the
// gateway has counted what came of it.
func (g *gateway) await(name string, want float64) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("%s is %v", name, want), func() bool { return g.value(name) == want })
}

// sum adds the samples whose names start with prefix and contain all parts.
func (m metrics) sum(prefix string, parts ...string) (total float64) {
next:
	for name, v := range m {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		for _, part := range parts {
			if !strings.Contains(name, part) {
				continue next
			}
		}
		total += v
	}
	return total
}

func sessionsIn(state string) string { return fmt.Sprintf("sngate_sessions{state=%q}", state) }

func dropsFor(reason string) string { return fmt.Sprintf("sngate_drops_total{reason=%q}", reason) }
