package crash

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

var (
	killsFlag = flag.Int("crash.kills", 100, "how often to kill, 1 to 100000")
	whatFlag  = flag.String("crash.what", "any", "what to kill: gateway, broker, both or any")
	seedFlag  = flag.Uint64("crash.seed", 0, "repeat the schedule of this `seed`; 0: a new one")
)

// program is the built gateway. It is set before the first test and then only read.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sngate-crash-build-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "sngate")
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, "sngate/cmd/sngate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
