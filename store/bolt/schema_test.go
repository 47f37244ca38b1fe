package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"sngate/store"
)

// upper is a migration to be recognized by: it writes the values of a bucket in capitals.
func upper(of store.Bucket) store.Migration {
	return func(b store.Bucket, _, value []byte) ([]byte, error) {
		if b == of {
			return bytes.ToUpper(value), nil
		}
		return value, nil
	}
}

func TestOlderSchemaIsMigrated(t *testing.T) {
	s, path := newStore(t)
	mustWrite(t, s, put(store.Held, "k", "held"), put(store.Topics, "k", "topic"))
	closeStore(t, s)
	v3 := Options{Migrations: []store.Migration{upper(store.Held), upper(store.Topics)}}
	for _, from := range []uint32{1, 0} { // 0: not again
		s, rep := open(t, path, v3)
		if rep.SchemaFrom != from || rep.Lost() || rep.Created || rep.Records != 2 {
			t.Errorf("report: %+v", rep)
		}
		if diff := cmp.Diff(records{"held/k": "HELD", "topics/k": "TOPIC"}, dump(t, s)); diff != "" {
			t.Error(diff)
		}
		closeStore(t, s)
	}
}

// Every record is converted once, though the first changes move those that follow.
func TestMigrationReachesEveryRecord(t *testing.T) {
	s, path := newStore(t)
	want, ops := records{}, []store.Op(nil)
	for i := range 1000 {
		key := fmt.Sprintf("%04d", i)
		ops = append(ops, put(store.Held, key, "v"))
		want["held/"+key] = strings.Repeat("long", 100) + "v"
	}
	mustWrite(t, s, ops...)
	closeStore(t, s)
	n := 0
	s, _ = open(t, path, Options{Migrations: []store.Migration{func(_ store.Bucket, _, value []byte) ([]byte, error) {
		n++
		return append(bytes.Repeat([]byte("long"), 100), value...), nil
	}}})
	if diff := cmp.Diff(want, dump(t, s)); diff != "" || n != 1000 {
		t.Errorf("%d of 1000 records: %s", n, diff)
	}
}

func TestFailedMigrationChangesNothing(t *testing.T) {
	s, path := newStore(t)
	mustWrite(t, s, put(store.Held, "k", "v"))
	closeStore(t, s)
	fail := errors.New("cannot be done")
	for name, last := range map[string]store.Migration{
		"error": func(store.Bucket, []byte, []byte) ([]byte, error) { return nil, fail },
		"panic": func(store.Bucket, []byte, []byte) ([]byte, error) { panic("oops") },
	} {
		_, _, err := Open(path, Options{Migrations: []store.Migration{upper(store.Held), last}})
		if err == nil || name == "error" && (!errors.Is(err, fail) || !strings.Contains(err.Error(), "from schema version 2 to 3")) {
			t.Errorf("%s: err = %v", name, err)
		}
	}
	s, rep := open(t, path, Options{})
	if diff := cmp.Diff(records{"held/k": "v"}, dump(t, s)); diff != "" || rep.Lost() {
		t.Error(rep, diff)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s, _ := open(t, path, Options{Version: "9.8.7", Migrations: make([]store.Migration, 6)})
	mustWrite(t, s, put(store.Held, "k", "v"))
	// A form of data that this version knows nothing of is no damage.
	err := s.engine.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.Bucket([]byte("held")).CreateBucket([]byte("nested"))
		if err == nil {
			err = b.Put([]byte("k"), make([]byte, 9000))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	content := readFile(t, path)
	_, _, err = Open(path, Options{})
	if !errors.Is(err, ErrNewerSchema) {
		t.Fatalf("err = %v", err)
	}
	for _, part := range []string{path, "version 7", "9.8.7", "up to 1", "start the newer", "move the file away"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
	if !bytes.Equal(content, readFile(t, path)) {
		t.Error("the file was changed")
	}
}

func TestFileOfAnotherProgramIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: pageSize})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("accounts")); return err })
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(path, Options{}); !errors.Is(err, ErrForeign) {
		t.Errorf("err = %v", err)
	}
	if kept, _ := damagedFiles(path); kept != nil {
		t.Error("it was moved")
	}
}

