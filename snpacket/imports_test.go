package snpacket_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The codec is the leaf of the module and runs for every datagram: it may use these
// packages and no others, above all neither fmt nor net.
var allowedImports = map[string]bool{
	"errors":          true,
	"encoding/binary": true,
	"strconv":         true,
	"sngate/snpacket": true,
}

func TestCodecImportsOnlyLeafPackages(t *testing.T) {
	files := map[string]int{} // folder -> files checked
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files[filepath.Dir(path)]++
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !allowedImports[name] {
				t.Errorf("%s imports %q", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files["."] == 0 || files["sn12"] == 0 {
		t.Fatalf("files checked: %v; want some in . and in sn12", files)
	}
}
