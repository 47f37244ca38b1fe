package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"sngate/test/mosquitto"
	"sngate/test/testgateway"
)

// bench is a gateway with a broker, and the command-line clients of both sides.
type bench struct {
	*testgateway.Gateway
	t          *testing.T
	broker     *mosquitto.Broker
	brokerPort string
	subscribed int // SUBACKs of the gateway so far
}

func newBench(t *testing.T) *bench {
	t.Helper()
	broker := mosquitto.Start(t, mosquitto.Options{})
	g := startGateway(t, broker.URL(), testgateway.Settings{"topics.predefined": `[{id = 7, name = "site/alarm"}]`})
	g.AwaitReady(200)
	_, port, err := net.SplitHostPort(broker.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return &bench{Gateway: g, t: t, broker: broker, brokerPort: port}
}

// pub runs "sngate pub", which has to succeed.
func (b *bench) pub(stdin string, args ...string) {
	b.t.Helper()
	args = append([]string{"pub", "-p", b.Port()}, args...)
	testgateway.StartProcess(b.t, testgateway.Command{Name: built.check, Args: args, Stdin: strings.NewReader(stdin)}).WantExit(0)
}

// sub starts "sngate sub" and waits until it has subscribed.
func (b *bench) sub(args ...string) *testgateway.Process {
	b.t.Helper()
	p := sngate(b.t, append([]string{"sub", "-p", b.Port()}, args...)...)
	b.subscribed++
	b.Await(`sngate_messages_total{direction="out",type="SUBACK"}`, float64(b.subscribed))
	return p
}

func (b *bench) mosquittoPub(args ...string) {
	b.t.Helper()
	args = append([]string{"-h", "127.0.0.1", "-p", b.brokerPort}, args...)
	testgateway.StartProcess(b.t, testgateway.Command{Name: "mosquitto_pub", Args: args}).WantExit(0)
}

// mosquittoSub starts mosquitto_sub and waits until it has subscribed. It prints topic,
// QoS, retain flag and payload.
func (b *bench) mosquittoSub(id string, args ...string) *testgateway.Process {
	b.t.Helper()
	args = append([]string{"-h", "127.0.0.1", "-p", b.brokerPort, "-i", id, "-q", "2", "-F", "%t %q %r %p"}, args...)
	p := testgateway.StartProcess(b.t, testgateway.Command{Name: "mosquitto_sub", Args: args})
	testgateway.Eventually(b.t, "mosquitto_sub has subscribed", func() bool {
		return strings.Contains(b.broker.Log(), "Sending SUBACK to "+id)
	})
	return p
}

// wantLines waits until a process has printed these lines, and no others.
func wantLines(t *testing.T, p *testgateway.Process, lines ...string) {
	t.Helper()
	testgateway.Eventually(t, fmt.Sprintf("%v prints %d lines; it has printed: %q", p.Cmd.Args, len(lines), p.Stdout.Lines()),
		func() bool { return len(p.Stdout.Lines()) >= len(lines) })
	if got := strings.Join(p.Stdout.Lines(), "\n"); got != strings.Join(lines, "\n") {
		t.Fatalf("%v prints\n%s\nwant\n%s", p.Cmd.Args, got, strings.Join(lines, "\n"))
	}
}

func TestPubReachesMosquittoSub(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	watcher := b.mosquittoSub("watcher", "-t", "#")
	var expect []string
	step := func(lines ...string) {
		t.Helper()
		expect = append(expect, lines...)
		wantLines(t, watcher, expect...)
	}
	b.pub("", "--predefined", "7", "-m", "fire", "-q", "-1")
	step("site/alarm 0 0 fire")
	b.pub("", "-t", "ab", "-m", "21.5", "-q", "-1")
	step("ab 0 0 21.5")
	for _, qos := range []string{"0", "1", "2"} {
		b.pub("", "-t", "site/hall 3", "-m", "text "+qos, "-q", qos, "-i", "me", "-k", "5")
		step("site/hall 3 " + qos + " 0 text " + qos)
	}
	b.pub("", "--predefined", "7", "-m", "out", "-q", "2")
	step("site/alarm 2 0 out")
	b.pub("", "--short", "-t", "xy", "-m", "short", "-q", "1")
	step("xy 1 0 short")
	b.pub("one\ntwo\n\nthree", "-t", "lines", "-l", "-q", "1")
	step("lines 1 0 one", "lines 1 0 two", "lines 1 0 ", "lines 1 0 three")
	b.pub("1\n2\n", "--predefined", "7", "-l", "-q", "-1")
	step("site/alarm 0 0 1", "site/alarm 0 0 2")
	b.pub("whole input", "-t", "in", "-s")
	step("in 0 0 whole input")
	b.pub("", "-t", "file", "-f", writeFile(t, "message", "from a file"))
	step("file 0 0 from a file")

	b.pub("", "-t", "kept", "-m", "stays", "-r", "-q", "1")
	step("kept 1 0 stays")
	late := b.mosquittoSub("late", "-t", "kept", "-C", "1")
	late.WantExit(0)
	wantLines(t, late, "kept 1 1 stays")
	b.pub("", "-t", "kept", "-n", "-r", "-q", "1")
	step("kept 1 0 ")
	b.mosquittoPub("-t", "kept", "-m", "live")
	step("kept 0 0 live")
}

func TestSubPrintsWhatMosquittoPubSends(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.sub("-t", "site/#", "-v", "-C", "3", "-q", "2")
	b.mosquittoPub("-t", "site/a", "-m", "zero")
	b.mosquittoPub("-t", "site/b", "-m", "one", "-q", "1")
	b.mosquittoPub("-t", "site/a", "-m", "two", "-q", "2")
	p.WantExit(0)
	wantLines(t, p, "site/a zero", "site/b one", "site/a two")

	p = b.sub("--predefined", "7", "-v", "-C", "1")
	b.mosquittoPub("-t", "site/alarm", "-m", "fire")
	p.WantExit(0)
	wantLines(t, p, "#7 fire")

	b.mosquittoPub("-t", "kept", "-m", "old", "-r")
	p = b.sub("-t", "kept", "-C", "1")
	p.WantExit(0)
	wantLines(t, p, "old")
	p = b.sub("-t", "kept", "-R", "-C", "1")
	b.mosquittoPub("-t", "kept", "-m", "new", "-r")
	p.WantExit(0)
	wantLines(t, p, "new")

	p = b.sub("-t", "nothing", "-W", "1")
	p.WantExit(27)
	if p.Stderr.String() != "Timed out\n" || p.Stdout.String() != "" {
		t.Errorf("sub -W prints %q and %q", p.Stdout, p.Stderr)
	}
}

func TestSubWillIsPublishedWhenTheProgramDies_Case47(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	heir := b.mosquittoSub("heir", "-t", "wills")
	p := b.sub("-t", "x", "-k", "1", "-i", "doomed", "--will-topic", "wills", "--will-payload", "sub is gone", "--will-qos", "1", "--will-retain")
	p.Kill()
	wantLines(t, heir, "wills 1 0 sub is gone")
	late := b.mosquittoSub("late", "-t", "wills", "-C", "1")
	late.WantExit(0)
	wantLines(t, late, "wills 1 1 sub is gone")
}

func TestSubSleepsAndFetches_Case127(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.sub("-t", "night", "-q", "1", "--sleep", "1", "-C", "3", "-i", "sleeper", "-c")
	for i := range 3 {
		b.Await(testgateway.SessionsIn("asleep"), 1)
		b.mosquittoPub("-t", "night", "-q", "1", "-m", fmt.Sprint("message ", i))
	}
	p.WantExit(0)
	wantLines(t, p, "message 0", "message 1", "message 2")
}

// Without a gateway the clients say so and end.
func TestClientsWithoutGatewayFailClearly(t *testing.T) {
	t.Parallel()
	port := fmt.Sprint(testgateway.FreeUDPPort(t))
	for _, args := range [][]string{
		{"pub", "-p", port, "-t", "x", "-m", "y"},
		{"sub", "-p", port, "-t", "x"},
	} {
		p := sngate(t, args...)
		p.WantExit(1)
		if lines := p.Stderr.Lines(); len(lines) != 1 || !strings.Contains(lines[0], "cannot connect to the gateway at 127.0.0.1 port "+port) {
			t.Errorf("sngate %v says %q", args, p.Stderr)
		}
	}
}