func TestPathsThatCannotWork(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing", "db"): "does not exist; create it first",
		filepath.Join(dir, "file", "db"):    "not a directory",
		dir:                                 "not a regular file",
	} {
		if _, _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: err = %v", path, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("something was made: %v", entries)
	}
}

func TestNewFileIsForItsOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // has no such modes
	}
	_, path := newStore(t)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestDigestRecord(t *testing.T) {
	var d digest
	d.of(store.Held).add([]byte("a"), []byte("b"))
	d.of(store.Spool).add([]byte("a"), []byte("b"))
	d.of(store.Spool).add([]byte("ab"), nil)
	got, n, txid, err := decodeDigest(d.encode(77))
	if got != d || n != bucketCount || txid != 77 || err != nil || got.records() != 3 {
		t.Errorf("%v, %d, %d, %v", got, n, txid, err)
	}
	if d.of(store.Held).sum == (tally{}).sum || recordHash([]byte("a"), []byte("b")) == recordHash([]byte("ab"), nil) {
		t.Error("the border between key and value does not count")
	}
	for size := range 100 {
		_, n, _, err := decodeDigest(make([]byte, size))
		if ok := size == 24 || size == 40 || size == 56 || size == 72; ok != (err == nil) || ok && n != size/16 {
			t.Errorf("%d bytes: %d buckets, %v", size, n, err)
		}
	}
	d.of(store.Spool).remove([]byte("a"), []byte("b"))
	d.of(store.Spool).remove([]byte("ab"), nil)
	d.of(store.Held).remove([]byte("a"), []byte("b"))
	if d != (digest{}) {
		t.Error("not empty again")
	}
}

func TestHeaderRecord(t *testing.T) {
	h := header{7, "1.2.3"}
	b := h.encode()
	if got, err := decodeHeader(b); got != h || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for i := range b {
		if _, err := decodeHeader(b[:i]); err == nil {
			t.Errorf("%d bytes of it are accepted", i)
		}
		bad := bytes.Clone(b)
		bad[i] ^= 4
		if _, err := decodeHeader(bad); err == nil {
			t.Errorf("damage of byte %d is accepted", i)
		}
	}
}

// grow makes a file of which most is free.
func grow(t *testing.T, s store.Store) records {
	t.Helper()
	for i := range 24 {
		var ops []store.Op
		for j := range 100 {
			ops = append(ops, put(store.Spool, fmt.Sprintf("%02d/%03d", i, j), strings.Repeat("x", 5000)))
		}
		mustWrite(t, s, ops...)
	}
	mustWrite(t, s, put(store.Sessions, "k", "v"))
	return records{"sessions/k": "v"}
}

func TestFileIsCompactedWhileRunning(t *testing.T) {
	s, path := newStore(t)
	want := grow(t, s)
	large := s.Stats().FileBytes
	mustWrite(t, s, delPrefix(store.Spool, ""))
	mustWrite(t, s, put(store.Held, "k", "v")) // pages freed by one commit are free in the next
	want["held/k"] = "v"
	mustWrite(t, s)
	if st := s.Stats(); st.Compactions != 1 || st.FileBytes > large/10 || st.FreeBytes > wasteMin {
		t.Errorf("%+v, it was %d bytes", st, large)
	}
	mustWrite(t, s, put(store.Held, "k2", "v"))
	want["held/k2"] = "v"
	if diff := cmp.Diff(want, dump(t, s)); diff != "" {
		t.Error(diff)
	}
	closeStore(t, s)
	s, rep := open(t, path, Options{})
	if diff := cmp.Diff(want, dump(t, s)); diff != "" || rep.Lost() {
		t.Error(rep, diff)
	}
}

