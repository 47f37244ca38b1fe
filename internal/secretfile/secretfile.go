// Package secretfile says where the files that a configuration names are, and who may have access
// to those with secrets. It knows what systemd loads for a service (LoadCredential=): copies in a
// directory of their own.
package secretfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Locate finds a file that is named by path. A relative one is looked for in the directory loaded
// first, of what systemd has loaded, and then in the working directory; a path that leads out of
// it is not looked for there. "": nothing is loaded.
func Locate(path, loaded string) (found string, isLoaded bool) {
	if loaded != "" && filepath.IsLocal(path) {
		inside := filepath.Join(loaded, path)
		if _, err := os.Lstat(inside); !errors.Is(err, fs.ErrNotExist) {
			return inside, true
		}
	}
	return path, false
}

// Shut returns the permissions that a file with secrets must not give: any to others than its
// owner. For what is below the directory loaded those of the group do no harm, as systemd may let
// the user of the service in by them.
func Shut(path, loaded string) fs.FileMode {
	if loaded != "" && strings.HasPrefix(path, strings.TrimSuffix(loaded, "/")+"/") {
		return 0o007
	}
	return 0o077
}
