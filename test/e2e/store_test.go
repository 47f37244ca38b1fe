package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sngate/test/testgateway"
)

// onStore starts sngate with its store at path, and otherwise on free ports by its
// environment alone. Unlike startGateway it leaves the end to the test.
func onStore(t testing.TB, path string) *testgateway.Process {
	t.Helper()
	return testgateway.StartProcess(t, testgateway.Command{Name: built.check, Args: []string{"run"}, Env: []string{
		"SNGATE_STORE_PATH=" + path,
		`SNGATE_LISTENER=[{address = "127.0.0.1:0"}]`,
		"SNGATE_EMBEDDED_BROKER_ADDRESS=127.0.0.1:0",
		"SNGATE_OPS_ADDRESS=127.0.0.1:0",
		"SNGATE_LOG_FORMAT=json",
	}})
}

// storeLine waits for the start and returns the log's line about the store.
func storeLine(t testing.TB, p *testgateway.Process) testgateway.LogLine {
	t.Helper()
	g := &testgateway.Gateway{Process: p}
	g.AwaitStart()
	for _, l := range g.LogLines() {
		if strings.HasPrefix(l.Message, "store ") {
			return l
		}
	}
	t.Fatalf("nothing about the store in\n%s", p.Stderr)
	return testgateway.LogLine{}
}

func TestStoreOutlivesAKillAndDamage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sngate.db")
	p := onStore(t, path)
	if l := storeLine(t, p); l.Level != "info" || !strings.Contains(l.Message, "new file") {
		t.Errorf("the first start says %+v", l)
	}
	p.Kill()

	p = onStore(t, path)
	if l := storeLine(t, p); l.Level != "info" || !strings.Contains(l.Message, " records in ") {
		t.Errorf("the start after a kill says %+v", l)
	}
	p.Kill()

	if err := os.WriteFile(path, make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	p = onStore(t, path)
	if l := storeLine(t, p); l.Level != "error" || !strings.Contains(l.Message, path+".damaged-1") {
		t.Errorf("the start with a damaged file says %+v", l)
	}
	if info, err := os.Stat(path + ".damaged-1"); err != nil || info.Size() != 100_000 {
		t.Errorf("the damaged file: %v", err)
	}
	p.Signal(syscall.SIGTERM)
	p.WantExit(0)
}

func TestTwoGatewaysCannotUseOneStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sngate.db")
	first := onStore(t, path)
	storeLine(t, first)
	second := onStore(t, path)
	second.WantExit(1)
	if log := second.Stderr.String(); !strings.Contains(log, "is another sngate running with the same store.path?") || !strings.Contains(log, path) {
		t.Errorf("the second one says\n%s", log)
	}
	first.Signal(syscall.SIGTERM)
	first.WantExit(0)
}

func TestStoreIsInTheWorkingDirectoryByDefault(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "embedded", testgateway.Settings{"embedded_broker.address": `"127.0.0.1:0"`})
	if _, err := os.Stat(filepath.Join(g.Dir(), "sngate.db")); err != nil {
		t.Error(err)
	}
	if v := g.Value("sngate_store_durable"); v != 1 {
		t.Errorf("sngate_store_durable %v", v)
	}
	memory := startGateway(t, "embedded", testgateway.Settings{"embedded_broker.address": `"127.0.0.1:0"`, "store.path": `""`})
	if v := memory.Value("sngate_store_durable"); v != 0 {
		t.Errorf("in memory: sngate_store_durable %v", v)
	}
	if files, err := os.ReadDir(memory.Dir()); err != nil || len(files) != 0 {
		t.Errorf("in memory: %v, %v", files, err)
	}
}
