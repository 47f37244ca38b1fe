package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"sngate/internal/loadgen"
)

// running is a gateway with the built-in broker in this process.
type running struct{ port, broker, ops string }

// startRunning runs the gateway on free ports until the test ends.
func startRunning(t *testing.T) running { return startListening(t, "127.0.0.1:0") }

func startListening(t *testing.T, address string) running {
	t.Helper()
	file := write(t, "sngate.toml", `listener = [{ address = "`+address+`" }]
store.path = ""
embedded_broker.address = "127.0.0.1:0"
ops.address = "127.0.0.1:0"
log.format = "json"
session.message_rate = 0
`)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	var stderr lockedBuffer
	go func() { ended <- run(ctx, []string{"run", "-c", file}, strings.NewReader(""), &stderr, &stderr) }()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitOK {
			t.Errorf("the gateway ends with code %d", code)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		stderr.mu.Lock()
		text := stderr.b.String()
		stderr.mu.Unlock()
		found := make(map[string]string)
		for line := range strings.Lines(text) {
			var l struct{ Message, Addr string }
			if json.Unmarshal([]byte(line), &l) == nil {
				found[l.Message] = l.Addr
			}
		}
		if found["metrics and health"] != "" {
			_, port, _ := net.SplitHostPort(found["listening"])
			return running{port, found["built-in broker"], found["metrics and health"]}
		}
	}
	t.Fatal("the gateway does not start")
	return running{}
}

