package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"sngate/store"
)

// engine is the open file. It belongs to the goroutine that writes; db alone is also
// read by Load, under the lock of [fileStore].
//
// After any failure it is closed and opened again before the next attempt: after a
// failed write the engine below is in a state that depends on where it failed (it may
// have lost its memory map, or see a root page that is in the cache but not on the
// disk), and opening brings all those cases back to one.
type engine struct {
	path string
	opts Options

	db  *bbolt.DB // nil while closed
	raw *os.File  // db's own descriptor; it holds the lock
	// pin keeps the file's content within reach while db is closed and after somebody
	// removed the name, and tells whether path still is this file.
	pin *os.File

	digest  digest
	size    int64 // bytes up to the high-water mark
	free    int64 // bytes of free pages in it
	suspect bool  // the last failure was not a plain error: check before use
	stuck   bool  // a lock inside db is lost; only a restart of the process helps
}

var (
	errReplaced = errors.New("store file was replaced while in use; restart to use the new one")
	errStuck    = errors.New("store engine failed beyond repair; restart the gateway")
)

// openBolt opens a file with the engine and returns the descriptor as well. A panic
// inside would leave the descriptor open, and with it the lock.
func openBolt(path string, readOnly bool, opts Options) (db *bbolt.DB, raw *os.File, err error) {
	openFile := opts.openFile
	if openFile == nil {
		openFile = os.OpenFile
	}
	err = guard(func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:  opts.LockTimeout,
			ReadOnly: readOnly,
			// Fixed, because the default is the page size of the machine, 16 KiB on
			// some boards: four times the bytes to write for each commit.
			PageSize: pageSize,
			// The engine maps as much as there is. Of a file that was cut short behind
			// the last page in use it would read past that.
			InitialMmapSize: mapSize(path),
			FreelistType:    bbolt.FreelistMapType,
			MaxSize:         opts.MaxBytes,
			NoSync:          opts.noSync,
			OpenFile: func(name string, flag int, perm os.FileMode) (f *os.File, err error) {
				raw, err = openFile(name, flag, perm)
				return raw, err
			},
		})
		return err
	})
	switch {
	case err == nil:
		return db, raw, nil
	case errors.Is(err, bbolterrors.ErrTimeout):
		err = fmt.Errorf("%w: %s is locked; is another sngate running with the same store.path?", ErrLocked, path)
	case raw != nil && errors.As(err, new(*panicError)):
		_ = raw.Close()
	}
	return nil, nil, err
}

// panicError is a panic of the engine, or a fault of the memory map: a sector that
// cannot be read, or a file that somebody cut short.
type panicError struct{ reason any }

func (p *panicError) Error() string { return fmt.Sprintf("store engine panicked: %v", p.reason) }

// guard turns panics and faults of the memory map in fn into errors.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p}
		}
	}()
	return fn()
}

// open opens an existing, checked file.
func (e *engine) open() (err error) {
	if e.db, e.raw, err = openBolt(e.path, false, e.opts); err != nil {
		return err
	}
	err = guard(func() error {
		if err := e.repin(); err != nil {
			return err
		}
		if !e.opts.noSync {
			if err := rewriteRoots(e.raw); err != nil {
				return err
			}
		}
		return e.db.View(func(tx *bbolt.Tx) (err error) {
			if meta := tx.Bucket([]byte(metaBucket)); meta != nil {
				e.digest, _, _, err = decodeDigest(meta.Get([]byte(digestKey)))
			}
			e.measure(tx.Size())
			return err
		})
	})
	if err != nil {
		_ = e.close()
	}
	return err
}

// repin makes sure that path names the file that is open, and holds on to it.
func (e *engine) repin() error {
	if e.pin == nil {
		pin, err := os.Open(e.path)
		if err != nil {
			return err
		}
		e.pin = pin
	}
	a, err := e.pin.Stat()
	if err != nil {
		return err
	}
	b, err := e.raw.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(a, b) {
		return errReplaced
	}
	return nil
}

