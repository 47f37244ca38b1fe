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
	"testing"

	"go.uber.org/goleak"

	"sngate/test/testgateway"
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

func build(dir string) (p programs, err error) {
	if p.plain, err = testgateway.Build(dir, false); err != nil || !raceEnabled {
		p.check = p.plain
		return p, err
	}
	p.check, err = testgateway.Build(dir, true)
	return p, err
}

// startGateway runs the program against a broker, see [testgateway.Start].
func startGateway(t testing.TB, broker string, s testgateway.Settings) *testgateway.Gateway {
	t.Helper()
	return testgateway.Start(t, built.check, broker, s)
}

// sngate starts the program with arguments.
func sngate(t testing.TB, args ...string) *testgateway.Process {
	t.Helper()
	return testgateway.StartProcess(t, testgateway.Command{Name: built.check, Args: args})
}
