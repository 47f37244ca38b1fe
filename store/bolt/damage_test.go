package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sngate/store"
)

// sample is a file before and after its last transaction, with the records of both.
type sample struct {
	before, after           []byte
	contentBefore, contents records
}

// pagesOfLast returns the numbers of the pages which the last transaction wrote.
func (s sample) pagesOfLast() (pages []int) {
	for p := 0; p*pageSize < len(s.after); p++ {
		if !bytes.Equal(page(s.before, p), page(s.after, p)) {
			pages = append(pages, p)
		}
	}
	return pages
}

func page(file []byte, p int) []byte {
	start := min(p*pageSize, len(file))
	return file[start:min(start+pageSize, len(file))]
}

// makeSample builds a file with a tree of two levels, values over several pages, inline
// buckets and a list of free pages, and commits one more transaction to it.
func makeSample(t testing.TB) sample {
	t.Helper()
	s, path := newStore(t)
	for round := range 6 {
		var ops []store.Op
		for i := range 120 {
			ops = append(ops, put(store.Held, fmt.Sprintf("dev-%03d/%d", i, round), strings.Repeat("x", 60+round)),
				put(store.Sessions, fmt.Sprintf("dev-%03d", i), fmt.Sprint("session ", round)))
		}
		ops = append(ops, put(store.Topics, "one", "inline"), put(store.Spool, fmt.Sprint("long", round), strings.Repeat("y", 9000)))
		mustWrite(t, s, ops...)
	}
	mustWrite(t, s, delPrefix(store.Held, "dev-05"), del(store.Spool, "long1"))
	var sm sample
	sm.contentBefore = dump(t, s)
	sm.before = readFile(t, path)
	mustWrite(t, s, put(store.Held, "dev-001/9", "last"), del(store.Held, "dev-002/1"), put(store.Topics, "two", "last"),
		put(store.Spool, "long7", strings.Repeat("z", 9000)), put(store.Sessions, "dev-119", "last"))
	sm.contents = dump(t, s)
	sm.after = readFile(t, path)
	closeStore(t, s)
	if n := len(sm.pagesOfLast()); n < 6 || len(sm.after) < 30*pageSize {
		t.Fatalf("sample is too small: %d pages of the last transaction, %d bytes", n, len(sm.after))
	}
	return sm
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// outcome is what became of a damaged file.
type outcome int

const (
	whole  outcome = iota // all records
	before                // the last transaction is missing
	aside                 // moved aside, nothing left
)

func (o outcome) String() string { return [...]string{"whole", "before", "aside"}[o] }

// reopen opens a copy of a file with the given content. It fails the test unless the
// records are one of the two states or none, the report says so, and the store works.
func (sm sample) reopen(t testing.TB, file []byte) outcome {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, rep := open(t, path, Options{noSync: true})
	got := dump(t, s)
	var o outcome
	switch {
	case maps.Equal(got, sm.contents):
		o = whole
	case maps.Equal(got, sm.contentBefore):
		o = before
	case len(got) == 0:
		o = aside
	default:
		t.Fatalf("opened with %d records which were never committed together; report: %v", len(got), rep)
	}
	// With the root page as it was before, the file is as it was before, and nothing
	// can tell that there once was more.
	untouched := bytes.Equal(file[:min(len(file), 2*pageSize)], sm.before[:2*pageSize])
	if o == before && !rep.RolledBack && !untouched {
		t.Errorf("the last transaction is missing and the report does not say so: %v", rep)
	}
	if o == aside {
		if kept, err := os.ReadFile(rep.MovedTo); err != nil || !bytes.Equal(kept, file) {
			t.Errorf("the damaged file was not kept as it was: %v, report: %v", err, rep)
		}
	}
	if o == aside && !rep.Lost() {
		t.Errorf("outcome %v, report: %v", o, rep)
	}
	if o == whole && !rep.Lost() {
		closeStore(t, s)
		return o
	}
	mustWrite(t, s, put(store.Held, "new", "v"), delPrefix(store.Spool, ""), put(store.Sessions, "dev-050", "v"))
	want := dump(t, s)
	closeStore(t, s)
	s, rep = open(t, path, Options{noSync: true})
	if !maps.Equal(want, dump(t, s)) || rep.Lost() {
		t.Errorf("after the repair a commit does not hold: report %v", rep)
	}
	closeStore(t, s)
	return o
}

// harm are the ways in which a page is damaged.
var harm = map[string]func(sm sample, file []byte, p int){
	"zeroed":      func(_ sample, f []byte, p int) { clear(page(f, p)) },
	"set to 0xFF": func(_ sample, f []byte, p int) { fill(page(f, p), 0xFF) },
	"inverted":    func(_ sample, f []byte, p int) { invert(page(f, p)) },
	"head lost":   func(_ sample, f []byte, p int) { clear(page(f, p)[:512]) },
	"tail lost":   func(_ sample, f []byte, p int) { clear(page(f, p)[512:]) },
	"old content": func(sm sample, f []byte, p int) { copy(page(f, p), page(sm.before, p)) },
	"other page":  func(_ sample, f []byte, p int) { copy(page(f, p), page(f, p^1)) },
	"bit of header": func(_ sample, f []byte, p int) {
		page(f, p)[8+p%8] ^= 1 << (p % 3)
	},
	"bit of element": func(_ sample, f []byte, p int) { page(f, p)[headerSize+4+p%12] ^= 0x10 },
	"overflow":       func(_ sample, f []byte, p int) { binary.NativeEndian.PutUint32(page(f, p)[12:], 1<<20) },
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

func invert(b []byte) {
	for i := range b {
		b[i] ^= 0xFF
	}
}

// A power cut can tear the last transaction in any way, if the disk confirms writes
// early. All before it must be there: no page of it was written over.
func TestTornLastTransactionLosesAtMostItself(t *testing.T) {
	sm := makeSample(t)
	seen := make(map[outcome]int)
	for name, do := range harm {
		for _, p := range sm.pagesOfLast() {
			file := bytes.Clone(sm.after)
			do(sm, file, p)
			o := sm.reopen(t, file)
			if o == aside {
				t.Errorf("page %d %s: the whole file was given up", p, name)
			}
			seen[o]++
		}
	}
	if seen[before] == 0 {
		t.Errorf("nothing was ever taken back: %v", seen)
	}
}

// Each prefix and each suffix of the last transaction's pages is on the disk.
func TestPartlyWrittenLastTransaction(t *testing.T) {
	sm := makeSample(t)
	pages := sm.pagesOfLast()
	for n := range len(pages) + 1 {
		first, last := bytes.Clone(sm.before), bytes.Clone(sm.before)
		for i, p := range pages {
			if i < n {
				copy(page(first, p), page(sm.after, p))
			} else {
				copy(page(last, p), page(sm.after, p))
			}
		}
		if a, b := sm.reopen(t, first), sm.reopen(t, last); a == aside || b == aside {
			t.Errorf("%d of %d pages: %v and %v", n, len(pages), a, b)
		}
	}
}

func TestDamageOfAnyPageIsFoundAndReported(t *testing.T) {
	sm := makeSample(t)
	var seen [aside + 1]atomic.Int32
	t.Run("page", func(t *testing.T) {
		for name, do := range harm {
			t.Run(name, func(t *testing.T) {
				t.Parallel() // they wait for the disk
				for p := range len(sm.after) / pageSize {
					file := bytes.Clone(sm.after)
					do(sm, file, p)
					seen[sm.reopen(t, file)].Add(1)
					if t.Failed() {
						t.Fatalf("page %d", p)
					}
				}
			})
		}
	})
	for o := range seen {
		if seen[o].Load() == 0 {
			t.Errorf("outcome %v never seen", outcome(o))
		}
	}
}

func TestTruncationAtAnyPageIsFoundAndReported(t *testing.T) {
	sm := makeSample(t)
	for size := pageSize; size <= len(sm.after); size += pageSize { // without an octet it is a new file
		o := sm.reopen(t, sm.after[:size:size])
		if size == len(sm.after) && o != whole || t.Failed() {
			t.Fatalf("%d of %d bytes: %v", size, len(sm.after), o)
		}
	}
	for _, size := range []int{1, 15, 16, 79, 80, 4095, 4097, 8191, 8193} {
		if o := sm.reopen(t, sm.after[:size:size]); o != aside {
			t.Errorf("%d bytes: %v", size, o)
		}
	}
}

// The engine maps as much as there is of a file, and takes free pages behind that.
func TestFileThatWasCutShortIsMappedUpToItsHighWaterMark(t *testing.T) {
	sm := makeSample(t)
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, sm.after[:8*pageSize], 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mapSize(path); got <= 8*pageSize || got > len(sm.after) {
		t.Errorf("mapped up to %d of %d", got, len(sm.after))
	}
}

// The checksum of bbolt's root pages is public, so a root page can be wrong and valid.
func TestValidRootPageWithWildReferences(t *testing.T) {
	sm := makeSample(t)
	for field, offset := range map[string]int{"root": 16, "freelist": 32, "pages": 40} {
		for _, v := range []uint64{0, 1, 2, 3, 7, 1 << 20, 1 << 40, 1<<64 - 1} {
			file := bytes.Clone(sm.after)
			for slot := range 2 {
				m := page(file, slot)[headerSize:]
				binary.NativeEndian.PutUint64(m[offset:], v)
				sum := uint64(14695981039346656037)
				for _, c := range m[:56] {
					sum = (sum ^ uint64(c)) * 1099511628211
				}
				binary.NativeEndian.PutUint64(m[56:], sum)
			}
			sm.reopen(t, file)
			if t.Failed() {
				t.Fatalf("%s = %d", field, v)
			}
		}
	}
}

// bbolt would follow a page that refers to itself or to its parent for ever.
func TestCyclesOfPages(t *testing.T) {
	sm := makeSample(t)
	cycles := 0
	for p := 2; p < len(sm.after)/pageSize; p++ {
		b := page(sm.after, p)
		if u16(b[8:]) != flagBranch {
			continue
		}
		for i := range int(u16(b[10:])) {
			file := bytes.Clone(sm.after)
			binary.NativeEndian.PutUint64(page(file, p)[headerSize+i*elemSize+8:], uint64(p))
			sm.reopen(t, file)
			cycles++
		}
	}
	if cycles == 0 {
		t.Error("the sample has no branch pages")
	}
}

func TestForeignAndEmptyContent(t *testing.T) {
	for name, content := range map[string][]byte{
		"text":    []byte(strings.Repeat("this is not a store\n", 1000)),
		"short":   []byte("x"),
		"zeros":   make([]byte, 64<<10),
		"all set": bytes.Repeat([]byte{0xFF}, 64<<10),
	} {
		path := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, rep := open(t, path, Options{})
		if rep.MovedTo != path+".damaged-1" || !rep.Lost() || !rep.Created || !strings.Contains(rep.String(), rep.MovedTo) {
			t.Errorf("%s: %v", name, rep)
		}
		mustWrite(t, s, put(store.Held, "k", "v"))
	}
}

func TestEmptyFileIsANewOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, rep := open(t, path, Options{})
	if !rep.Created || rep.Lost() || rep.MovedTo != "" || rep.String() != "store "+path+": new file" {
		t.Errorf("%+v", rep)
	}
	mustWrite(t, s, put(store.Held, "k", "v"))
	closeStore(t, s)
	s, rep = open(t, path, Options{})
	if rep.Created || rep.Lost() || len(dump(t, s)) != 1 {
		t.Errorf("again: %+v", rep)
	}
	if kept, err := damagedFiles(path); len(kept) > 0 || err != nil {
		t.Errorf("moved aside: %v, %v", kept, err)
	}
}

func TestDamagedFilesAreKeptUpToALimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	for i := 1; i <= 12; i++ {
		if err := os.WriteFile(path, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		s, rep := open(t, path, Options{})
		if rep.MovedTo != fmt.Sprint(path, ".damaged-", i) {
			t.Errorf("file %d: %v", i, rep)
		}
		closeStore(t, s)
	}
	kept, err := damagedFiles(path)
	if diff := cmp.Diff([]int{10, 11, 12}, kept); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// FuzzDamagedFile overwrites parts of a file: whatever comes out is one of the states
// that were committed, or nothing, and the store works after it.
func FuzzDamagedFile(f *testing.F) {
	sm := makeSample(f)
	f.Add(uint32(0), []byte{0xFF})
	for _, p := range sm.pagesOfLast() {
		f.Add(uint32(p*pageSize), make([]byte, 16))
		f.Add(uint32(p*pageSize+8), binary.NativeEndian.AppendUint32(nil, 1<<16|flagBranch))
		f.Add(uint32(p*pageSize+20), []byte{1, 2, 3, 4})
	}
	f.Fuzz(func(t *testing.T, at uint32, with []byte) {
		file := bytes.Clone(sm.after)
		copy(file[int(at)%len(file):], with)
		sm.reopen(t, file)
	})
}
