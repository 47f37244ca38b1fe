// Package outage has a test for each row of the outage table in docs/RELIABILITY.md that needs
// the built program: as a process of its own, with devices on UDP sockets, a real mosquitto,
// and a store in a file. The rows that need simulated time are tested in package gateway.
//
// The troubles are made by ending processes by their id, by a relay between gateway and
// broker, and by what is done to the file of the store.
package outage

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"sngate/test/testgateway"
)

// program is the built gateway. It is set before the first test and then only read.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sngate-outage-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if program, err = testgateway.Build(dir, false); err != nil {
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
