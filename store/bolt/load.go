package bolt

import (
	"bytes"
	"cmp"
	"errors"

	"go.etcd.io/bbolt"

	"sngate/store"
)

func (s *fileStore) LoadPrefix(prefix []byte, done func([]store.Record, error)) bool {
	return s.enqueue(request{load: &load{prefix, done}})
}

// serve answers a call of LoadPrefix. It is the writer's, so that it comes between two
// transactions.
func (s *fileStore) serve(r *request) {
	var records []store.Record
	err := store.CheckPrefix(r.load.prefix)
	switch {
	case err != nil:
	case s.engine.db == nil || s.engine.stuck:
		err = cmp.Or(s.failed, store.ErrClosed)
	default:
		records, err = s.engine.find(r.load.prefix)
	}
	s.mu.Lock()
	s.stats.Queued--
	s.stats.QueuedBytes -= r.size()
	s.mu.Unlock()
	r.load.done(records, err)
}

// find reads the records whose keys begin with prefix.
func (e *engine) find(prefix []byte) (records []store.Record, err error) {
	err = guard(func() error {
		return e.db.View(func(tx *bbolt.Tx) error {
			for b := store.Sessions; b <= store.Spool; b++ {
				c := tx.Bucket([]byte(b.String())).Cursor()
				for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
					records = append(records, store.Record{Bucket: b, Key: bytes.Clone(k), Value: bytes.Clone(v)})
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

func (s *fileStore) Load(yield func(b store.Bucket, key, value []byte) error, buckets ...store.Bucket) error {
	wanted, err := store.Wanted(buckets)
	if err != nil {
		return err
	}
	s.swap.RLock()
	defer s.swap.RUnlock()
	db := s.engine.db
	if db == nil {
		if err := s.Health(); err != nil {
			return err
		}
		return store.ErrClosed
	}
	var panicked any // of yield, which is not the engine's
	err = guard(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			for _, b := range wanted {
				c := tx.Bucket([]byte(b.String())).Cursor()
				for k, v := c.First(); k != nil; k, v = c.Next() {
					if err := call(yield, b, k, v, &panicked); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	if panicked != nil {
		panic(panicked)
	}
	return err
}

var errPanicked = errors.New("yield panicked")

func call(yield func(b store.Bucket, key, value []byte) error, b store.Bucket, k, v []byte, panicked *any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			*panicked, err = p, errPanicked
		}
	}()
	return yield(b, k, v)
}
