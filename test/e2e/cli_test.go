package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sngate/internal/snclient"
	"sngate/snpacket/sn12"
	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckReportsEveryFaultWithKeyAndLine(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "bad.toml", `[gateway]
id = 256
[broker]
url = "http://127.0.0.1"
[session]
hold = 20
max_topic = 5
[log]
level = "loud"
`)
	p := sngate(t, "check", path)
	p.WantExit(1)
	lines := p.Stderr.Lines()
	wants := []string{":2: gateway.id:", ":4: broker.url:", ":6: session.hold:", ":7: session.max_topic:", ":9: log.level:"}
	if len(lines) != len(wants) {
		t.Fatalf("the faults are reported as:\n%s", p.Stderr)
	}
	for i, w := range wants {
		if !strings.Contains(lines[i], filepath.Base(path)+w) {
			t.Errorf("line %d is %q, want one with %q", i+1, lines[i], w)
		}
	}
	if out := p.Stdout.String(); out != "" {
		t.Errorf("the standard output is %q", out)
	}
	run := sngate(t, "run", "-c", path)
	run.WantExit(1)
	if run.Stderr.String() != p.Stderr.String() {
		t.Errorf("run reports\n%s\nand check\n%s", run.Stderr, p.Stderr)
	}
}

func TestCheckAcceptsTheExampleAndWhatConfigPrints(t *testing.T) {
	t.Parallel()
	config := sngate(t, "config")
	config.WantExit(0)
	for _, path := range []string{
		writeFile(t, "printed.toml", config.Stdout.String()),
		writeFile(t, "empty.toml", ""),
	} {
		p := testgateway.StartProcess(t, testgateway.Command{
			Name: built.check, Args: []string{"check", path},
			Env: []string{"SNGATE_SESSION_MAX_SESSIONS=100"}, // so that the machine has enough descriptors
		})
		p.WantExit(0)
		if p.Stdout.String() != "ok\n" || p.Stderr.String() != "" {
			t.Errorf("check %s says %q and %q", path, p.Stdout, p.Stderr)
		}
	}
}

func TestWrongCommandLineGivesUsageAndCode2(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"start"},
		{"--bogus"},
		{"run", "--bogus"},
		{"run", "-c"},
		{"run", "extra"},
		{"check"},
		{"check", "a.toml", "b.toml"},
		{"pub", "-t", "x"},
		{"pub", "-t", "x", "-m", "y", "-q", "3"},
		{"pub", "-t", "long", "-m", "y", "-q", "-1"},
		{"sub"},
		{"sub", "-t", "x", "-q", "-1"},
		{"sub", "-t", "x", "-p", "0"},
		{"decode"},
		{"version", "extra"},
	} {
		p := sngate(t, args...)
		p.WantExit(2)
		if lines := p.Stderr.Lines(); len(lines) != 2 || !strings.HasPrefix(lines[0], "Usage: ") || !strings.HasPrefix(lines[1], "sngate") {
			t.Errorf("sngate %v says %q, want the usage and in the end a reason", args, lines)
		}
	}
}

func TestHelpAndVersionAndDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--help"}, "Usage:"},
		{[]string{"-h"}, "Usage:"},
		{[]string{"--version"}, "commit "},
		{[]string{"pub", "--help"}, "--predefined"},
		{[]string{"version"}, "sngate "},
		{[]string{"decode", "08 04 04 01 00 3c 6c 33"}, "CONNECT"},
	} {
		p := sngate(t, c.args...)
		p.WantExit(0)
		if !strings.Contains(p.Stdout.String(), c.want) {
			t.Errorf("sngate %v prints %q", c.args, p.Stdout)
		}
	}
}

