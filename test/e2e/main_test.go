// Package e2e tests sngate as its users meet it: the built program as a process of its
// own, devices on UDP sockets, and a real mosquitto as the broker.
//
// Every test starts its own gateway and broker on free ports of the loopback interface
// and ends them, by process id, when it is over. Tests that would disturb each other's
// timing or measurements do not call t.Parallel; the others do, and -parallel bounds
// how many run at once.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// programs are the built binaries. They are set before the first test and then only
// read.
type programs struct {
	plain string // as it is shipped
	check string // with the race detector if the tests themselves have it, else plain
}

var built programs

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sngate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := run(m, dir)
	os.RemoveAll(dir)
	os.Exit(code)
}

func run(m *testing.M, dir string) int {
	var err error
	if built, err = build(dir); err == nil {
		err = raiseDescriptorLimit()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if code := m.Run(); code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func build(dir string) (programs, error) {
	p := programs{plain: filepath.Join(dir, "sngate")}
	p.check = p.plain
	err := goBuild(p.plain, "CGO_ENABLED=0", "-trimpath")
	if err == nil && raceEnabled {
		p.check = filepath.Join(dir, "sngate-race")
		err = goBuild(p.check, "CGO_ENABLED=1", "-race")
	}
	return p, err
}

func goBuild(path, env string, args ...string) error {
	args = append([]string{"build", "-o", path}, append(args, "sngate/cmd/sngate")...)
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// raiseDescriptorLimit lets this process and its children have as many descriptors as
// the system allows: the tests with 1,000 devices need more than the usual 1,024. The
// Go runtime raises its own limit by itself, but not that of children.
func raiseDescriptorLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}
