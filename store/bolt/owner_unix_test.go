//go:build unix

package bolt

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ownedFile is the information about a file of some user.
type ownedFile struct {
	mode fs.FileMode
	uid  uint32
}

func (f ownedFile) Name() string       { return "db" }
func (f ownedFile) Size() int64        { return 0 }
func (f ownedFile) Mode() fs.FileMode  { return f.mode }
func (f ownedFile) ModTime() time.Time { return time.Time{} }
func (f ownedFile) IsDir() bool        { return false }
func (f ownedFile) Sys() any           { return &syscall.Stat_t{Uid: f.uid} }

func TestFileOfAnotherUserIsRefused(t *testing.T) {
	us := uint32(os.Geteuid())
	other := us + 1
	for _, tt := range []struct {
		name string
		file ownedFile
		ok   bool
	}{
		{"ours", ownedFile{0o600, us}, true},
		{"of another user", ownedFile{0o600, other}, false},
		{"our link", ownedFile{fs.ModeSymlink | 0o777, us}, true},
		{"a link of the superuser", ownedFile{fs.ModeSymlink | 0o777, 0}, true},
		{"a link of another user", ownedFile{fs.ModeSymlink | 0o777, other}, false},
	} {
		err := checkOwner("/x/db", tt.file)
		if (err == nil) != tt.ok || err != nil && !strings.Contains(err.Error(), "/x/db belongs to user") {
			t.Errorf("%s: err = %v", tt.name, err)
		}
	}
}

// TestFileOfAnotherUserIsLeftAlone gives a real file away, which only the superuser can.
func TestFileOfAnotherUserIsLeftAlone(t *testing.T) {
	s, path := newStore(t)
	closeStore(t, s)
	if err := os.Chown(path, 65534, -1); err != nil {
		if os.Geteuid() == 0 {
			t.Fatal(err)
		}
		return // TestFileOfAnotherUserIsRefused has the rule
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
		t.Errorf("err = %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o666 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
}
