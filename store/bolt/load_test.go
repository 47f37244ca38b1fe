package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sngate/store"
)

// countOf loads a prefix, waits, and returns how many records there are.
func countOf(t *testing.T, s store.Store, prefix string) (n int, err error) {
	t.Helper()
	done := make(chan struct{})
	if !s.LoadPrefix([]byte(prefix), func(found []store.Record, e error) {
		n, err = len(found), e
		close(done)
	}) {
		t.Fatal("refused")
	}
	<-done
	return n, err
}

func TestLoadPrefixCountsAgainstTheQueue(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "db"), Options{QueueBatches: 3})
	unblock := block(t, s)
	answered := make(chan error, 3)
	submit := func() bool { return s.LoadPrefix([]byte("k"), func(_ []store.Record, err error) { answered <- err }) }
	if !submit() || !s.Submit(store.Batch{Done: func(err error) { answered <- err }}) || !submit() {
		t.Fatal("refused although the queue is not full")
	}
	if submit() || s.Submit(store.Batch{}) {
		t.Error("taken although the queue is full")
	}
	if st := s.Stats(); st.Queued != 3 || st.QueuedBytes == 0 || st.Refused != 2 {
		t.Errorf("%+v", st)
	}
	unblock()
	for range 3 {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	if st := s.Stats(); st.Queued != 0 || st.QueuedBytes != 0 {
		t.Errorf("queue not empty: %+v", st)
	}
}

// A page that is lost while the store runs is the trouble of those whose records were on it.
func TestLoadPrefixOfADamagedPage(t *testing.T) {
	s, path := newStore(t)
	var ops []store.Op
	for i := range 1000 {
		ops = append(ops, put(store.Held, fmt.Sprintf("dev-%03d/", i), strings.Repeat("x", 100)))
	}
	mustWrite(t, s, ops...)
	wipeLeaves(t, path, "dev-500/")
	if _, err := countOf(t, s, "dev-500/"); err == nil {
		t.Error("no error though the page is gone")
	}
	for _, other := range []string{"dev-001/", "dev-998/"} {
		if n, err := countOf(t, s, other); n != 1 || err != nil {
			t.Errorf("%s: %d records, %v", other, n, err)
		}
	}
	mustWrite(t, s, put(store.Held, "dev-001/", "changed"))
	if err := s.Health(); err != nil {
		t.Errorf("health: %v", err)
	}
}

// wipeLeaves fills every page of records that has a key with zeros.
func wipeLeaves(t *testing.T, path, key string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	wiped := 0
	for p, content := 0, readFile(t, path); p*pageSize < len(content); p++ {
		const flags, leaf = 8, 2
		at := page(content, p)
		if binary.NativeEndian.Uint16(at[flags:]) != leaf || !bytes.Contains(at, []byte(key)) {
			continue
		}
		if _, err := file.WriteAt(make([]byte, pageSize), int64(p)*pageSize); err != nil {
			t.Fatal(err)
		}
		wiped++
	}
	if wiped == 0 {
		t.Fatal("there is no page to be wiped")
	}
}

// Records can be read on a full disk, where they cannot be written.
func TestLoadPrefixOnAFullDisk(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "db"), Options{MaxBytes: 128 << 10})
	mustWrite(t, s, put(store.Held, "dev/", "v"))
	if err := write(t, s, put(store.Held, "big", strings.Repeat("x", 1<<20))); err == nil || s.Health() == nil {
		t.Fatal("the disk is not full")
	}
	if n, err := countOf(t, s, "dev/"); n != 1 || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
	if _, err := countOf(t, s, ""); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("no prefix: %v", err)
	}
}
