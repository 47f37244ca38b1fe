package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"sngate/conf"
	"sngate/gateway/persist"
	"sngate/store"
	"sngate/store/bolt"
)

// runWithStore runs the gateway with a store until it has started, on free ports, and
// returns its exit code and log.
func runWithStore(t *testing.T, path string) (code int, log string) {
	t.Helper()
	file := write(t, "sngate.toml", fmt.Sprintf(`listener = [{ address = "127.0.0.1:0" }]
store.path = %q
embedded_broker.address = "127.0.0.1:0"
ops.address = ""
log.format = "json"
`, path))
	return runUntilStarted(t, file)
}

// runUntilStarted runs the gateway with a configuration until it has started, and returns
// its exit code and log.
func runUntilStarted(t *testing.T, file string) (code int, log string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // to stop is the first thing it does
	var stdout bytes.Buffer
	var stderr lockedBuffer
	code = run(ctx, []string{"run", "-c", file}, strings.NewReader(""), &stdout, &stderr)
	stderr.mu.Lock()
	defer stderr.mu.Unlock()
	return code, stderr.b.String()
}

// lockedBuffer takes the lines that several goroutines log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// writeBolt makes or changes a file with the store's engine but without the store.
func writeBolt(t *testing.T, path, bucket, key string, value []byte) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		return b.Put([]byte(key), value)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func openTestStore(t *testing.T, path string) store.Store {
	t.Helper()
	s, _, err := bolt.Open(path, bolt.Options{Migrations: persist.Migrations()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreIsMadeAndClosedAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sngate.db")
	for _, want := range []string{"new file", " records in "} {
		code, log := runWithStore(t, path)
		if code != exitOK || !strings.Contains(log, `"level":"info"`) || !strings.Contains(log, want) || strings.Contains(log, `"level":"error"`) {
			t.Errorf("code %d, want %q in\n%s", code, want, log)
		}
		if err := openTestStore(t, path).Close(); err != nil { // it would be locked
			t.Error(err)
		}
	}
}

func TestStoreOfAnOlderVersionIsMigrated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sngate.db")
	s, _, err := bolt.Open(path, bolt.Options{})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if code, log := runWithStore(t, path); code != exitOK || !strings.Contains(log, "migrated from schema version 1") {
		t.Errorf("code %d\n%s", code, log)
	}
	if _, _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, bolt.ErrNewerSchema) {
		t.Errorf("an older program opens it: %v", err)
	}
}

func TestStoreOfARelativePathIsNamedInFull(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	code, log := runWithStore(t, "x.db")
	if code != exitOK || !strings.Contains(log, filepath.Join(dir, "x.db")) {
		t.Errorf("code %d\n%s", code, log)
	}
}

func TestWithoutAStoreNothingIsWritten(t *testing.T) {
	t.Chdir(t.TempDir())
	code, log := runWithStore(t, "")
	if code != exitOK || !strings.Contains(log, "in memory") {
		t.Errorf("code %d\n%s", code, log)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// unwritable is a folder where this user cannot make a file. For root, who may write
// everywhere else, it is the one of the kernel's objects, "" in a chroot without it.
func unwritable(t *testing.T) string {
	t.Helper()
	if os.Getuid() == 0 {
		if _, err := os.Stat("/sys/kernel"); err != nil {
			return ""
		}
		return "/sys"
	}
	dir := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What only the operator can resolve ends the start, and says what to do.
func TestStoreThatCannotBeUsedEndsTheStart(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }

	locked := openTestStore(t, at("locked"))
	defer locked.Close()

	if err := openTestStore(t, at("newer")).Close(); err != nil {
		t.Fatal(err)
	}
	header := append(binary.BigEndian.AppendUint32(nil, 99), "9.8.7"...)
	header = binary.BigEndian.AppendUint32(header, crc32.Checksum(header, crc32.MakeTable(crc32.Castagnoli)))
	writeBolt(t, at("newer"), "meta", "header", header)

	writeBolt(t, at("foreign"), "accounts", "a", nil)

	tests := []struct {
		path string
		want []string
	}{
		{at("locked"), []string{"is another sngate running with the same store.path?"}},
		{at("newer"), []string{"schema version 99", "9.8.7", "start the newer program again, or move the file away"}},
		{at("foreign"), []string{"belongs to another program", "choose another path"}},
		{at("missing/sngate.db"), []string{"the directory of", "does not exist; create it first"}},
		{dir, []string{"is not a regular file"}},
	}
	if place := unwritable(t); place != "" {
		tests = append(tests, struct {
			path string
			want []string
		}{filepath.Join(place, "sngate.db"), []string{"set store.path to a file that can be written"}})
	}
	for _, tt := range tests {
		code, log := runWithStore(t, tt.path)
		if code != exitFailure || !strings.Contains(log, "sngate failed") {
			t.Errorf("%s: code %d\n%s", tt.path, code, log)
		}
		for _, want := range append(tt.want, tt.path) {
			if !strings.Contains(log, want) {
				t.Errorf("%s: want %q in\n%s", tt.path, want, log)
			}
		}
	}
}

func TestDamagedStoreIsLoggedLoudly(t *testing.T) {
	path := write(t, "sngate.db", strings.Repeat("damaged", 10000))
	var log bytes.Buffer
	s, err := openStore(conf.Store{Path: path, MaxBytes: 1 << 30}, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, want := range []string{`"level":"error"`, `"damage":"root page`, `"moved_to":"` + path + `.damaged-1"`, "sessions and messages in it are lost"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("want %q in %s", want, log.String())
		}
	}
}
