package persist

import (
	"errors"
	"fmt"
	"slices"

	"sngate/gateway/session"
	"sngate/store"
)

// Migrations bring a file of any older version of the gateway to the records of this one.
// Whoever opens a file for a gateway has to pass them to the store, which also makes older
// versions refuse the file. A new one goes to the end, and none is ever taken out.
func Migrations() []store.Migration {
	return []store.Migration{migration(session.MigrateFrom1), migration(session.MigrateFrom2)}
}

// migration applies a migration of sessions' records to those in the store. The gateway's own
// records, those that make no sense, and what the shell adds to RecordSession stay as they are.
func migration(migrate session.Migration) store.Migration {
	return func(b store.Bucket, key, value []byte) ([]byte, error) {
		clientID, kind, rest, ok := splitKey(b, key)
		record := value
		if ok && kind == session.RecordSession {
			var err error
			_, record, err = parseEntry(value)
			ok = err == nil
		}
		if !ok {
			return value, nil
		}
		migrated, err := migrate(kind, rest, record)
		if err != nil {
			return nil, aboutVersion(clientID, err)
		}
		return slices.Concat(value[:len(value)-len(record)], migrated), nil
	}
}

// aboutVersion says what to do about a record of another version. Other errors are returned
// as they are.
func aboutVersion(clientID []byte, err error) error {
	if !errors.Is(err, session.ErrRecordVersion) {
		return err
	}
	return fmt.Errorf("client id %q: %w; start the newer program again, or move the file away to begin without sessions and messages",
		clientID, err)
}
