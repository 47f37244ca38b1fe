package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

const (
	tempSuffix    = ".new"
	damagedSuffix = ".damaged-"
	damagedKept   = 3 // files
)

// checkPlace finds mistakes in a path before anything is opened, because their errors
// would be harder to understand later.
func checkPlace(path string) error {
	if dir, err := os.Stat(filepath.Dir(path)); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the directory of %s does not exist; create it first", path)
	} else if err != nil {
		return err
	} else if !dir.IsDir() {
		return fmt.Errorf("%s is not a directory", filepath.Dir(path))
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	return checkOwner(path, info)
}

// followLink returns the name of the file itself where path is a link, because renaming
// has to happen beside the file. A link that leads nowhere is refused: whoever made it
// would choose where the file of the store is made.
func followLink(path string) (target string, link bool, err error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return path, false, nil // checkPlace says what is wrong, if anything is
	}
	if err := checkOwner(path, info); err != nil {
		return "", true, err
	}
	if target, err = filepath.EvalSymlinks(path); err != nil {
		return "", true, fmt.Errorf("%s is a link that leads nowhere: %w", path, err)
	}
	return target, true, nil
}

// closeToOthers takes the access of anybody but the owner away from an existing file: it
// holds what devices have sent. It returns the mode the file had, or 0 if nobody else had
// access.
func closeToOthers(path string) (was fs.FileMode, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && (info.Mode().Perm()&0o077 == 0 || runtime.GOOS == "windows") {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return 0, fmt.Errorf("others have access to %s and it cannot be taken from them: %w", path, err)
	}
	return info.Mode().Perm(), nil
}

// install gives the complete file temp its final name.
func install(temp, path string) error {
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(path)
}

// syncDir waits until the directory of path is on the disk: without it a file that was
// made or renamed can be missing after a power cut.
func syncDir(path string) error {
	if runtime.GOOS == "windows" { // cannot, and need not
		return nil
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// moveAside renames a damaged file to path.damaged-N, with N counting up, and removes
// the oldest ones. A number and not the time: machines without a clock of their own
// start in the past.
func moveAside(path string) (string, error) {
	kept, err := damagedFiles(path)
	if err != nil {
		return "", err
	}
	n := 1
	if len(kept) > 0 {
		n = kept[len(kept)-1] + 1
	}
	to := path + damagedSuffix + strconv.Itoa(n)
	if err := os.Rename(path, to); err != nil {
		return "", err
	}
	kept = append(kept, n)
	for _, old := range kept[:max(0, len(kept)-damagedKept)] {
		// A file that cannot be removed costs space only.
		_ = os.Remove(path + damagedSuffix + strconv.Itoa(old))
	}
	return to, syncDir(path)
}

// damagedFiles returns the numbers of the files moved aside before, in order.
func damagedFiles(path string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var found []int
	for _, entry := range entries {
		suffix, ok := strings.CutPrefix(entry.Name(), filepath.Base(path)+damagedSuffix)
		if n, err := strconv.Atoi(suffix); ok && err == nil && n > 0 && n < 1<<30 {
			found = append(found, n)
		}
	}
	slices.Sort(found)
	return found, nil
}
