package conf

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

// Warning is something about a configuration that is no fault, and should be seen to.
type Warning struct {
	Key string // such as "broker.password"; "" for the file as a whole
	Msg string
}

func (w Warning) String() string {
	if w.Key == "" {
		return w.Msg
	}
	return w.Key + ": " + w.Msg
}

// What others than owner and group may do with a file.
const (
	othersRead  fs.FileMode = 0o004
	othersWrite fs.FileMode = 0o002
)

// exposures warns of files with secrets in them that every user of the machine can read
// or write. The name of the password's file is not shown, as in faults: see password.
func exposures(path string, passwordInside bool, cfg *Config) []Warning {
	var list []Warning
	if mode, ok := modeOf(path); ok {
		switch {
		case passwordInside && mode&(othersRead|othersWrite) != 0:
			list = append(list, Warning{"broker.password", fmt.Sprintf(
				"other users can %s %s, which has the password in it (mode %04o); want chmod o-rwx, or the password in broker.password_file",
				readOrWrite(mode), path, mode)})
		case mode&othersWrite != 0:
			list = append(list, Warning{"", fmt.Sprintf("other users can write %s (mode %04o); want chmod o-w", path, mode)})
		}
	}
	if mode, ok := modeOf(cfg.Broker.PasswordFile.Reveal()); ok && mode&(othersRead|othersWrite) != 0 {
		list = append(list, Warning{"broker.password_file", fmt.Sprintf(
			"other users can %s the file that it names (mode %04o); want chmod o-rwx", readOrWrite(mode), mode)})
	}
	return list
}

// modeOf returns the permissions of a regular file; ok is false where there is none, or
// where the system's permissions are no such bits.
func modeOf(path string) (mode fs.FileMode, ok bool) {
	if path == "" || runtime.GOOS == "windows" {
		return 0, false
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Mode().Perm(), true
}

func readOrWrite(mode fs.FileMode) string {
	switch mode & (othersRead | othersWrite) {
	case othersRead:
		return "read"
	case othersWrite:
		return "write"
	}
	return "read and write"
}
