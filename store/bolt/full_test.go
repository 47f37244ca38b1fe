//go:build linux

package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"sngate/store"
)

// fullDisk runs through a disk that becomes full and later has space again.
func fullDisk(path string, fill, release func() error, isFull func(error) bool) error {
	s, _, err := Open(path, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	for i := range 50 {
		if _, err := answer(s, put(store.Held, fmt.Sprintf("k%02d", i), strings.Repeat("x", 1000))); err != nil {
			return err
		}
	}
	if err := fill(); err != nil {
		return err
	}
	large := put(store.Spool, "large", strings.Repeat("y", 1<<20))
	if _, err := answer(s, large); err == nil || !isFull(err) {
		return fmt.Errorf("full: a large record: %w", err)
	}
	if s.Health() == nil || s.Stats().Failures == 0 {
		return errors.New("full: no sign of it in health and counters")
	}
	for range 100 { // refused at once, not after a try of the disk each
		if took, err := answer(s, large, put(store.Sessions, "a", "1")); err == nil || took > retryEvery/2 {
			return fmt.Errorf("full: second record: %w after %v", err, took)
		}
	}
	if n := s.Stats().Failures; n > 20 {
		return fmt.Errorf("full: the disk was tried %d times", n)
	}
	if _, err := answer(s, del(store.Held, "k00"), delPrefix(store.Held, "k1")); err != nil {
		return fmt.Errorf("full: deleting: %w", err)
	}
	if s.Health() == nil {
		return errors.New("full: forgotten after a deletion")
	}
	if n, err := countRecords(s); n != 39 || err != nil {
		return fmt.Errorf("full: %d records, %w", n, err)
	}
	if err := release(); err != nil {
		return err
	}
	if err := await("recovery", func() bool { return s.Health() == nil }); err != nil {
		return fmt.Errorf("%w: %w", err, s.Health())
	}
	if _, err := answer(s, large); err != nil {
		return fmt.Errorf("after: %w", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	s, rep, err := Open(path, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	if n, err := countRecords(s); n != 40 || err != nil || rep.Lost() {
		return fmt.Errorf("reopened: %d records, %w, %v", n, err, rep)
	}
	return nil
}

func countRecords(s store.Store) (n int, err error) {
	err = s.Load(func(store.Bucket, []byte, []byte) error { n++; return nil })
	return n, err
}

// childSizeLimit makes the disk full by a limit on the size of files, which needs no
// privilege. Writes beyond it fail like on a full disk, only with another error number.
func childSizeLimit(path string) error {
	limit := func(n uint64) error {
		var r unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &r); err != nil {
			return err
		}
		r.Cur = n
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &r)
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	return fullDisk(path,
		func() error { return limit(512 << 10) },
		func() error { return limit(before.Cur) },
		// bbolt reports a failed growth as text.
		func(err error) bool { return strings.Contains(err.Error(), unix.EFBIG.Error()) })
}

// smallDisk makes a file system of 2 MiB the working directory. It is mounted nowhere: that
// needs no mount namespace, which cannot be made private in a chroot that is no mount point.
// It is gone with the process. readOnly makes it so.
func smallDisk() (readOnly func() error, err error) {
	disk, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.FsconfigSetString(disk, "size", "2m"); err != nil {
		return nil, err
	}
	if err := unix.FsconfigCreate(disk); err != nil {
		return nil, err
	}
	mount, err := unix.Fsmount(disk, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	readOnly = func() error {
		return errors.Join(unix.FsconfigSetFlag(disk, "ro"), unix.FsconfigReconfigure(disk))
	}
	return readOnly, unix.Fchdir(mount)
}

// childSmallDisk fills a small disk.
func childSmallDisk(string) error {
	const filler, path = "filler", "db"
	readOnly, err := smallDisk()
	if err != nil {
		return err
	}
	err = fullDisk(path,
		func() error {
			if err := os.WriteFile(filler, make([]byte, 4<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
				return fmt.Errorf("filling the disk: %w", err)
			}
			return nil
		},
		func() error { return os.Remove(filler) },
		func(err error) bool { return errors.Is(err, unix.ENOSPC) })
	if err != nil {
		return err
	}
	if err := readOnly(); err != nil {
		return err
	}
	if _, _, err := Open(path, Options{}); !errors.Is(err, unix.EROFS) {
		return fmt.Errorf("read-only at the start: %w", err)
	}
	return nil
}

func TestFullDisk(t *testing.T) {
	t.Run("limit on the size of files", func(t *testing.T) {
		if out, err := child(t, "limit", filepath.Join(t.TempDir(), "db")).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("small file system", func(t *testing.T) {
		out, err := child(t, "small disk", "").CombinedOutput()
		// Where nothing may be mounted the limit has to do; it goes the same way.
		if bytes.Contains(out, []byte("FAIL: "+unix.EPERM.Error())) || bytes.Contains(out, []byte("FAIL: "+unix.ENOSYS.Error())) {
			t.Log("mounting is not permitted here")
		} else if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("limit of the store itself", func(t *testing.T) {
		s, _ := open(t, filepath.Join(t.TempDir(), "db"), Options{MaxBytes: 256 << 10})
		n := 0
		for err := error(nil); err == nil && n < 1000; n++ {
			_, err = answer(s, put(store.Held, fmt.Sprintf("%04d", n), strings.Repeat("x", 1000)))
		}
		if n < 50 || n > 256 || s.Stats().FileBytes > 256<<10 {
			t.Errorf("full after %d records, %+v", n, s.Stats())
		}
		if _, err := answer(s, delPrefix(store.Held, "00")); err != nil {
			t.Errorf("deleting: %v", err)
		}
		if err := await("recovery", func() bool { return s.Health() == nil }); err != nil {
			t.Error(err)
		}
		mustWrite(t, s, put(store.Held, "9999", strings.Repeat("x", 1000)))
	})
}

// brokenDisk opens files and can make all writes fail, also those of files open already.
type brokenDisk struct {
	broken atomic.Bool
	file   *os.File
}

func (d *brokenDisk) open(name string, flag int, perm os.FileMode) (*os.File, error) {
	if d.broken.Load() && flag&os.O_RDWR != 0 {
		return nil, &os.PathError{Op: "open", Path: name, Err: unix.EROFS}
	}
	f, err := os.OpenFile(name, flag, perm)
	if flag&os.O_RDWR != 0 {
		d.file = f
	}
	return f, err
}

// readOnly puts a descriptor that cannot be written in the place of the open one.
func (d *brokenDisk) readOnly(t *testing.T) {
	t.Helper()
	r, err := os.Open(d.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d.broken.Store(true)
	if err := unix.Dup3(int(r.Fd()), int(d.file.Fd()), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

func TestDiskTurnsReadOnlyAndBack(t *testing.T) {
	var disk brokenDisk
	path := filepath.Join(t.TempDir(), "db")
	s, _ := open(t, path, Options{openFile: disk.open})
	mustWrite(t, s, put(store.Held, "1", "one"))
	disk.readOnly(t)
	for range 2 {
		if err := write(t, s, put(store.Held, "2", "two")); err == nil {
			t.Fatal("committed to a read-only disk")
		}
		if err := write(t, s, del(store.Held, "1")); err == nil {
			t.Fatal("committed to a read-only disk")
		}
	}
	if err := await("second try", func() bool { return s.Stats().Failures > 3 }); err != nil {
		t.Error(err)
	}
	if !errors.Is(s.Health(), unix.EROFS) {
		t.Errorf("health: %v", s.Health())
	}
	if _, err := countOf(t, s, "1"); !errors.Is(err, unix.EROFS) {
		t.Errorf("loading from a file that cannot be opened: %v", err)
	}
	disk.broken.Store(false)
	if err := await("recovery", func() bool { return s.Health() == nil }); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, s, put(store.Held, "3", "three"))
	if n, err := countOf(t, s, "1"); n != 1 || err != nil {
		t.Errorf("loading after the recovery: %d records, %v", n, err)
	}
	if got := dump(t, s); len(got) != 2 || got["held/1"] != "one" || got["held/3"] != "three" {
		t.Errorf("%v", got)
	}
}

func TestCloseWhileFailing(t *testing.T) {
	var disk brokenDisk
	s, _ := open(t, filepath.Join(t.TempDir(), "db"), Options{openFile: disk.open})
	disk.readOnly(t)
	answers := make(chan error, 2)
	for range 2 {
		s.Submit(store.Batch{Ops: []store.Op{put(store.Held, "2", "two")}, Done: func(err error) { answers <- err }})
	}
	if err := s.Close(); err == nil {
		t.Error("closed without an error although a batch was lost")
	}
	if a, b := <-answers, <-answers; a == nil || b == nil {
		t.Error("answered with nil")
	}
}

func TestReadOnlyDiskAtStart(t *testing.T) {
	var disk brokenDisk
	path := filepath.Join(t.TempDir(), "db")
	s, _ := open(t, path, Options{})
	closeStore(t, s)
	disk.broken.Store(true)
	if _, _, err := Open(path, Options{openFile: disk.open}); !errors.Is(err, unix.EROFS) {
		t.Errorf("err = %v", err)
	}
	if kept, _ := damagedFiles(path); kept != nil {
		t.Error("a good file was moved aside")
	}
}

func TestRemovedFileIsWrittenAgain(t *testing.T) {
	s, path := newStore(t)
	mustWrite(t, s, put(store.Held, "1", "one"))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := write(t, s, put(store.Held, "2", "two")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	if err := await("recovery", func() bool { return s.Health() == nil }); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, s, put(store.Held, "3", "three"))
	closeStore(t, s)
	s, rep := open(t, path, Options{})
	if got := dump(t, s); len(got) != 2 || got["held/1"] != "one" || got["held/3"] != "three" || rep.Lost() {
		t.Errorf("%v, %v", got, rep)
	}
}

func TestReplacedFileIsLeftAlone(t *testing.T) {
	s, path := newStore(t)
	other, otherPath := newStore(t)
	mustWrite(t, other, put(store.Held, "theirs", ""))
	closeStore(t, other)
	if err := os.Rename(otherPath, path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := write(t, s, put(store.Held, "mine", "")); !errors.Is(err, errReplaced) {
			t.Fatalf("err = %v", err)
		}
	}
	_ = s.Close()
	s, _ = open(t, path, Options{})
	if got := dump(t, s); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// childCutShort has its file truncated while it is mapped: reading the map faults, which
// without care ends the process.
func childCutShort(path string) error {
	s, _, err := Open(path, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	for i := range 400 {
		if _, err := answer(s, put(store.Held, fmt.Sprintf("k%03d", i), strings.Repeat("x", 1000))); err != nil {
			return err
		}
	}
	if err := os.Truncate(path, 2*pageSize); err != nil {
		return err
	}
	for i := range 3 {
		if _, err := answer(s, put(store.Held, fmt.Sprintf("k%03d", i), "y")); err == nil {
			return errors.New("committed to a file that was cut short")
		}
	}
	if err := s.Load(func(store.Bucket, []byte, []byte) error { return nil }); err == nil {
		return errors.New("loaded from a file that was cut short")
	}
	if err := s.Close(); err == nil {
		return errors.New("closed without an error")
	}
	s, rep, err := Open(path, Options{})
	if err != nil || rep.MovedTo == "" {
		return fmt.Errorf("reopened: %w, %v", err, rep)
	}
	return s.Close()
}

func TestFileCutShortWhileInUse(t *testing.T) {
	if out, err := child(t, "cut short", filepath.Join(t.TempDir(), "db")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
