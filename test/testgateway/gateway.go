package testgateway

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

// Settings are keys of the configuration, such as "session.hold", with their values as
// they stand in the file.
type Settings map[string]string

// toml renders the settings as a configuration file.
func (s Settings) toml() string {
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

// Gateway is a running sngate.
type Gateway struct {
	*Process          // the newest, see Restart
	Addr     string   // of the first listener, "host:port"
	Addrs    []string // of all
	Ops      string   // "host:port"

	crashed bool     // it does not end well: see Crash
	env     []string // added to the environment
}

// Start runs the program against a broker, "embedded" or a URL, with a configuration
// file made of s and more options, on ports that the system chooses. When the test ends the
// gateway is stopped, and has to end well.
func Start(t testing.TB, program, broker string, s Settings, opts ...string) *Gateway {
	t.Helper()
	all := Settings{
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
	return start(t, all.toml(), Command{Name: program, Args: append([]string{"run", "-c", file}, opts...)})
}

// StartIn is Start for a folder with a configuration, sngate.toml, and what it names; env is more
// of the environment.
func StartIn(t testing.TB, program, folder string, env []string) *Gateway {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "sngate.toml"))
	if err != nil {
		t.Fatal(err)
	}
	env = append([]string{
		`SNGATE_LISTENER=[{address = "127.0.0.1:0"}]`, "SNGATE_OPS_ADDRESS=127.0.0.1:0", "SNGATE_LOG_FORMAT=json", "SNGATE_LOG_LEVEL=debug",
	}, env...)
	return start(t, string(text), Command{Name: program, Args: []string{"run", "-c", "sngate.toml"}, Env: env, Dir: folder})
}

// start starts a gateway whose configuration is config.
func start(t testing.TB, config string, c Command) *Gateway {
	t.Helper()
	g := &Gateway{Process: StartProcess(t, c), env: c.Env}
	g.AwaitStart()
	t.Cleanup(func() {
		g.end()
		if t.Failed() {
			t.Logf("configuration:\n%s\nlog of the gateway, newest last:\n%s", config, lastLines(g.Stderr, 60))
		}
	})
	return g
}

// Restart starts the gateway again, after Crash or Stop, with the same
// configuration and in the same directory, where its store is. For devices to find it
// again the configuration has to name the listener's port.
func (g *Gateway) Restart() {
	g.t.Helper()
	<-g.exited
	before := g.Cmd
	g.Process = StartProcess(g.t, Command{Name: before.Path, Args: before.Args[1:], Env: g.env, Dir: before.Dir})
	g.t.Cleanup(g.end)
	g.crashed = false
	g.AwaitStart()
}

// end checks that a gateway that has not crashed ends well.
func (g *Gateway) end() {
	if !g.crashed {
		g.Stop()
	}
}

// Dir is the working directory of the gateway.
func (g *Gateway) Dir() string { return g.Cmd.Dir }

// PID is the process id of the gateway.
func (g *Gateway) PID() int { return g.Cmd.Process.Pid }

