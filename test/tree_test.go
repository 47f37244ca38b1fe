package test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the project's folder seen from the folder of this package, where go
// test runs it.
const root = ".."

// file is one text file of the project.
type file struct {
	path string // from the project's folder, with slashes
	text string
}

func (f file) isGo() bool   { return strings.HasSuffix(f.path, ".go") }
func (f file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// lines is the number of lines.
func (f file) lines() int { return strings.Count(strings.TrimSuffix(f.text, "\n"), "\n") + 1 }

// tree reads the project's text files, sorted by path: those git knows or would
// add, or, in a tree without git, all but hidden folders (other than .ci) and
// what is built.
func tree(t *testing.T) []file {
	t.Helper()
	paths, ok := gitFiles()
	if !ok {
		paths = walkFiles(t)
	}
	slices.Sort(paths)
	var files []file
	for _, p := range slices.Compact(paths) {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(p)))
		if os.IsNotExist(err) {
			continue // known to git but deleted
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.ContainsRune(data, 0) {
			files = append(files, file{p, string(data)})
		}
	}
	if len(files) == 0 {
		t.Fatal("the project has no files")
	}
	return files
}

func gitFiles() ([]string, bool) {
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		return nil, false
	}
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, false
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 }), true
}

func walkFiles(t *testing.T) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && rel != "." && (rel == "bin" || name != ".ci" && strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() {
			paths = append(paths, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestTreeIsTheSameWithAndWithoutGit(t *testing.T) {
	known, ok := gitFiles()
	if !ok {
		known = walkFiles(t)
	}
	walked := walkFiles(t)
	for _, p := range known {
		if strings.HasSuffix(p, ".go") && !slices.Contains(walked, p) {
			if _, err := os.Stat(filepath.Join(root, p)); err == nil {
				t.Errorf("%s is known to git and not found by walking", p)
			}
		}
	}
	for _, p := range []string{"go.mod", ".ci/run", "test/tree_test.go"} {
		if !slices.Contains(walked, p) {
			t.Errorf("%s is not found by walking", p)
		}
	}
}

// source is a parsed Go file.
type source struct {
	file
	dir  string // of the package, "." for the project's folder
	fset *token.FileSet
	ast  *ast.File
}

// sources parses the Go files, platform-specific ones included.
func sources(t *testing.T, files []file) []source {
	t.Helper()
	var parsed []source
	for _, f := range files {
		if !f.isGo() || strings.Contains(f.path, "testdata/") {
			continue
		}
		parsed = append(parsed, parse(t, f))
	}
	return parsed
}

func parse(t *testing.T, f file) source {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, f.path, f.text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return source{f, path.Dir(f.path), fset, tree}
}

// at is "file:line" of a node.
func (s source) at(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	p.Column = 0
	return p.String()
}

// wantNoFaults fails the test with every fault a rule found.
func wantNoFaults(t *testing.T, faults []string) {
	t.Helper()
	for _, f := range faults {
		t.Error(f)
	}
}

// wantFaults checks a rule against files made to break it: each fault contains
// the text of the same place in parts.
func wantFaults(t *testing.T, faults []string, parts ...string) {
	t.Helper()
	if len(faults) != len(parts) {
		t.Fatalf("faults %q, want %d", faults, len(parts))
	}
	for i, part := range parts {
		if !strings.Contains(faults[i], part) {
			t.Errorf("fault %q does not contain %q", faults[i], part)
		}
	}
}
