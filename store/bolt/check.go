package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"sngate/store"
)

// This file reads the engine's file format by plain reads with bounds on everything.
// The engine itself trusts its pages: on a damaged file it follows wild references in a
// memory map, which ends in a fault, a panic in a goroutine of its own, or a loop. So a
// file is checked completely before the engine gets to see it.
//
// Layout (integers in the byte order of the machine):
//
//	page:   id u64, flags u16, count u16, overflow u32, then count elements, then data
//	branch: pos u32, ksize u32, child u64           pos counts from the element's start
//	leaf:   flags u32, pos u32, ksize u32, vsize u32
//	bucket: root u64, sequence u64, and, if root is 0, a page with the bucket's records
//	meta:   magic u32, version u32, page size u32, flags u32, root u64, sequence u64,
//	        freelist u64, high-water mark u64, transaction u64, checksum u64 (FNV-1a)
const (
	pageSize   = 4096
	headerSize = 16
	elemSize   = 16
	metaSize   = 64

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	flagBucket   = 0x01 // of a leaf element

	metaMagic   = 0xED0CDAED
	metaVersion = 2

	maxDepth = 32       // a tree of this depth would not fit on any disk
	maxSpan  = 64 << 20 // bytes of one page with its overflow, far above MaxValue
	maxPages = 1 << 28  // 1 TiB
)