func TestSigtermTellsDevicesAndClosesSessionsWithoutWills_Case20(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{"gateway.on_stop": `"disconnect"`})
	heir := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#")
	var devices []*device
	for i := range 10 {
		devices = append(devices, connect(t, g.Addr, snclient.Options{
			ClientID: fmt.Sprint("d", i), CleanSession: i%2 == 0,
			Will: &snclient.Will{Topic: fmt.Sprint("wills/", i), Message: []byte("gone"), QoS: uint8(i % 3)},
		}))
	}
	sleeper := devices[0]
	sleeper.must(sleeper.Sleep(sleeper.ctx, time.Minute))

	g.Signal(syscall.SIGTERM)
	begin := time.Now()
	for _, d := range devices[1:] {
		d.wantLost()
	}
	if code := g.Wait(testgateway.StopLimit); code != 0 {
		t.Errorf("the gateway ends with code %d:\n%s", code, g.Stderr)
	}
	t.Logf("stopped %v after SIGTERM", time.Since(begin))
	testgateway.Eventually(t, "the broker has seen all sessions end", func() bool {
		return strings.Count(broker.Log(), "Received DISCONNECT from d") == len(devices)
	})
	heir.WantNothingBefore("wills/fence")
	if s := sleeper.Stats(); s.Unexpected != 0 {
		t.Errorf("the sleeping device was sent %d messages", s.Unexpected)
	}
}

// freeUDP returns an address that nobody uses now.
func freeUDP(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

func TestSigtermKeepsSessionsWithAStore_Case20(t *testing.T) {
	t.Parallel()
	broker := mosquitto.Start(t, mosquitto.Options{})
	s := testgateway.Settings{
		"store.path": strconv.Quote(filepath.Join(t.TempDir(), "sngate.db")),
		"listener":   fmt.Sprintf("[{address = %q}]", freeUDP(t)),
	}
	g := startGateway(t, broker.URL(), s)
	heir := testgateway.ConnectMQTT(t, broker.Addr(), "wills/#")
	nodes := make([]*testgateway.Node, 6)
	for i := range nodes {
		nodes[i] = testgateway.NewNode(t, g.Addr)
		nodes[i].MustConnect(fmt.Sprint("d", i), i%2 == 0, 60)
		nodes[i].Send(sn12.WillTopicUpd{Topic: []byte("wills/changed")})
		testgateway.Want[sn12.WillTopicResp](nodes[i])
	}
	id := nodes[1].Register("up/t") // a session of each kind has one
	if other := nodes[2].Register("up/t"); other != id {
		t.Fatalf("topic ids %d and %d", id, other)
	}
	g.Stop()
	testgateway.Eventually(t, "the broker has seen all sessions end", func() bool {
		return strings.Count(broker.Log(), "Received DISCONNECT from d") == len(nodes)
	})
	heir.WantNothingBefore("wills/fence")
	for _, n := range nodes {
		n.WantSilence("it goes on when the gateway is back")
	}
	startGateway(t, broker.URL(), s)
	for _, n := range nodes[1:3] {
		n.Send(sn12.Publish{QoS: 1, TopicID: id, MsgID: 7, Data: []byte("x")})
		if ack := testgateway.Want[sn12.PubAck](n); ack.ReturnCode != sn12.Accepted || ack.MsgID != 7 {
			t.Errorf("PUBLISH after the restart, without CONNECT, is answered by %+v", ack)
		}
	}
	heir.WantNothingBefore("wills/fence")
}

// SIGTERM while the broker is away must not hang either.
func TestSigtermEndsInTimeWithoutBroker_Case20(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"keep", "disconnect"} {
		broker := mosquitto.Start(t, mosquitto.Options{})
		g := startGateway(t, broker.URL(), testgateway.Settings{"gateway.on_stop": `"` + mode + `"`})
		g.AwaitReady(200)
		d := connect(t, g.Addr, snclient.Options{ClientID: "d", CleanSession: true})
		broker.Kill()
		g.AwaitReady(503)
		g.Stop()
		if mode == "disconnect" {
			d.wantLost()
		}
	}
}

