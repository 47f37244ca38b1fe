package test

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// architecture is the page whose tables tell what is in each file.
const architecture = "docs/ARCHITECTURE.md"

// TestArchEveryFileIsDescribed: whoever looks for the file that a change begins in finds it in
// a table of ARCHITECTURE.md, and each file that stands there.
func TestArchEveryFileIsDescribed(t *testing.T) {
	files := tree(t)
	i := slices.IndexFunc(files, func(f file) bool { return f.path == architecture })
	if i < 0 {
		t.Fatal(architecture + " does not exist")
	}
	wantNoFaults(t, undescribed(files[i], files))
}

// undescribed compares the tables under "Which file" with the tree. Each has a folder as its
// heading, and names files from there in its first column.
func undescribed(page file, files []file) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	_, section, _ := strings.Cut(page.text, "\n## Which file\n")
	section, _, _ = strings.Cut(section, "\n## ")
	described := make(map[string]bool)
	folder := ""
	name := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "### "); ok {
			folder = heading
		}
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		names := name.FindAllStringSubmatch(cells[0], -1)
		if !strings.HasPrefix(line, "| ") || len(names) == 0 {
			continue
		}
		if len(cells) < 2 || strings.Trim(cells[len(cells)-1], " |") == "" {
			fault("%s: %s: nothing is said of %s", page.path, folder, names[0][1])
		}
		for _, m := range names {
			p := path.Join(folder, m[1])
			if described[p] {
				fault("%s: %s is described twice", page.path, p)
			}
			described[p] = true
		}
	}
	for _, f := range files {
		if !isProduct(f) {
			continue
		}
		if !described[f.path] {
			fault("%s: no table says what is in %s", page.path, f.path)
		}
		delete(described, f.path)
	}
	var gone []string
	for p := range described {
		gone = append(gone, fmt.Sprintf("%s: there is no %s", page.path, p))
	}
	slices.Sort(gone)
	return append(faults, gone...)
}

// isProduct reports whether a file is Go code of the product: no test, nor of a package for
// tests only.
func isProduct(f file) bool {
	dir := path.Dir(f.path)
	return f.isGo() && !f.isTest() && !strings.Contains(f.path, "testdata/") &&
		dir != "test" && !strings.HasPrefix(dir, "test/") && !strings.HasSuffix(dir, "test")
}

func TestUndescribedFilesAreFound(t *testing.T) {
	page := file{architecture, "# A\n\n| `conf/other.go` | elsewhere |\n\n## Which file\n\nAs `conf/prose.go` says.\n\n" +
		"### conf\n\n| File | What is there |\n|---|---|\n| `a.go`, `a_linux.go` | this |\n| `gone.go` | that |\n\n" +
		"### store\n\n| File | Part | What is there |\n|---|---|---|\n| `bolt/b.go` | | the file |\n| `silent.go` | | |\n| `bolt/b.go` | | again |\n\n" +
		"## Words\n\n| `conf/c.go` | a word |\n"}
	var files []file
	for _, p := range []string{"conf/a.go", "conf/a_linux.go", "conf/a_test.go", "conf/c.go", "conf/config.toml", "store/bolt/b.go", "store/silent.go",
		"store/storetest/s.go", "store/testdata/t.go", "test/doc.go", "test/crash/doc.go"} {
		files = append(files, file{path: p})
	}
	wantFaults(t, undescribed(page, files),
		"nothing is said of silent.go", "store/bolt/b.go is described twice", "what is in conf/c.go", "there is no conf/gone.go")
}
