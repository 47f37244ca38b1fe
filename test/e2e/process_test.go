package e2e

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long the tests wait for what should happen at once. It is generous,
// because the machine may be busy; nothing passes because of it.
const patience = 20 * time.Second

// tick is the interval at which conditions are looked at.
const tick = 5 * time.Millisecond

// eventually waits until cond holds and fails the test if it does not within patience.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	within(t, patience, what, cond)
}

func within(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(tick)
	}
}

// output keeps what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) lines() []string {
	text := strings.TrimSuffix(o.String(), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// process is a program the test has started.
type process struct {
	t              testing.TB
	cmd            *exec.Cmd
	stdout, stderr *output
	exited         chan struct{} // closed when it has ended and been waited for
}

// command is what to start.
type command struct {
	name  string
	args  []string
	stdin io.Reader
	env   []string // added to the environment
	dir   string   // "": a new empty one
}

// start starts a program. It is killed when the test ends, if it still runs.
func start(t testing.TB, c command) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(c.name, c.args...), stdout: &output{}, stderr: &output{}, exited: make(chan struct{})}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = c.stdin, p.stdout, p.stderr
	// A program with the race detector would wait a second at its end.
	p.cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), c.env...)
	p.cmd.Dir = c.dir
	if c.dir == "" {
		p.cmd.Dir = t.TempDir()
	}
	p.cmd.WaitDelay = patience
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is looked at by those who care
		close(p.exited)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends the process at once, if it still runs.
func (p *process) kill() {
	select {
	case <-p.exited:
	default:
		_ = p.cmd.Process.Kill() // fails only if it has just ended
		<-p.exited
	}
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal %v: %v", sig, err)
	}
}

// wait waits for the end and returns the exit code.
func (p *process) wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("%v did not end within %v; standard error:\n%s", p.cmd.Args, limit, p.stderr)
		return -1
	}
}

// wantExit waits for the end and checks the exit code.
func (p *process) wantExit(code int) {
	p.t.Helper()
	if got := p.wait(patience); got != code {
		p.t.Fatalf("%v ended with code %d, want %d; standard output:\n%s\nstandard error:\n%s",
			p.cmd.Args, got, code, p.stdout, p.stderr)
	}
}

// sngate starts the program with arguments.
func sngate(t testing.TB, args ...string) *process {
	t.Helper()
	return start(t, command{name: built.check, args: args})
}