func TestPortInUseIsOneClearErrorAndCode1(t *testing.T) {
	t.Parallel()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for _, c := range []struct{ name, key, value, addr string }{
		{"listener", "SNGATE_LISTENER", fmt.Sprintf("[{address=%q}]", udp.LocalAddr()), udp.LocalAddr().String()},
		{"built-in broker", "SNGATE_EMBEDDED_BROKER_ADDRESS", tcp.Addr().String(), tcp.Addr().String()},
		{"operator's address", "SNGATE_OPS_ADDRESS", tcp.Addr().String(), tcp.Addr().String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := testgateway.StartProcess(t, testgateway.Command{Name: built.check, Env: append(freePorts(), c.key+"="+c.value)})
			p.WantExit(1)
			var faults []string
			for _, line := range p.Stderr.Lines() {
				if !strings.Contains(line, `"level":"info"`) && !strings.Contains(line, `"level":"warn"`) {
					faults = append(faults, line)
				}
			}
			if len(faults) != 1 || !strings.Contains(faults[0], c.addr) || !strings.Contains(faults[0], "address already in use") {
				t.Errorf("want one line of error with %s, got:\n%s", c.addr, p.Stderr)
			}
		})
	}
}

// freePorts is an environment in which the default configuration uses ports that the
// system chooses.
func freePorts() []string {
	return []string{
		`SNGATE_LISTENER=[{address="127.0.0.1:0"}]`,
		"SNGATE_EMBEDDED_BROKER_ADDRESS=127.0.0.1:0",
		"SNGATE_OPS_ADDRESS=127.0.0.1:0",
	}
}

func TestSecretsAreNeverInTheLog_Case169(t *testing.T) {
	t.Parallel()
	const secret, wrong = "open-sesame-4711", "wrong-guess-0815"
	broker := mosquitto.Start(t, mosquitto.Options{Users: map[string]string{"gateway": secret}})
	loud := func(key, value string) testgateway.Settings {
		return testgateway.Settings{"broker.username": `"gateway"`, key: value, "log.level": `"trace"`}
	}
	for name, s := range map[string]testgateway.Settings{
		"password":       loud("broker.password", fmt.Sprintf("%q", secret)),
		"password_file":  loud("broker.password_file", fmt.Sprintf("%q", writeFile(t, "password", secret+"\n"))),
		"wrong password": loud("broker.password", fmt.Sprintf("%q", wrong)),
	} {
		g := startGateway(t, broker.URL(), s)
		n := testgateway.NewNode(t, g.Addr)
		wantCode := sn12.Accepted
		if name == "wrong password" {
			wantCode = sn12.RejectedNotSupported
		}
		if code := n.Connect(sn12.Connect{ClientID: []byte("d"), CleanSession: true, Duration: 60}); code != wantCode {
			t.Fatalf("%s: CONNECT is answered by %v", name, code)
		}
		_, index := g.Get("/")
		_, scrape := g.Get("/metrics")
		g.Stop()
		for _, text := range []string{g.Stderr.String(), g.Stdout.String(), index, scrape} {
			if strings.Contains(text, secret) || strings.Contains(text, wrong) {
				t.Errorf("%s: the secret is in:\n%s", name, text)
			}
		}
		if log := g.Stderr.String(); !strings.Contains(log, "user name ***, password ***") ||
			!strings.Contains(log, `"message":"device connected"`) && name != "wrong password" {
			t.Errorf("%s: the log says nothing of the CONNECT or the session:\n%s", name, g.Stderr)
		}
	}
	check := sngate(t, "check", writeFile(t, "bad.toml", "[broker]\npassword = \""+secret+"\"\npassword_file = \"x\"\nurl = 5\n"))
	check.WantExit(1)
	if strings.Contains(check.Stderr.String(), secret) {
		t.Errorf("check prints the secret:\n%s", check.Stderr)
	}
}
