package bolt

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sngate/store"
)

// linkTo returns a link in a directory of its own to target.
func linkTo(t *testing.T, target string) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), "db")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	return link
}

func TestStoreBehindALinkStaysThere(t *testing.T) {
	s, target := newStore(t)
	closeStore(t, s)
	link := linkTo(t, target)
	s, _ = open(t, link, Options{})
	mustWrite(t, s, put(store.Held, "k", "v"))
	closeStore(t, s)
	if to, err := os.Readlink(link); to != target {
		t.Errorf("the link: %q, %v", to, err)
	}
	if s, _ = open(t, target, Options{}); dump(t, s)["held/k"] != "v" {
		t.Error("what was written is not in the file that the link leads to")
	}
}

// TestWhatALinkLeadsToIsNotRenamed: a link could have been put there by anybody who may
// write the directory, to have a file of somebody else moved away.
func TestWhatALinkLeadsToIsNotRenamed(t *testing.T) {
	target := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(target, []byte("no store"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := linkTo(t, target)
	if _, _, err := Open(link, Options{}); err == nil || !strings.Contains(err.Error(), "is a link to "+target) {
		t.Errorf("err = %v", err)
	}
	if b, err := os.ReadFile(target); string(b) != "no store" {
		t.Errorf("the target: %q, %v", b, err)
	}
	if info, err := os.Stat(target); runtime.GOOS != "windows" && (err != nil || info.Mode() != 0o644) {
		t.Errorf("the target: %v, %v", info.Mode(), err)
	}
	for _, path := range []string{target, link} {
		if entries, err := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
			t.Errorf("something was made: %v, %v", entries, err)
		}
	}
}

func TestLinkThatLeadsNowhereIsRefused(t *testing.T) {
	target := filepath.Join(t.TempDir(), "missing")
	if _, _, err := Open(linkTo(t, target), Options{}); err == nil || !strings.Contains(err.Error(), "leads nowhere") {
		t.Errorf("err = %v", err)
	}
	if _, err := os.Lstat(target); !os.IsNotExist(err) {
		t.Errorf("the target was made: %v", err)
	}
}

func TestFileThatOthersMayReadIsClosedToThem(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // has no such modes
	}
	for name, damaged := range map[string]bool{"whole": false, "damaged": true} {
		t.Run(name, func(t *testing.T) {
			s, path := newStore(t)
			closeStore(t, s)
			if damaged {
				if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(path, 0o664); err != nil {
				t.Fatal(err)
			}
			_, rep := open(t, path, Options{})
			if rep.ModeWas != 0o664 || !strings.Contains(rep.String(), "its mode was 0664") {
				t.Errorf("report: %v", rep)
			}
			names := []string{path}
			if damaged {
				names = append(names, rep.MovedTo)
			}
			for _, name := range names {
				if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
					t.Errorf("%s: %v, %v", name, info.Mode(), err)
				}
			}
		})
	}
}