// bench runs one load and returns its result.
func (g running) bench(t *testing.T, args ...string) (r loadgen.Result) {
	t.Helper()
	common := []string{"bench", "--json", "-p", g.port, "--broker", g.broker, "--ops", g.ops, "--retry-interval", "5", "--warm-up", "0.05", "--hold", "0.2"}
	code, stdout, stderr := call(t, "", append(common, args...)...)
	if code != exitOK || stderr != "" {
		t.Fatalf("%q: code %d, %q", args, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBenchOfEachModeLosesNothing(t *testing.T) {
	g := startRunning(t)
	for _, mode := range []string{"up", "down", "mixed"} {
		for qos := range 3 {
			for _, rate := range []string{"0", "500"}[:1+qos%2] {
				r := g.bench(t, mode, "-n", "20", "-q", fmt.Sprint(qos), "-r", rate, "--duration", "0.2")
				what := fmt.Sprintf("%s, QoS %d, rate %s", mode, qos, rate)
				if (r.Up != nil) == (mode == "down") || (r.Down != nil) == (mode == "up") {
					t.Fatalf("%s: %+v", what, r)
				}
				for _, s := range []*loadgen.Stream{r.Up, r.Down} {
					if s != nil && (s.Sent < 20 || s.Lost != 0 || s.Duplicates != 0 || s.Reordered != 0 || s.EndToEnd == nil) {
						t.Errorf("%s: %+v", what, *s)
					}
				}
				if acked := mode != "down" && qos > 0; acked != (r.Ack != nil) || acked && r.Acknowledged != r.Up.Sent {
					t.Errorf("%s: %d acknowledged, %+v", what, r.Acknowledged, r.Ack)
				}
				if r.Connect.Connected != 20 || r.Connect.Connack == nil || r.Invalid+r.Refused+r.GivenUp+r.Disconnects != 0 || r.Gateway.Goroutines < 20 {
					t.Errorf("%s: %+v", what, r)
				}
			}
		}
	}
}

func TestBenchConnectsAndSleeps(t *testing.T) {
	g := startRunning(t)
	r := g.bench(t, "connect", "-n", "50", "--at-once", "50")
	if r.Connect.Connected != 50 || r.Connect.PerSecond <= 0 || r.Gateway.Bytes == 0 || r.Up != nil || r.Down != nil {
		t.Errorf("%+v", r)
	}
	r = g.bench(t, "sleep", "-n", "20", "--messages", "5")
	if s := r.Sleep; s == nil || s.Early != 0 || s.FirstWake != 100 || s.Incomplete != 0 || s.Wake == nil || r.Down.Lost+r.Down.Duplicates+r.Down.Reordered != 0 {
		t.Errorf("%+v, %+v", s, r.Down)
	}
}

// Where the gateway is not at 127.0.0.0/8, each device has a socket.
func TestBenchOverIPv6(t *testing.T) {
	g := startListening(t, "[::1]:0")
	r := g.bench(t, "mixed", "-h", "::1", "-n", "200", "-r", "1000", "--duration", "0.5")
	if r.Connect.Connected != 200 || r.Up.Sent < 200 || r.Up.Lost+r.Up.Duplicates+r.Down.Lost+r.Down.Duplicates != 0 {
		t.Errorf("%+v, up %+v, down %+v", r, r.Up, r.Down)
	}
}

// A network that loses datagrams costs repeats, and nothing is lost but of QoS 0.
func TestBenchSimulatesLoss(t *testing.T) {
	g := startRunning(t)
	r := g.bench(t, "up", "-n", "20", "-q", "2", "-r", "300", "--duration", "0.5", "--loss", "5", "--retry-interval", "0.2", "--retry-count", "20")
	if r.Up.Lost != 0 || r.Up.Duplicates != 0 || r.ThrownAway == 0 || r.Repeats+r.Connect.Repeats == 0 {
		t.Errorf("%+v, %+v", r, r.Up)
	}
}

func TestBenchTellsPeople(t *testing.T) {
	g := startRunning(t)
	code, stdout, stderr := call(t, "", "bench", "mixed", "-n", "5", "-r", "200", "--duration", "0.2", "--warm-up", "0.1", "-p", g.port, "--broker", g.broker, "--ops", g.ops)
	if code != exitOK || stderr != "" {
		t.Fatalf("code %d, %q", code, stderr)
	}
	for _, want := range []string{
		"mixed, 5 devices, QoS 1, 32 octets, 200 messages per second, 0 % loss\n", "5 of 5 in ", "\nup ", "\ndown ", " 0 lost, 0 duplicates, 0 out of order\n",
		"\nup latency ", "\nacknowledgement ", "\nsent late ", "us per message", "octets per device",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	for _, bad := range []string{"%!", "<nil>", "NaN"} {
		if strings.Contains(stdout, bad) {
			t.Errorf("%q in:\n%s", bad, stdout)
		}
	}
}

func TestBenchShowsItsProgressOnOneLine(t *testing.T) {
	var b bytes.Buffer
	showProgress(&b, loadgen.Progress{Phase: "measuring", Connected: 5, Sent: 7, Received: 6, Repeats: 1})
	want := "\r\x1b[Kmeasuring: 5 devices connected, 7 messages sent, 6 received, 1 repeats"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestBenchFailures(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, port, _ := net.SplitHostPort(silent.LocalAddr().String())
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := nobody.Addr().String()
	nobody.Close()
	for _, tc := range []struct{ args, want string }{
		{"connect -n 3 -p " + port + " --retry-interval 0.01 --retry-count 1", "no device could connect"},
		{"up -n 3 -p " + port + " --broker " + closed, "the broker: "},
		{"connect -n 3 -p " + port + " --ops " + closed, "the metrics of the gateway: "},
		{"connect -n 3 -p " + port + " --pid 2147483647", "process 2147483647: "},
		{"up -u x --password-file no/such.file", "no/such.file"},
	} {
		code, stdout, stderr := call(t, "", append([]string{"bench"}, strings.Fields(tc.args)...)...)
		if code != exitFailure || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: code %d, %q, %q, want %q", tc.args, code, stdout, stderr, tc.want)
		}
	}
}

func TestBenchInterrupted(t *testing.T) {
	g := startRunning(t)
	ctx, interrupt := context.WithCancel(t.Context())
	time.AfterFunc(time.Second/2, interrupt)
	var stdout, stderr lockedBuffer
	code := run(ctx, []string{"bench", "up", "-n", "5", "--duration", "600", "-p", g.port, "--broker", g.broker}, strings.NewReader(""), &stdout, &stderr)
	if code != exitFailure || stdout.b.Len() != 0 || stderr.b.String() != "sngate bench: interrupted\n" {
		t.Errorf("code %d, %q, %q", code, stdout.b.String(), stderr.b.String())
	}
}
