package bolt

import (
	"errors"
	"os"

	"go.etcd.io/bbolt"
)

// wasteMin is how much free space the file may have whatever its size. The list of free
// pages is written with each commit, 8 bytes for a page, so 8 MiB cost up to 16 KiB in
// each of them.
const wasteMin = 8 << 20

// wasteful reports whether most of the file is free.
func (e *engine) wasteful() bool {
	return e.db != nil && e.free > wasteMin && e.free > e.size/2
}

// compact rewrites the file without the free space. On an error the old file stays.
// swap is called with the function that exchanges the files, when the copy is complete.
func (e *engine) compact(swap func(func() error) error) error {
	temp := e.path + tempSuffix
	err := e.copyTo(temp)
	if err == nil {
		err = swap(func() error {
			if err := e.close(); err != nil {
				return err
			}
			if _, err := os.Stat(e.path); err != nil {
				return err // removed: reopen has to restore it from the pin
			}
			e.unpin() // some systems do not exchange a file that is open
			err := install(temp, e.path)
			return errors.Join(err, e.open())
		})
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// copyTo writes the records to a new file and waits until it is on the disk.
func (e *engine) copyTo(temp string) error {
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dst, _, err := openBolt(temp, false, e.opts)
	if err != nil {
		return err
	}
	dst.NoSync = true // one wait at the end is enough: nobody uses the copy before
	err = guard(func() error {
		if err := bbolt.Compact(dst, e.db, 1<<20); err != nil {
			return err
		}
		return dst.Update(e.digest.stamp)
	})
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, guard(dst.Close))
}
