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

// Faults are records that make no sense. They are left out.
type Faults struct {
	Records int
	First   error // what is wrong with the first of them; nil: there is none
}

// Add adds those that were found after f.
func (f *Faults) Add(more Faults) {
	if f.Records += more.Records; f.First == nil {
		f.First = more.First
	}
}

func (f *Faults) note(b store.Bucket, key []byte, err error) {
	f.Add(Faults{Records: 1, First: fmt.Errorf("%v %q: %w", b, key, err)})
}

// Loaded is what a store had beside the records of sessions.
type Loaded struct {
	Broker     string // which was in use; "": not known
	Predefined []byte // the digest of the last run; nil: there was none
	Faults
}

// Load reads who is in the store, before anything is submitted to it: the gateway's own
// records, and of each client its session.RecordSession. take is called with that and with
// what the shell has added to it; with nil for both where it is malformed, or where another
// record of the client is found. It keeps nothing of what it is given. A record that it
// refuses is counted among the faults, but for one of another version, which ends the
// loading: [session.ErrRecordVersion]. Of the messages of each client and its topics rest is
// told, in octets; LoadClient reads them.
func (k *Keeper) Load(take func(clientID, record []byte, at *Entry) error, rest func(clientID []byte, b store.Bucket, octets int)) (Loaded, error) {
	var l Loaded
	err := k.store.Load(func(b store.Bucket, key, value []byte) error {
		if b != store.Sessions {
			if clientID, _, _, ok := splitKey(b, key); ok {
				rest(clientID, b, session.MessageOctets(value))
			}
			return nil
		}
		if k.loadOwn(&l, key, value) {
			return nil
		}
		err := k.loadSession(key, value, take)
		if errors.Is(err, session.ErrRecordVersion) {
			return err
		} else if err != nil {
			l.note(b, key, err)
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

func (k *Keeper) loadSession(key, value []byte, take func(clientID, record []byte, at *Entry) error) error {
	clientID, kind, _, ok := splitKey(store.Sessions, key)
	if !ok {
		return errEntry
	}
	if kind != session.RecordSession {
		return take(clientID, nil, nil)
	}
	at, record, err := parseEntry(value)
	if err != nil {
		_ = take(clientID, nil, nil) // there is a session, but not what it was
		return err
	}
	k.lived = max(k.lived, at.Ended) // newer than the clock that a crash has left
	return aboutVersion(clientID, take(clientID, record, &at))
}

// Client is what the store has of one client, its session.RecordSession included.
type Client []store.Record

// LoadClient reads all records of a client. It takes its turn among the batches: see
// [store.Store.LoadPrefix], as for done, which is called from any goroutine. It reports false,
// and does not call done, if the queue is full.
func (k *Keeper) LoadClient(clientID string, done func(Client, error)) bool {
	return k.store.LoadPrefix(keyOf(clientID, "", nil), func(records []store.Record, err error) { done(records, err) })
}

// Rest calls take for each record that Load has left, which are all but session.RecordSession
// and those of no known kind. Those that take refuses are the faults.
func (c Client) Rest(take func(kind session.RecordKind, key, value []byte) error) (f Faults) {
	for _, r := range c {
		_, kind, key, ok := splitKey(r.Bucket, r.Key)
		if !ok || kind == session.RecordSession {
			continue
		}
		if err := take(kind, key, r.Value); err != nil {
			f.note(r.Bucket, r.Key, err)
		}
	}
	return f
}
