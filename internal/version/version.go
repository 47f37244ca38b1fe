// Package version holds the version of the program, in one place.
package version

import "runtime/debug"

// Version follows semantic versioning. A "-dev" ending means: on the way there.
const Version = "0.1.0-dev"

// commit is set by the linker (-X sngate/internal/version.commit=...) where the program is
// built from a tree without .git, as in the Dockerfile.
var commit string

// Commit is the commit that the program was built from, with "-dirty" behind it if the
// tree had changes on top of it, or "unknown".
func Commit() string {
	if commit != "" {
		return commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return commitOf(info.Settings)
	}
	return "unknown"
}

// commitOf finds the commit among what "go build" notes of a tree with .git.
func commitOf(settings []debug.BuildSetting) string {
	noted := make(map[string]string)
	for _, s := range settings {
		noted[s.Key] = s.Value
	}
	switch revision := noted["vcs.revision"]; {
	case revision == "":
		return "unknown"
	case noted["vcs.modified"] == "true":
		return revision + "-dirty"
	default:
		return revision
	}
}
