package testgateway

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

	"sngate/internal/secretstest"
)

// Patience is how long the tests wait for what should happen at once. It is generous,
// because the machine may be busy; nothing passes because of it.
const Patience = 20 * time.Second

// Tick is the interval at which conditions are looked at.
const Tick = 5 * time.Millisecond

// Eventually waits until cond holds and fails the test if it does not within patience.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	Within(t, Patience, what, cond)
}

func Within(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(Tick)
	}
}

// Output keeps what a process writes.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *Output) Lines() []string {
	text := strings.TrimSuffix(o.String(), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// Process is a program the test has started.
type Process struct {
	t              testing.TB
	Cmd            *exec.Cmd
	Stdout, Stderr *Output
	exited         chan struct{} // closed when it has ended and been waited for
	began          time.Time
	secrets        secretstest.Search
}

// Command is what to start.
type Command struct {
	Name  string
	Args  []string
	Stdin io.Reader
	Env   []string // added to the environment
	Dir   string   // where it works; "": a new empty one
}

// StartProcess starts a program. It is killed when the test ends, if it still runs, and the
// secrets in its configuration are not to be found in anything it has written.
func StartProcess(t testing.TB, c Command) *Process {
	t.Helper()
	p := &Process{t: t, Cmd: exec.Command(c.Name, c.Args...), Stdout: &Output{}, Stderr: &Output{}, exited: make(chan struct{})}
	p.Cmd.Stdin, p.Cmd.Stdout, p.Cmd.Stderr = c.Stdin, p.Stdout, p.Stderr
	// A program with the race detector would wait a second at its end.
	p.Cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), c.Env...)
	p.Cmd.Dir = c.Dir
	if c.Dir == "" {
		p.Cmd.Dir = t.TempDir()
	}
	p.Cmd.WaitDelay = Patience
	p.began = time.Now()
	p.learnSecrets()
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Cmd.Wait() // the exit code is looked at by those who care
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.Kill()
		p.wantNoSecrets()
	})
	return p
}

// Kill ends the process at once, if it still runs.
func (p *Process) Kill() {
	select {
	case <-p.exited:
	default:
		_ = p.Cmd.Process.Kill() // fails only if it has just ended
		<-p.exited
	}
}

func (p *Process) Signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.Cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal %v: %v", sig, err)
	}
}

// Wait waits for the end and returns the exit code.
func (p *Process) Wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.Cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("%v did not end within %v; standard error:\n%s", p.Cmd.Args, limit, p.Stderr)
		return -1
	}
}

// WantExit waits for the end and checks the exit code.
func (p *Process) WantExit(code int) {
	p.t.Helper()
	if got := p.Wait(Patience); got != code {
		p.t.Fatalf("%v ended with code %d, want %d; standard output:\n%s\nstandard error:\n%s",
			p.Cmd.Args, got, code, p.Stdout, p.Stderr)
	}
}
