//go:build unix

package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// isJournal reports whether w is the stream to the journal that systemd names by device and
// inode in $JOURNAL_STREAM. A process further down inherits the variable and may write
// elsewhere.
func isJournal(w io.Writer, stream string) bool {
	f, ok := w.(*os.File)
	if !ok || stream == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}
