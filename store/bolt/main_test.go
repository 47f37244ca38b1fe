//go:build linux

package bolt

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childEnv makes the test binary play a part of its own: the process that is killed,
// that holds the lock, that runs out of space.
const childEnv = "SNGATE_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if part := os.Getenv(childEnv); part != "" {
		os.Exit(runChild(part, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}