func u16(b []byte) uint16 { return binary.NativeEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

// metaPage is one of the two root pages. The one with the higher transaction number is
// valid, the other one is the root of the transaction before: its pages are not
// overwritten until the next transaction begins.
type metaPage struct {
	slot     int
	root     uint64
	freelist uint64
	pages    uint64 // all page numbers are below
	txid     uint64
}

func readMeta(f io.ReaderAt, slot int) (metaPage, error) {
	var b [headerSize + metaSize]byte
	if _, err := f.ReadAt(b[:], int64(slot)*pageSize); err != nil {
		return metaPage{}, fmt.Errorf("root page %d cannot be read: %w", slot, err)
	}
	m := b[headerSize:]
	sum := uint64(14695981039346656037)
	for _, c := range m[:metaSize-8] {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	if u64(b[:]) != uint64(slot) || u32(m) != metaMagic || u32(m[4:]) != metaVersion ||
		u32(m[8:]) != pageSize || u64(m[56:]) != sum {
		return metaPage{}, fmt.Errorf("root page %d is damaged", slot)
	}
	p := metaPage{slot: slot, root: u64(m[16:]), freelist: u64(m[32:]),
		pages: u64(m[40:]), txid: u64(m[48:])}
	if p.pages > maxPages {
		return metaPage{}, fmt.Errorf("root page %d claims %d pages", slot, p.pages)
	}
	return p, nil
}

// content is what a walk over a tree found.
type content struct {
	buckets map[string]bool
	counted digest
	header  []byte // nil: none
	digest  []byte
}

// empty reports whether nothing was ever written.
func (c *content) empty() bool { return len(c.buckets) == 0 }

// foreign reports whether there is data, but nothing this package would write.
func (c *content) foreign() bool {
	if c.empty() || c.buckets[metaBucket] {
		return false
	}
	for b := store.Sessions; b <= store.Spool; b++ {
		if c.buckets[b.String()] {
			return false
		}
	}
	return true
}

// matches returns nil if the records are those that transaction txid committed.
func (c *content) matches(txid uint64) error {
	want, n, wrote, err := decodeDigest(c.digest)
	if err != nil {
		return err
	}
	if wrote != txid {
		return fmt.Errorf("the records are those of transaction %d, not of %d", wrote, txid)
	}
	for b := store.Sessions; int(b) <= n; b++ {
		switch got, want := *c.counted.of(b), *want.of(b); {
		case !c.buckets[b.String()]:
			return fmt.Errorf("bucket %v is missing", b)
		case got.records != want.records:
			return fmt.Errorf("bucket %v has %d records instead of %d", b, got.records, want.records)
		case got.sum != want.sum:
			return fmt.Errorf("bucket %v has other records than were written", b)
		}
	}
	return nil
}

// walker visits all pages of a tree. used marks the pages seen: a page with two owners
// is damage, and marking each page once is what bounds the walk.
type walker struct {
	f     io.ReaderAt
	pages uint64
	used  []uint64
	bufs  [maxDepth][]byte // one per level, used again
	only  string           // the only bucket to look into; "" means all
	found content
}

func newWalker(f io.ReaderAt, m metaPage) *walker {
	w := &walker{f: f, pages: m.pages, used: make([]uint64, m.pages/64+1)}
	w.found.buckets = make(map[string]bool)
	return w
}

// walkMeta reads the meta bucket only. A file of a newer version has to be recognized
// by it, whatever the other buckets look like.
func walkMeta(f io.ReaderAt, m metaPage) (*content, error) {
	w := newWalker(f, m)
	w.only = metaBucket
	err := w.tree(m.root, 0, nil, nil, w.bucket)
	return &w.found, err
}

// walk reads everything below a root page: the buckets with their records, and the list
// of free pages.
func walk(f io.ReaderAt, m metaPage) (*content, error) {
	w := newWalker(f, m)
	if err := w.tree(m.root, 0, nil, nil, w.bucket); err != nil {
		return nil, err
	}
	if err := w.freelist(m.freelist); err != nil {
		return nil, err
	}
	return &w.found, nil
}

func (w *walker) mark(id uint64) error {
	if id < 2 || id >= w.pages {
		return fmt.Errorf("page %d is out of range", id)
	}
	if w.used[id/64]>>(id%64)&1 != 0 {
		return fmt.Errorf("page %d is used twice", id)
	}
	w.used[id/64] |= 1 << (id % 64)
	return nil
}

// read returns a page with its overflow and marks what it occupies. The result is valid
// until the next read at the same depth.
func (w *walker) read(id uint64, depth int) ([]byte, error) {
	if depth >= maxDepth {
		return nil, errors.New("the tree is too deep")
	}
	if err := w.mark(id); err != nil {
		return nil, err
	}
	if w.bufs[depth] == nil {
		w.bufs[depth] = make([]byte, pageSize)
	}
	b := w.bufs[depth][:pageSize]
	if _, err := w.f.ReadAt(b, int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	if u64(b) != id {
		return nil, fmt.Errorf("page %d is damaged", id)
	}
	overflow := uint64(u32(b[12:]))
	if overflow == 0 {
		return b, nil
	}
	if overflow >= maxSpan/pageSize {
		return nil, fmt.Errorf("page %d is damaged: it claims %d more pages", id, overflow)
	}
	for i := range overflow {
		if err := w.mark(id + 1 + i); err != nil {
			return nil, err
		}
	}
	n := int(1+overflow) * pageSize
	if cap(w.bufs[depth]) < n {
		w.bufs[depth] = make([]byte, n)
	}
	b = w.bufs[depth][:n]
	if _, err := w.f.ReadAt(b, int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	return b, nil
}

// visitor is called for each element of the leaves, with the depth of the next level.
type visitor func(depth int, flags uint32, key, value []byte) error

// tree walks down from a page. All keys have to be at least low and, unless high is nil,
// below high.
func (w *walker) tree(id uint64, depth int, low, high []byte, visit visitor) error {
	p, err := w.read(id, depth)
	if err != nil {
		return err
	}
	switch u16(p[8:]) {
	case flagLeaf:
		err = leaves(p, depth+1, low, high, visit)
	case flagBranch:
		err = w.branches(p, depth+1, low, high, visit)
	default:
		err = errors.New("neither branch nor leaf")
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (w *walker) branches(p []byte, depth int, low, high []byte, visit visitor) error {
	count := int(u16(p[10:]))
	if count == 0 || headerSize+count*elemSize > len(p) {
		return errors.New("bad number of elements")
	}
	at := func(i int) ([]byte, uint64, error) {
		o := headerSize + i*elemSize
		key, err := cut(p, o, u32(p[o:]), u32(p[o+4:]))
		return key, u64(p[o+8:]), err
	}
	key, child, err := at(0)
	if err != nil {
		return err
	}
	if bytes.Compare(key, low) < 0 {
		return errors.New("keys out of order")
	}
	for i := range count {
		next, nextChild := high, uint64(0)
		if i+1 < count {
			if next, nextChild, err = at(i + 1); err != nil {
				return err
			}
		}
		if next != nil && bytes.Compare(key, next) >= 0 {
			return errors.New("keys out of order")
		}
		if err := w.tree(child, depth, key, next, visit); err != nil {
			return err
		}
		key, child = next, nextChild
	}
	return nil
}

func leaves(p []byte, depth int, low, high []byte, visit visitor) error {
	count := int(u16(p[10:]))
	if headerSize+count*elemSize > len(p) {
		return errors.New("bad number of elements")
	}
	last := low
	for i := range count {
		o := headerSize + i*elemSize
		pos, ksize, vsize := u32(p[o+4:]), u32(p[o+8:]), u32(p[o+12:])
		key, err := cut(p, o, pos, ksize)
		if err != nil {
			return err
		}
		value, err := cut(p, o, pos+ksize, vsize)
		if err != nil && vsize != 0 {
			return err
		}
		if c := bytes.Compare(key, last); c < 0 || c == 0 && i > 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return errors.New("keys out of order")
		}
		last = key
		if err := visit(depth, u32(p[o:]), key, value); err != nil {
			return err
		}
	}
	return nil
}

// cut returns the n bytes at distance pos from an element's start. No key is empty.
func cut(p []byte, elem int, pos, n uint32) ([]byte, error) {
	start := uint64(elem) + uint64(pos)
	end := start + uint64(n)
	if n == 0 || end > uint64(len(p)) {
		return nil, errors.New("an element points outside of its page")
	}
	return p[start:end:end], nil
}

// bucket visits an element of the root: there are only buckets.
func (w *walker) bucket(depth int, flags uint32, name, value []byte) error {
	if flags != flagBucket || len(value) < 16 {
		return errors.New("damaged bucket")
	}
	bucket := string(name)
	w.found.buckets[bucket] = true
	if w.only != "" && w.only != bucket {
		return nil
	}
	record := func(_ int, flags uint32, key, value []byte) error {
		if flags != 0 {
			return fmt.Errorf("damaged record in bucket %q", bucket)
		}
		w.record(bucket, key, value)
		return nil
	}
	if root := u64(value); root != 0 {
		return w.tree(root, depth, nil, nil, record)
	}
	inline := value[16:]
	if len(inline) < headerSize || u16(inline[8:]) != flagLeaf {
		return fmt.Errorf("damaged bucket %q", bucket)
	}
	return leaves(inline, depth, nil, nil, record)
}

func (w *walker) record(bucket string, key, value []byte) {
	if bucket == metaBucket {
		switch string(key) {
		case headerKey:
			w.found.header = bytes.Clone(value)
		case digestKey:
			w.found.digest = bytes.Clone(value)
		}
		return
	}
	for b := store.Sessions; b <= store.Spool; b++ {
		if b.String() == bucket {
			w.found.counted.of(b).add(key, value)
		}
	}
}

// freelist checks that no page is both free and used, or the engine would overwrite
// records. Pages that are neither are lost space, not damage.
func (w *walker) freelist(id uint64) error {
	p, err := w.read(id, 0)
	if err != nil {
		return fmt.Errorf("list of free pages: %w", err)
	}
	if u16(p[8:]) != flagFreelist {
		return errors.New("list of free pages: wrong type of page")
	}
	count, ids := uint64(u16(p[10:])), p[headerSize:]
	if count == 0xFFFF { // then the first entry is the number of the others
		count, ids = u64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return errors.New("list of free pages: bad number of entries")
	}
	for i := range count {
		if err := w.mark(u64(ids[8*i:])); err != nil {
			return fmt.Errorf("list of free pages: %w", err)
		}
	}
	return nil
}
