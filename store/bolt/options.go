package bolt

import (
	"errors"
	"os"
	"time"

	"sngate/store"
)

// Options are the settings of a store in a file. The zero value of each field stands
// for its default.
type Options struct {
	// Version is written into a new file as the version of the program that made it.
	Version string

	QueueBatches int // batches not yet answered; default DefaultQueueBatches
	QueueBytes   int // their keys, values and overhead, which one batch may pass; default DefaultQueueBytes
	TxOps        int // operations per transaction; default 8192
	TxBytes      int // bytes per transaction; default 4 MiB

	// Linger is the least time between the beginnings of two transactions, as long as more
	// than one request comes in it; see the package's comment. 0: none.
	Linger time.Duration

	// MaxBytes is the size up to which the file may grow; beyond it commits that need
	// more fail like on a full disk. Default 1 GiB.
	MaxBytes int

	// LockTimeout is how long Open waits for another process to release the file.
	// Default 1 s.
	LockTimeout time.Duration

	// Migrations lead from each older meaning of the records to the next one, the first of
	// them from schema version 1 to 2. So their number says which version the files have that
	// are written with them, and that a file of a later one is refused. None is ever taken out.
	Migrations []store.Migration

	openFile openFileFunc // nil: os.OpenFile
	noSync   bool         // do not wait for the disk; for tests that open many files
}

// openFileFunc opens a file as os.OpenFile does.
type openFileFunc = func(name string, flag int, perm os.FileMode) (*os.File, error)

func (o Options) withDefaults() Options {
	setDefault(&o.QueueBatches, store.DefaultQueueBatches)
	setDefault(&o.QueueBytes, store.DefaultQueueBytes)
	setDefault(&o.TxOps, 8192)
	setDefault(&o.TxBytes, 4<<20)
	setDefault(&o.MaxBytes, 1<<30)
	setDefault(&o.LockTimeout, time.Second)
	return o
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Errors of Open that callers can tell apart, by errors.Is.
var (
	ErrLocked      = errors.New("store file is used by another process")
	ErrNewerSchema = errors.New("store file was written by a newer version")
	ErrForeign     = errors.New("file belongs to another program")
)
