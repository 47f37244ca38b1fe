package testgateway

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds the program into dir and returns its path: nearly as it is shipped, or with the
// race detector. opts are more options of "go build"; what is shipped has "-pgo" too, which
// makes it faster and its compilation longer.
func Build(dir string, race bool, opts ...string) (string, error) {
	path, env, args := filepath.Join(dir, "sngate"), "CGO_ENABLED=0", []string{"-trimpath"}
	if race {
		path, env, args = filepath.Join(dir, "sngate-race"), "CGO_ENABLED=1", []string{"-race"}
	}
	cmd := exec.Command("go", append(append([]string{"build", "-o", path}, append(args, opts...)...), "sngate/cmd/sngate")...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}