func lastLines(o *Output, n int) string {
	lines := o.Lines()
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// LogLine is a line of the JSON log.
type LogLine struct {
	Level, Message, Addr, Error string
	MovedTo                     string `json:"moved_to"` // about the store

	ClientID string `json:"client_id"` // about a device, as those below
	Reason   string
	Packet   string
	TopicID  int `json:"topic_id"`
	Topic    string
	Advice   string
}

func (g *Gateway) LogLines() []LogLine {
	var list []LogLine
	for _, text := range strings.SplitAfter(g.Stderr.String(), "\n") {
		var l LogLine
		if strings.HasSuffix(text, "\n") && json.Unmarshal([]byte(text), &l) == nil {
			list = append(list, l)
		}
	}
	return list
}

// AwaitStart reads the addresses from the log. The line of the operator's server is the
// last of the start.
func (g *Gateway) AwaitStart() {
	g.t.Helper()
	Eventually(g.t, "the gateway starts", func() bool {
		select {
		case <-g.exited:
			g.t.Fatalf("the gateway ended at its start:\n%s", g.Stderr)
		default:
		}
		g.Addrs = nil
		for _, l := range g.LogLines() {
			switch l.Message {
			case "listening":
				g.Addrs = append(g.Addrs, l.Addr)
			case "metrics and health":
				g.Ops = l.Addr
				g.Addr = g.Addrs[0]
				return true
			}
		}
		return false
	})
}

// StopLimit is what the program may take to end after SIGTERM.
const StopLimit = 5 * time.Second

// Stop ends the gateway with SIGTERM, unless it has been stopped already. It has to end
// in time with code 0, which under the race detector also means that none was found.
func (g *Gateway) Stop() {
	g.t.Helper()
	select {
	case <-g.exited:
	default:
		g.Signal(syscall.SIGTERM)
	}
	if code := g.Wait(StopLimit); code != 0 {
		g.t.Errorf("the gateway ended with code %d:\n%s", code, lastLines(g.Stderr, 60))
	}
	g.WantCleanLog()
}

// Crash ends the gateway at once, as a power cut would.
func (g *Gateway) Crash() {
	g.crashed = true
	g.Kill()
}

// WantCleanLog looks for what a Go program says when something is very wrong.
func (g *Gateway) WantCleanLog() {
	g.t.Helper()
	for _, bad := range []string{"panic:", "DATA RACE", "fatal error:"} {
		if log := g.Stderr.String(); strings.Contains(log, bad) {
			g.t.Errorf("%q in the log:\n%s", bad, log)
		}
	}
}

// WantLost waits for the line that says that a device was lost and why.
func (g *Gateway) WantLost(clientID, reason string) {
	g.t.Helper()
	Eventually(g.t, fmt.Sprintf("the log tells that %s is lost by %s", clientID, reason), func() bool {
		return slices.ContainsFunc(g.LogLines(), func(l LogLine) bool {
			return l.Message == "device lost" && l.ClientID == clientID && l.Reason == reason
		})
	})
}

func (g *Gateway) Port() string {
	_, port, err := net.SplitHostPort(g.Addr)
	if err != nil {
		g.t.Fatal(err)
	}
	return port
}

// Get asks the operator's server.
func (g *Gateway) Get(path string) (status int, body string) {
	g.t.Helper()
	// No connection is kept: it would outlive the test.
	client := &http.Client{Timeout: Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + g.Ops + path)
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

// AwaitReady waits until the gateway can serve devices, or no longer can.
func (g *Gateway) AwaitReady(want int) {
	g.t.Helper()
	Eventually(g.t, fmt.Sprintf("/readyz answers %d", want), func() bool {
		status, _ := g.Get("/readyz")
		return status == want
	})
}

// Metrics are the samples of one scrape by name with labels, as in
// `sngate_sessions{state="active"}`.
type Metrics map[string]float64

func (g *Gateway) Metrics() Metrics {
	g.t.Helper()
	status, text := g.Get("/metrics")
	if status != http.StatusOK {
		g.t.Fatalf("/metrics answers %d: %s", status, text)
	}
	m := make(Metrics)
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

// Value is one sample, which has to be there.
func (g *Gateway) Value(name string) float64 {
	g.t.Helper()
	v, ok := g.Metrics()[name]
	if !ok {
		g.t.Fatalf("no metric %s", name)
	}
	return v
}

// Await waits for the value of a sample. A device may have its answer a moment before the
// gateway has counted what came of it.
func (g *Gateway) Await(name string, want float64) {
	g.t.Helper()
	Eventually(g.t, fmt.Sprintf("%s is %v", name, want), func() bool { return g.Value(name) == want })
}

// Sum adds the samples whose names start with prefix and contain all parts.
func (m Metrics) Sum(prefix string, parts ...string) (total float64) {
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

func SessionsIn(state string) string { return fmt.Sprintf("sngate_sessions{state=%q}", state) }

func DropsFor(reason string) string { return fmt.Sprintf("sngate_drops_total{reason=%q}", reason) }

// FreeUDPPort returns a port that was free a moment ago: a multicast group needs to know
// it beforehand.
func FreeUDPPort(t testing.TB) uint16 {
	t.Helper()
	conn, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return uint16(conn.LocalAddr().(*net.UDPAddr).Port)
}
