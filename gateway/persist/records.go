// Package persist is the way of sessions' records into the store and back: which bucket and
// key each has, what the shell adds to them, and the records that are the gateway's own. What
// is in a record of a session only that session knows.
package persist

import (
	"bytes"
	"errors"
	"time"

	"sngate/gateway/session"
	"sngate/internal/binrec"
	"sngate/store"
)

// Each key begins with the client id and a zero octet, which no client id has.

// place is where records of a kind are: a bucket and, where several kinds share one, a
// letter before the key.
type place struct {
	bucket store.Bucket
	letter string
}

// places is indexed by session.RecordKind. It is part of the file's format.
var places = [...]place{
	session.RecordSession:      {store.Sessions, "S"},
	session.RecordSubscription: {store.Sessions, "F"},
	session.RecordExchange:     {store.Sessions, "X"},
	session.RecordOutgoing:     {store.Sessions, "O"},
	session.RecordReceived:     {store.Sessions, "R"},
	session.RecordReleased:     {store.Sessions, "L"},
	session.RecordTopic:        {store.Topics, ""},
	session.RecordHeld:         {store.Held, ""},
	session.RecordSpool:        {store.Spool, ""},
}

// The keys of records that belong to no client.
const (
	clockKey      = "\x00clock"      // the running time, see Keeper.Running
	predefinedKey = "\x00predefined" // the digest of the predefined topics of the last run
	brokerKey     = "\x00broker"     // the address of the broker in use
)

func keyOf(clientID, letter string, key []byte) []byte {
	return binrec.New(len(clientID) + 2 + len(key)).Text(clientID).U8(0).Text(letter).Octets(key)
}

// splitKey takes a key of the store apart.
func splitKey(b store.Bucket, key []byte) (clientID []byte, kind session.RecordKind, rest []byte, ok bool) {
	i := bytes.IndexByte(key, 0)
	if i <= 0 {
		return nil, 0, nil, false
	}
	clientID, rest = key[:i], key[i+1:]
	for kind := session.RecordSession; int(kind) < len(places); kind++ {
		if p := places[kind]; p.bucket == b && bytes.HasPrefix(rest, []byte(p.letter)) {
			return clientID, kind, rest[len(p.letter):], true
		}
	}
	return nil, 0, nil, false
}

// Entry is what the shell adds to session.RecordSession: where the device is, which broker has
// the session, and when the device's connection ended.
type Entry struct {
	Ended                time.Duration // running time; negative: it has not
	Listener, Addr, Node string        // Listener is the configured address, "": nowhere
	Home                 string        // a broker's address
}

// append puts the record before that of the session.
func (e *Entry) append(b binrec.Writer) binrec.Writer {
	return b.U64(uint64(e.Ended)).Text16(e.Listener).Text16(e.Addr).Text16(e.Node).Text16(e.Home)
}

var errEntry = errors.New("malformed record of a session")

// parseEntry reads what append has written. rest is the session's record, a part of b.
func parseEntry(b []byte) (e Entry, rest []byte, err error) {
	f := binrec.NewReader(b)
	e = Entry{Ended: time.Duration(f.U64()), Listener: f.Text16(), Addr: f.Text16(), Node: f.Text16(), Home: f.Text16()}
	if rest = f.Rest(); f.Malformed() {
		return Entry{}, nil, errEntry
	}
	return e, rest, nil
}

// opOf translates a record into a change of the store. at is called for RecordSession only.
func opOf(clientID string, r *session.Record, at func() Entry) store.Op {
	p := places[r.Kind]
	op := store.Op{Bucket: p.bucket, Key: keyOf(clientID, p.letter, r.Key), Value: r.Value}
	switch {
	case r.Op == session.DeleteRecord:
		op.Kind = store.Delete
	case r.Op == session.DeleteRecords:
		op.Kind = store.DeletePrefix
	case r.Kind == session.RecordSession:
		e := at()
		op.Value = e.append(nil).Octets(r.Value)
	}
	return op
}
