package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"

	"sngate/store"
)

// Report says what Open found and did. Its String is meant for the log.
type Report struct {
	Path    string
	Created bool // a new file was made

	// Damage is what was wrong with the file, or "". Then either RolledBack is true or
	// MovedTo is set.
	Damage     string
	RolledBack bool   // the last transaction may be lost, all before it are there
	MovedTo    string // nothing could be used; the damaged file has this name now

	// ModeWas is the mode of a file that others had access to; 0: nobody had. The file is
	// for its owner only now.
	ModeWas fs.FileMode

	SchemaFrom uint32 // version of the file before it was migrated; 0: it was not
	Freed      int64  // bytes given back by compacting
	Records    int    // records in the file
	Bytes      int64  // size of the file
}

// Lost reports whether records may be missing: a reason for a loud log line and an
// alarm.
func (r *Report) Lost() bool { return r.Damage != "" }

// String tells the whole report in one line.
func (r *Report) String() string {
	s := fmt.Sprintf("store %s: %d records in %d bytes", r.Path, r.Records, r.Bytes)
	if r.Created {
		s = fmt.Sprintf("store %s: new file", r.Path)
	}
	switch {
	case r.MovedTo != "":
		s += fmt.Sprintf("; the file was damaged (%s) and was moved to %s: sessions and messages in it are lost", r.Damage, r.MovedTo)
	case r.RolledBack:
		s += fmt.Sprintf("; the file was damaged (%s): at most the last transaction is lost", r.Damage)
	}
	if r.ModeWas != 0 {
		s += fmt.Sprintf("; its mode was %04o, so others had access to it: it is 0600 now", r.ModeWas)
	}
	if r.SchemaFrom != 0 {
		s += fmt.Sprintf("; migrated from schema version %d", r.SchemaFrom)
	}
	if r.Freed > 0 {
		s += fmt.Sprintf("; compacted, %d bytes given back", r.Freed)
	}
	return s
}

// Open opens the store in the file at path, or makes a new one with mode 0600. The
// directory has to exist.
//
// A file is read completely and checked before it is used. If the last transaction is
// damaged, as by a power cut with a disk that confirms what it has not written, the one
// before it is taken; if that is damaged too, the file is moved aside to
// path.damaged-1, -2 and so on (the last three are kept) and a new one is made. Both
// are told in the report, which is never nil without an error.
//
// Errors are what the operator has to resolve: [ErrLocked], [ErrNewerSchema],
// [ErrForeign], a missing directory, missing permissions, a read-only file system, a file
// of another user, and a link to something that is no store or a damaged one. A file that
// others have access to is closed to them, which the report tells.
func Open(path string, opts Options) (store.Store, *Report, error) {
	opts = opts.withDefaults()
	e := &engine{path: path, opts: opts}
	rep, err := e.start()
	if err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	return newFileStore(e), rep, nil
}

func (e *engine) start() (*Report, error) {
	path, link, err := followLink(e.path)
	if err != nil {
		return nil, err
	}
	e.path = path
	if err := checkPlace(e.path); err != nil {
		return nil, err
	}
	rep := &Report{Path: e.path}
	found, err := examine(e.path, e.opts, rep)
	if d := new(damageError); errors.As(err, &d) {
		if link {
			return nil, fmt.Errorf("store.path is a link to %s, which is no store or a damaged one (%w); "+
				"what a link leads to is not moved aside: move it away yourself, or correct the link", e.path, d)
		}
		rep.Damage, rep.RolledBack = d.Error(), false
		if rep.ModeWas, err = closeToOthers(e.path); err != nil {
			return nil, err
		}
		if rep.MovedTo, err = moveAside(e.path); err != nil {
			return nil, fmt.Errorf("%s is damaged (%w) and cannot be moved aside: %w", e.path, d, err)
		}
		found = nil
	} else if err != nil {
		return nil, err
	} else if rep.ModeWas, err = closeToOthers(e.path); err != nil {
		return nil, err
	}
	if err = e.open(); err == nil {
		// Left behind by an interrupted compaction; ours, now that the lock is. If it
		// cannot be removed, the next compaction fails and says so.
		_ = os.Remove(e.path + tempSuffix)
		err = e.prepare(found, rep)
	}
	if err != nil {
		_ = e.close()
		e.unpin()
		return nil, err
	}
	return rep, nil
}

// prepare brings an open file to the current schema and size. found is nil for a new
// file.
func (e *engine) prepare(found *content, rep *Report) error {
	s := schema(e.opts.Migrations)
	// A migration writes records anew before the old ones are free, and must not fail because
	// the file is as large as it may be.
	e.db.MaxSize = 0
	defer func() {
		if e.db != nil {
			e.db.MaxSize = e.opts.MaxBytes
		}
	}()
	err := guard(func() error {
		return e.db.Update(func(tx *bbolt.Tx) error {
			if found == nil || found.empty() {
				rep.Created = true
				if err := s.create(tx, e.opts.Version); err != nil {
					return err
				}
			} else if h, err := decodeHeader(found.header); err != nil {
				return err
			} else if h.version < s.version() {
				rep.SchemaFrom = h.version
				if e.digest, err = s.migrate(tx, h); err != nil {
					return err
				}
			}
			return e.digest.stamp(tx)
		})
	})
	if err != nil && rep.SchemaFrom != 0 {
		err = fmt.Errorf("migrating %s from schema version %d, which needs room on the disk: %w", e.path, rep.SchemaFrom, err)
	}
	if err == nil && rep.Created {
		err = syncDir(e.path)
	}
	if err != nil {
		return err
	}
	if before := e.size; e.wasteful() {
		// Not a reason to refuse the start, but a file that is closed now is.
		err := e.compact(func(swap func() error) error { return swap() })
		if e.db == nil {
			return err
		}
		rep.Freed = before - e.size
	}
	info, err := e.pin.Stat()
	if err != nil {
		return err
	}
	rep.Records, rep.Bytes = e.digest.records(), info.Size()
	return nil
}

// examine checks the file under a shared lock, so that no other process writes it
// meanwhile, and takes back its last transaction if that makes it good. It returns nil
// if there is no file or nothing in it, and a *damageError if it cannot be used.
func examine(path string, opts Options, rep *Report) (*content, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.Size() == 0 {
		return nil, nil // made beforehand, or just before the power went; the engine fills it
	}
	// Read-only, the engine looks at the two root pages only, after it has the lock.
	lock, _, lockErr := openBolt(path, true, opts)
	if errors.Is(lockErr, ErrLocked) {
		return nil, lockErr
	}
	if lock != nil {
		defer lock.Close()
	}
	found, err := inspect(f, path, opts.Migrations)
	if err != nil {
		return nil, err
	}
	if lockErr != nil { // the file is good, so it is something else
		return nil, lockErr
	}
	if found.damage != nil {
		rep.Damage, rep.RolledBack = found.damage.Error(), true
		err = discardRoot(path, found.discard)
	}
	return found.content, err
}