// rewriteRoots writes both root pages again and waits for the disk. When the last step of a
// commit fails, its root page can be in the cache and not on the disk; building on it
// would overwrite what the root page on the disk refers to.
func rewriteRoots(f *os.File) error {
	var b [2 * pageSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(b[:], 0); err != nil {
		return err
	}
	return f.Sync()
}

func (e *engine) measure(size int64) {
	s := e.db.Stats()
	e.size, e.free = size, int64(s.FreePageN+s.PendingPageN)*pageSize
}

// close closes the engine but keeps the hold on the file.
func (e *engine) close() error {
	if e.db == nil || e.stuck { // closing a stuck one would wait for ever
		return nil
	}
	db := e.db
	e.db, e.raw = nil, nil
	return guard(db.Close)
}

func (e *engine) unpin() {
	if e.pin != nil {
		_ = e.pin.Close()
		e.pin = nil
	}
}

// place tells whether path still names the file.
func (e *engine) place() (gone bool, err error) {
	now, err := os.Stat(e.path)
	if errors.Is(err, os.ErrNotExist) {
		return true, fmt.Errorf("store file was removed: %w", err)
	} else if err != nil {
		return false, err
	}
	if e.pin == nil { // it could not be opened after it was exchanged
		return false, nil
	}
	pinned, err := e.pin.Stat()
	if err == nil && !os.SameFile(now, pinned) {
		err = errReplaced
	}
	return false, err
}

// reopen makes the file usable again after a failure.
func (e *engine) reopen() error {
	if e.stuck {
		return errStuck
	}
	if err := e.close(); err != nil {
		return err
	}
	if gone, err := e.place(); gone {
		if err := e.rewriteFile(); err != nil {
			return fmt.Errorf("store file was removed and cannot be restored: %w", err)
		}
	} else if err != nil {
		return err
	}
	if e.suspect {
		if err := e.recheck(); err != nil {
			return err
		}
	}
	if err := e.open(); err != nil {
		return err
	}
	e.suspect = false
	return nil
}

// recheck reads the file like at the start, but accepts only what the program knows to
// be in it: going back by a transaction is possible only before its state is built.
func (e *engine) recheck() error {
	f, err := os.Open(e.path)
	if err != nil {
		return err
	}
	defer f.Close()
	found, err := inspect(f, e.path, e.opts.Migrations)
	if err == nil && found.damage != nil {
		if err = found.damage; found.counted == e.digest {
			err = discardRoot(e.path, found.discard)
		}
	}
	if err != nil {
		return fmt.Errorf("store file was damaged while in use, restart to repair it: %w", err)
	}
	return nil
}

// rewriteFile writes the file anew under its name, from the descriptor that still has it.
func (e *engine) rewriteFile() error {
	info, err := e.pin.Stat()
	if err != nil {
		return err
	}
	temp := e.path + tempSuffix
	_ = os.Remove(temp) // if that fails, making it anew does
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.NewSectionReader(e.pin, 0, info.Size()))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = install(temp, e.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	e.unpin()
	return nil
}

// written is what a commit cost; zero if there was nothing to write.
type written struct {
	bytes uint64
	began time.Time
	took  time.Duration
}

// commit makes one transaction of the batches. If they change nothing, nothing is
// written, unless probe is set.
func (e *engine) commit(batches []store.Batch, probe bool) (w written, err error) {
	if e.stuck {
		return w, errStuck
	}
	w.began = time.Now()
	err = guard(func() error {
		if e.db == nil {
			return bbolterrors.ErrDatabaseNotOpen
		}
		if _, err := e.place(); err != nil {
			return err
		}
		tx, err := e.db.Begin(true)
		if err != nil {
			return err
		}
		// A transaction that was not ended holds the writer's lock, and closing would
		// wait for it for ever. Rollback does nothing after Commit.
		defer func() {
			e.stuck = true
			_ = tx.Rollback()
			e.stuck = false
		}()
		next, err := e.apply(tx, batches)
		if err != nil {
			return err
		}
		if next == e.digest && !probe {
			return nil
		}
		if err := next.stamp(tx); err != nil {
			return err
		}
		size := tx.Size()
		if err := tx.Commit(); err != nil {
			return err
		}
		stats := tx.Stats()
		w.bytes = uint64(stats.GetPageAlloc()) + pageSize // and the root page
		e.digest = next
		e.measure(size)
		return nil
	})
	if err != nil {
		e.suspect = e.suspect || errors.As(err, new(*panicError))
		return w, err
	}
	if w.bytes > 0 {
		w.took = time.Since(w.began)
	}
	return w, nil
}

// apply makes the changes and returns the digest after them.
func (e *engine) apply(tx *bbolt.Tx, batches []store.Batch) (digest, error) {
	next := e.digest
	var buckets [bucketCount + 1]*bbolt.Bucket
	for _, b := range batches {
		for i := range b.Ops {
			op := &b.Ops[i]
			if buckets[op.Bucket] == nil {
				buckets[op.Bucket] = bucketOf(tx, op.Bucket)
			}
			if err := applyOp(op, buckets[op.Bucket], next.of(op.Bucket)); err != nil {
				return next, fmt.Errorf("%v: %w", op.Bucket, err)
			}
		}
	}
	return next, nil
}

func applyOp(op *store.Op, bucket *bbolt.Bucket, t *tally) error {
	if op.Kind == store.DeletePrefix {
		return deletePrefix(bucket, t, op.Key)
	}
	old := bucket.Get(op.Key)
	if op.Kind == store.Delete {
		if old == nil {
			return nil
		}
		t.remove(op.Key, old)
		return bucket.Delete(op.Key)
	}
	value := op.Value
	if old != nil && bytes.Equal(old, value) {
		return nil
	}
	if value == nil {
		value = []byte{} // Get has to find it in this transaction, and nil is "none"
	}
	if old != nil {
		t.remove(op.Key, old)
	}
	t.add(op.Key, value)
	return bucket.Put(op.Key, value)
}

// deletePrefix looks up each key anew, since deleting moves a cursor, and from the last
// key on, since the pages emptied before would be walked through each time.
func deletePrefix(bucket *bbolt.Bucket, t *tally, prefix []byte) error {
	c := bucket.Cursor()
	from := bytes.Clone(prefix)
	for {
		k, v := c.Seek(from)
		if k == nil || !bytes.HasPrefix(k, prefix) {
			return nil
		}
		from = append(from[:0], k...)
		t.remove(k, v)
		if err := c.Delete(); err != nil {
			return err
		}
	}
}