func TestFileIsCompactedAtTheStart(t *testing.T) {
	s, path := newStore(t)
	want := grow(t, s)
	closeStore(t, s)
	s, _ = open(t, path, Options{})
	if err := os.MkdirAll(filepath.Join(path+tempSuffix, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, s, delPrefix(store.Spool, ""))
	closeStore(t, s)
	if err := os.RemoveAll(path + tempSuffix); err != nil {
		t.Fatal(err)
	}
	before := readFile(t, path)
	if err := os.WriteFile(path+tempSuffix, []byte("left behind"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, rep := open(t, path, Options{})
	if diff := cmp.Diff(want, dump(t, s)); diff != "" || rep.Lost() {
		t.Error(rep, diff)
	}
	if rep.Freed < 8<<20 || rep.Bytes > int64(len(before)/10) || !strings.Contains(rep.String(), "compacted") {
		t.Errorf("%v, it was %d bytes", rep, len(before))
	}
	if _, err := os.Stat(path + tempSuffix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is still there: %v", err)
	}
	mustWrite(t, s, put(store.Held, "k", "v"))
}

func TestFailedCompactionLeavesTheFile(t *testing.T) {
	s, path := newStore(t)
	grow(t, s)
	if err := os.MkdirAll(filepath.Join(path+tempSuffix, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, s, delPrefix(store.Spool, ""))
	for range 3 {
		mustWrite(t, s, put(store.Held, "k", "v"))
	}
	if st := s.Stats(); st.Compactions != 0 || s.Health() != nil {
		t.Errorf("%+v, %v", st, s.Health())
	}
}

// While failing, the file is tried once a second, with and without batches.
func TestRetriesOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, path := newStore(t)
		other := path + ".other"
		if err := os.Rename(path, other); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("not ours"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := write(t, s, put(store.Held, "k", "v")); err == nil {
			t.Fatal("committed")
		}
		first := s.Stats().Failures
		for range 100 {
			<-time.After(100 * time.Millisecond)
			if err := write(t, s, put(store.Held, "k", "v")); err == nil {
				t.Fatal("committed")
			}
		}
		if n := s.Stats().Failures - first; n < 9 || n > 11 {
			t.Errorf("%d tries in 10 s with batches", n)
		}
		first = s.Stats().Failures
		<-time.After(10 * time.Second)
		if n := s.Stats().Failures - first; n < 9 || n > 11 {
			t.Errorf("%d tries in 10 s without batches", n)
		}
		if err := os.Rename(other, path); err != nil {
			t.Fatal(err)
		}
		<-time.After(1100 * time.Millisecond)
		if err := s.Health(); err != nil {
			t.Errorf("health: %v", err)
		}
		mustWrite(t, s, put(store.Held, "k", "v"))
		closeStore(t, s)
	})
}

// Records are written anew before the old ones are free.
func TestMigrationOfAFileThatIsFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	const limit = 2 << 20
	s, _ := open(t, path, Options{MaxBytes: limit, noSync: true})
	for i := range 1500 {
		mustWrite(t, s, put(store.Sessions, fmt.Sprintf("dev%05d", i), strings.Repeat("s", 60)))
	}
	for i := 0; ; i++ {
		if _, err := answer(s, put(store.Spool, fmt.Sprintf("dev%05d", i), strings.Repeat("x", 1000))); err != nil {
			break
		}
	}
	_ = s.Close() // full as it is
	longer := func(b store.Bucket, _, value []byte) ([]byte, error) {
		if b == store.Sessions {
			value = append([]byte{2}, value...)
		}
		return value, nil
	}
	s, rep := open(t, path, Options{MaxBytes: limit, noSync: true, Migrations: []store.Migration{longer}})
	if rep.SchemaFrom != 1 || rep.Lost() {
		t.Errorf("report %+v", rep)
	}
	closeStore(t, s)
}
