//go:build unix

package bolt

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkOwner refuses a file of another user: that user can read and change what is in it,
// whatever its mode. A link of the superuser is as good as one of ours.
func checkOwner(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	owner, us := int(stat.Uid), os.Geteuid()
	if owner == us || owner == 0 && info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	return fmt.Errorf("%s belongs to user %d, and this process runs as user %d; "+
		"run it as that user, give the file to this one with chown, or choose another path", path, owner, us)
}
