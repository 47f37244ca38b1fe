// Package mosquitto starts a real mosquitto broker for end-to-end tests.
//
// Each broker is its own process on a free loopback port with a temporary
// configuration, and ends with the test that started it. Tests that need the
// broker fail, never skip, where the program is missing: a green run then
// always means that the real broker was there.
package mosquitto

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 10 * time.Second
	stopTimeout  = 10 * time.Second
	pollInterval = 10 * time.Millisecond
	startTries   = 5
)

// Options configure one broker. The zero value is an anonymous broker that
// keeps everything in memory, with mosquitto's own defaults.
type Options struct {
	// Persistence is the directory of mosquitto's database; "" keeps all in
	// memory. With a directory every change is saved at once, so that state
	// outlives Kill as well as Stop. (Mosquitto saves after it has answered: a
	// message acknowledged within the last millisecond before Kill may be gone.)
	Persistence string

	// MaxInflight is the number of unacknowledged QoS 1 and 2 messages the
	// broker has outstanding per client; 0 is mosquitto's default of 20.
	MaxInflight int

	// Users maps user names to passwords. Empty: anonymous access. Otherwise
	// anonymous clients are refused.
	Users map[string]string

	// Extra lines are appended to the configuration file as they are.
	Extra []string
}

// Broker is one broker. Its methods are for the test's own goroutine only.
type Broker struct {
	t       testing.TB
	program string
	config  string // path of the configuration file, made anew for each port
	port    int
	log     *tail
	run     *process // nil while the broker is down
}

// process is one run of the program. exited is closed once it has been waited
// for; err may be read only after that.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// Start starts a broker and returns once it accepts connections. It calls
// t.Fatal if mosquitto is not installed or does not come up, and ends the
// broker when the test ends. The broker's log is shown if the test failed.
func Start(t testing.TB, opts Options) *Broker {
	t.Helper()
	program, err := locate(fallbackDirs())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := &Broker{t: t, program: program, config: filepath.Join(dir, "mosquitto.conf"), log: newTail(64 << 10)}
	t.Cleanup(func() {
		b.Kill()
		if t.Failed() {
			t.Logf("log of mosquitto on port %d, newest last:\n%s", b.port, b.log)
		}
	})
	// Another process may take the port between our look and mosquitto's bind,
	// hence more than one try.
	for range startTries {
		if b.port, err = freePort(); err != nil {
			t.Fatal(err)
		}
		if err = b.configure(dir, opts); err != nil {
			t.Fatal(err)
		}
		if err = b.start(); err == nil {
			return b
		}
		if !strings.Contains(b.log.String(), "Address already in use") {
			break
		}
	}
	t.Fatalf("%v\nlog of mosquitto:\n%s", err, b.log)
	return nil
}

// Addr is the broker's address, "127.0.0.1:port". It stays the same over Restart.
func (b *Broker) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port)) }

// URL is the broker's address in the form of the configuration key broker.url.
func (b *Broker) URL() string { return "tcp://" + b.Addr() }

// Log is the tail of the broker's log, of all its runs.
func (b *Broker) Log() string { return b.log.String() }

// Process is the broker's current run, for signals; nil while the broker is down. Signals
// may be sent from any goroutine.
func (b *Broker) Process() *os.Process {
	if b.run == nil {
		return nil
	}
	return b.run.cmd.Process
}

// Kill ends the broker at once (SIGKILL), as a power cut would, and returns
// when the process is gone. It does nothing while the broker is down.
func (b *Broker) Kill() {
	if b.run == nil {
		return
	}
	_ = b.run.cmd.Process.Kill() // fails only if it has ended already
	<-b.run.exited
	b.run = nil
}

// Stop ends the broker in good order (SIGTERM) and returns when the process is
// gone. It does nothing while the broker is down.
func (b *Broker) Stop() {
	b.t.Helper()
	if b.run == nil {
		return
	}
	_ = b.run.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.run.exited:
		b.run = nil
	case <-time.After(stopTimeout):
		b.Kill()
		b.t.Fatalf("mosquitto did not stop within %v of SIGTERM", stopTimeout)
	}
}

// Restart starts the broker again on the same port with the same
// configuration, after Stop if it is still running.
func (b *Broker) Restart() {
	b.t.Helper()
	b.Stop()
	if err := b.start(); err != nil {
		b.t.Fatalf("%v\nlog of mosquitto:\n%s", err, b.log)
	}
}

func (b *Broker) configure(dir string, opts Options) error {
	lines := []string{
		fmt.Sprintf("listener %d 127.0.0.1", b.port),
		"log_dest stderr",
		"log_type all",
	}
	if os.Geteuid() == 0 {
		// Started by root, mosquitto would become user "mosquitto", who may not
		// enter the test's temporary directories.
		lines = append(lines, "user root")
	}
	if opts.Persistence != "" {
		lines = append(lines, "persistence true",
			"persistence_location "+filepath.Clean(opts.Persistence)+string(filepath.Separator),
			"autosave_on_changes true", "autosave_interval 1")
	}
	if opts.MaxInflight > 0 {
		lines = append(lines, fmt.Sprintf("max_inflight_messages %d", opts.MaxInflight))
	}
	if len(opts.Users) == 0 {
		lines = append(lines, "allow_anonymous true")
	} else {
		file := filepath.Join(dir, "passwords")
		if err := os.WriteFile(file, passwordFile(opts.Users), 0o600); err != nil {
			return err
		}
		lines = append(lines, "allow_anonymous false", "password_file "+file)
	}
	lines = append(lines, opts.Extra...)
	return os.WriteFile(b.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// start runs the program and waits until it accepts a connection.
func (b *Broker) start() error {
	run := &process{cmd: exec.Command(b.program, "-c", b.config), exited: make(chan struct{})}
	run.cmd.Stderr = b.log
	run.cmd.Stdout = b.log
	if err := run.cmd.Start(); err != nil {
		return fmt.Errorf("start mosquitto: %w", err)
	}
	go func() {
		run.err = run.cmd.Wait()
		close(run.exited)
	}()
	b.run = run

	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		conn, err := net.DialTimeout("tcp", b.Addr(), startTimeout)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-run.exited:
			b.run = nil
			return fmt.Errorf("mosquitto ended before it accepted connections: %v", run.err)
		case <-deadline.C:
			b.Kill()
			return fmt.Errorf("mosquitto accepts no connection after %v: %w", startTimeout, err)
		case <-tick.C:
		}
	}
}

// fallbackDirs are places outside of an ordinary user's PATH where packages
// put the broker.
func fallbackDirs() []string {
	return []string{"/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"}
}

func locate(fallback []string) (string, error) {
	if path, err := exec.LookPath("mosquitto"); err == nil {
		return path, nil
	}
	for _, dir := range fallback {
		if path, err := exec.LookPath(filepath.Join(dir, "mosquitto")); err == nil {
			return path, nil
		}
	}
	return "", errors.New("mosquitto is not installed: run \"make deps\" or install the package mosquitto (tests with the real broker do not skip)")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
