package brokers

import (
	"fmt"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"sngate/test/testgateway"
)

// broker is a running broker. Its address stays the same over Restart.
type broker interface {
	Addr() string // "host:port"
	URL() string
	Dial() (net.Conn, error)
	Kill() // at once, as a power cut would
	Stop() // in good order
	Restart()
	Log() string
	Login() string // user name and password in one, "": anonymous
}

const (
	startTimeout = 90 * time.Second // of programs that run in a virtual machine, on a busy one
	stopTimeout  = 60 * time.Second
)

// process is a broker that is one process.
type process struct {
	t       testing.TB
	name    string
	addr    string
	login   string
	command testgateway.Command
	run     *testgateway.Process
	log     string // of earlier runs
}

// start runs the program until the test ends.
func start(t testing.TB, name, addr, login string, command testgateway.Command) *process {
	t.Helper()
	b := &process{t: t, name: name, addr: addr, login: login, command: command}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s, newest last:\n%s", name, lastOf(b.Log(), 8000))
		}
	})
	b.Restart()
	return b
}

func lastOf(s string, n int) string { return s[max(0, len(s)-n):] }

func (b *process) Addr() string  { return b.addr }
func (b *process) URL() string   { return "tcp://" + b.addr }
func (b *process) Login() string { return b.login }

func (b *process) Dial() (net.Conn, error) { return net.DialTimeout("tcp", b.addr, time.Second) }

func (b *process) Log() string {
	if b.run == nil {
		return b.log
	}
	return b.log + b.run.Stdout.String() + b.run.Stderr.String()
}

func (b *process) Kill() {
	if b.run != nil {
		b.run.Kill()
		b.log, b.run = b.Log(), nil
	}
}

func (b *process) Stop() {
	b.t.Helper()
	if b.run != nil {
		b.run.Signal(syscall.SIGTERM)
		b.run.Wait(stopTimeout)
		b.log, b.run = b.Log(), nil
	}
}

// Restart starts the program again, after Stop if it still runs, and returns when it
// accepts an MQTT CONNECT: some listen before they are ready.
func (b *process) Restart() {
	b.t.Helper()
	b.Stop()
	b.run = testgateway.StartProcess(b.t, b.command)
	testgateway.Within(b.t, startTimeout, b.name+" accepts CONNECT", func() bool {
		conn, err := b.Dial()
		if err != nil {
			return false
		}
		w := &wire{t: b.t, conn: conn}
		defer w.close()
		w.send(connectPacket(b, "is-it-up", true))
		return w.next(time.Second) == "20020000"
	})
}

// freePort returns a TCP port that was free a moment ago.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func env(pairs ...any) (list []string) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, fmt.Sprintf("%v=%v", pairs[i], pairs[i+1]))
	}
	return list
}
