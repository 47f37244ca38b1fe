package test

import (
	"debug/buildinfo"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ignoreRules are the lines of .dockerignore: what is left in at the top, and what is left
// out further down.
func ignoreRules(t *testing.T) (in, out []string) {
	t.Helper()
	first := true
	for line := range strings.Lines(readFile(t, ".dockerignore")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, isIn := strings.CutPrefix(line, "!")
		switch {
		case first && line != "*":
			t.Fatalf(".dockerignore begins with %q: what is not named has to be left out", line)
		case first:
		case isIn && strings.ContainsAny(name, "*?[/"):
			// Not every builder looks into a folder that is left out.
			t.Errorf(".dockerignore: %q is no file or folder of the top", line)
		case isIn:
			in = append(in, name)
		case !strings.HasPrefix(line, "**/"):
			t.Errorf(".dockerignore: %q is neither left in nor left out everywhere", line)
		default:
			out = append(out, strings.TrimPrefix(line, "**/"))
		}
		first = false
	}
	return in, out
}

// copyContext copies what a builder of the image gets to see.
func copyContext(t *testing.T, to string) {
	t.Helper()
	in, out := ignoreRules(t)
	for _, name := range in {
		err := filepath.WalkDir(filepath.Join(root, name), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			for _, pattern := range out {
				if match, err := filepath.Match(pattern, d.Name()); err != nil || match {
					if d.IsDir() && err == nil {
						return fs.SkipDir
					}
					return err
				}
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if d.IsDir() {
				return os.MkdirAll(filepath.Join(to, rel), 0o755)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, rel), data, 0o644)
		})
		if err != nil {
			t.Errorf(".dockerignore leaves in %s: %v", name, err)
		}
	}
}

// modules are the modules that a binary was built of, its own not among them.
func modules(t *testing.T, binary string) (list []string) {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		list = append(list, m.Path)
	}
	if !slices.Contains(list, "github.com/rs/zerolog") {
		t.Fatalf("the modules of the binary are %q", list)
	}
	return list
}

// The steps of the Dockerfile that need more than one file are done with what its builder
// gets to see: the binary, and the licences of all that is in it.
func TestImageIsBuiltOfWhatItsBuilderSees(t *testing.T) {
	context, out := t.TempDir(), t.TempDir()
	copyContext(t, context)
	for _, command := range [][]string{
		{"go", "build", "-trimpath", "-buildvcs=false", "-pgo=cmd/sngate/cpu.pgo", "-o", filepath.Join(out, "sngate"), "./cmd/sngate"},
		{"sh", "packaging/licenses.sh", filepath.Join(out, "licenses")},
	} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir, cmd.Env = context, append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, text)
		}
	}
	for _, name := range append(modules(t, filepath.Join(out, "sngate")), "sngate", "go") {
		texts := 0
		err := filepath.WalkDir(filepath.Join(out, "licenses", name), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if info.Size() > 100 && info.Mode().Perm()&0o444 == 0o444 {
				texts++
			}
			return nil
		})
		if err != nil || texts == 0 {
			t.Errorf("%s: %d licence texts, %v", name, texts, err)
		}
	}
	for _, name := range []string{"honnef.co/go/tools", "golang.org/x/vuln", "github.com/google/go-cmp"} {
		if _, err := os.Stat(filepath.Join(out, "licenses", name)); err == nil {
			t.Errorf("%s: a licence of what is not in the binary", name)
		}
	}
	dockerfile := readFile(t, "Dockerfile")
	for _, step := range []string{"RUN sh packaging/licenses.sh /out/licenses\n", "COPY --from=build /out/licenses /usr/share/licenses\n"} {
		if !strings.Contains(dockerfile, step) {
			t.Errorf("the Dockerfile has no %q", step)
		}
	}
}

func TestMissingLicenceIsAFault(t *testing.T) {
	dir := t.TempDir()
	fake := filepath.Join(dir, "go")
	module := filepath.Join(dir, "module")
	script := "#!/bin/sh\ncase $1 in env) echo " + dir + " ;; list) echo example.org/bare " + module + " ;; esac\n"
	for path, text := range map[string]string{fake: script, filepath.Join(dir, "LICENSE"): "a licence", filepath.Join(module, "license.go"): "package x"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "packaging/licenses.sh", filepath.Join(dir, "out"))
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GO="+fake)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "no licence text in "+module) {
		t.Errorf("%v: %s", err, out)
	}
}
