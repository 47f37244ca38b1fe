//go:build unix

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sngate/test/testgateway"
)

const hangupConfig = `listener = [{ address = "127.0.0.1:0" }]
embedded_broker.address = "127.0.0.1:0"
ops.address = ""
log.format = "json"
`

// startReading starts a program that reads its configuration from a pipe. When it returns
// the program waits for what the test writes into the pipe.
func startReading(t *testing.T, command ...string) (*testgateway.Process, *os.File) {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "sngate.toml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	command = append(command, "run", "-c", pipe)
	p := testgateway.StartProcess(t, testgateway.Command{Name: command[0], Args: command[1:]})
	file, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for a reader
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return p, file
}

func hangups(p *testgateway.Process) int {
	return strings.Count(p.Stderr.String(), "ignoring SIGHUP")
}

// Whoever closes a terminal or expects a reload sends SIGHUP. It is logged, and neither
// ends the gateway, nor keeps it from starting or stopping.
func TestHangupNeverEndsTheGateway(t *testing.T) {
	t.Parallel()
	nohup, err := exec.LookPath("nohup")
	if err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string][]string{"plain": {built.check}, "nohup": {nohup, built.check}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, config := startReading(t, command...)
			p.Signal(syscall.SIGHUP) // it is reading its configuration
			if _, err := config.WriteString(hangupConfig); err != nil {
				t.Fatal(err)
			}
			if err := config.Close(); err != nil {
				t.Fatal(err)
			}
			testgateway.Eventually(t, "the SIGHUP of the start is logged", func() bool { return hangups(p) == 1 })
			testgateway.Eventually(t, "the gateway is connected to its broker", func() bool {
				return strings.Contains(p.Stderr.String(), "connected to the broker")
			})
			for n := 2; n < 5; n++ {
				p.Signal(syscall.SIGHUP)
				testgateway.Eventually(t, fmt.Sprintf("SIGHUP %d is logged", n), func() bool { return hangups(p) == n })
			}
			p.Signal(syscall.SIGTERM)
			for running := true; running; { // to the very end
				running = p.Cmd.Process.Signal(syscall.SIGHUP) == nil
				time.Sleep(testgateway.Tick / 10)
			}
			p.WantExit(0)
			if log := p.Stderr.String(); !strings.Contains(log, "sngate stopped") {
				t.Errorf("it did not stop in good order:\n%s", log)
			}
		})
	}
}

// The reader of the log ends: a pager that is left, a terminal that closes.
func TestLogThatNobodyReadsDoesNotEndTheGateway(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	config := writeFile(t, "sngate.toml", hangupConfig)
	cmd := exec.Command(built.check, "run", "-c", config)
	cmd.Dir, cmd.Stderr = t.TempDir(), write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }() // fails where it has ended
	lines := bufio.NewScanner(read)
	for lines.Scan() && !strings.Contains(lines.Text(), "connected to the broker") {
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // each is a line that cannot be written
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * testgateway.Tick)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(testgateway.Patience):
		t.Error("it did not end")
	}
}

// The commands of a user at a terminal end with it, as usual.
func TestHangupEndsTheClients(t *testing.T) {
	t.Parallel()
	// Where these tests run under nohup, a program would inherit that the signal is ignored; one
	// that is caught it gets as it is by default.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, port, err := net.SplitHostPort(silent.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := sngate(t, "sub", "-t", "x", "-h", "127.0.0.1", "-p", port)
	if _, _, err := silent.ReadFrom(make([]byte, 100)); err != nil { // its CONNECT
		t.Fatal(err)
	}
	p.Signal(syscall.SIGHUP)
	if code := p.Wait(testgateway.Patience); code != -1 {
		t.Errorf("it ended with code %d, not by the signal", code)
	}
}
