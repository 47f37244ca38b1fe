package persist

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"sngate/gateway/session"
	"sngate/internal/binrec"
	"sngate/store"
)

// Loaded is what a store had beside the records of sessions.
type Loaded struct {
	Broker     string // which was in use; "": not known
	Predefined []byte // the digest of the last run; nil: there was none
	Bad        int    // records that make no sense
	Why        error  // of the first one
}

// Load reads the whole store, before anything is submitted to it. take is called for each
// record of a session; at is what the shell has added to session.RecordSession, nil for all
// others. It keeps nothing of what it is given. A record that it refuses is counted as bad; the
// value of one that is malformed here already is nil. One of another version ends the loading:
// [session.ErrRecordVersion].
func (k *Keeper) Load(take func(clientID []byte, kind session.RecordKind, key, value []byte, at *Entry) error) (Loaded, error) {
	var l Loaded
	err := k.store.Load(func(b store.Bucket, key, value []byte) error {
		if k.loadOwn(&l, key, value) {
			return nil
		}
		if err := k.loadRecord(b, key, value, take); errors.Is(err, session.ErrRecordVersion) {
			return err
		} else if err != nil {
			if l.Bad++; l.Why == nil {
				l.Why = fmt.Errorf("%v %q: %w", b, key, err)
			}
		}
		return nil
	})
	if err != nil {
		return Loaded{}, fmt.Errorf("reading the store: %w", err)
	}
	return l, nil
}

// loadOwn takes a record of the gateway's own, or reports that it is another one.
func (k *Keeper) loadOwn(l *Loaded, key, value []byte) bool {
	switch string(key) {
	case clockKey:
		f := binrec.NewReader(value)
		if lived := time.Duration(f.U64()); f.Done() {
			k.lived = max(k.lived, lived)
		}
	case predefinedKey:
		l.Predefined = bytes.Clone(value)
	case brokerKey:
		l.Broker = string(value)
	default:
		return false
	}
	return true
}

func (k *Keeper) loadRecord(b store.Bucket, key, value []byte, take func([]byte, session.RecordKind, []byte, []byte, *Entry) error) error {
	clientID, kind, rest, ok := splitKey(b, key)
	if !ok {
		return errEntry
	}
	if kind != session.RecordSession {
		return aboutVersion(clientID, take(clientID, kind, rest, value, nil))
	}
	at, record, err := parseEntry(value)
	if err != nil {
		_ = take(clientID, kind, rest, nil, nil) // there is a session, but not what it was
		return err
	}
	k.lived = max(k.lived, at.Ended) // newer than the clock that a crash has left
	return aboutVersion(clientID, take(clientID, kind, rest, record, &at))
}
