package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"

	"sngate/internal/binrec"
	"sngate/store"
)

// The meta bucket holds two records: the header, which says what the file is, and the
// digest, which says what the other buckets have to contain.
const (
	metaBucket = "meta"
	headerKey  = "header"
	digestKey  = "digest"
)

// schema is the way to the present meaning of the records, see [Options]. All migrations of a
// file run in one transaction.
type schema []store.Migration

func (s schema) version() uint32 { return 1 + uint32(len(s)) }

// header is the first thing that is read of a file. Its form must never change, so
// that every version of the program can tell which version a file has: version (4
// bytes, big endian), name of the program's version that made the file, CRC-32C of
// both (4 bytes).
type header struct {
	version   uint32
	createdBy string
}

func (h header) encode() []byte {
	b := binrec.New(0).U32(h.version).Text(h.createdBy)
	return b.U32(headerSum(b))
}

func headerSum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func decodeHeader(b []byte) (header, error) {
	const sumLen = 4
	r := binrec.NewReader(b)
	h := header{version: r.U32(), createdBy: string(r.Octets(r.Len() - sumLen))}
	if sum := r.U32(); !r.Done() || sum != headerSum(b[:len(b)-sumLen]) {
		return header{}, errors.New("the header record is unreadable")
	}
	return h, nil
}

// bucketCount is the number of buckets of a store.
const bucketCount = int(store.Spool)

// The engine takes every key that the contract allows.
const _ = uint(bbolt.MaxKeySize - store.MaxKey)

// digest is kept with every commit so that a file whose content is not what was
// committed is recognized: bbolt protects its two root pages by a checksum, but not the
// pages with the records, and a disk that lost a write hands out an older page that
// looks perfect.
type digest [bucketCount]tally

// tally counts the records of a bucket and sums up their hashes. The sum does not
// depend on the order, so a change costs only the hash of the old and of the new record.
type tally struct{ records, sum uint64 }

func (d *digest) of(b store.Bucket) *tally { return &d[b-1] }

func (t *tally) add(key, value []byte)    { t.records++; t.sum += recordHash(key, value) }
func (t *tally) remove(key, value []byte) { t.records--; t.sum -= recordHash(key, value) }

// recordHash is FNV-1a over the length of the key, the key and the value, followed by
// the finalizer of splitmix64: without it the hashes of similar records would be
// similar, and sums of them could cancel out.
func recordHash(key, value []byte) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	h = (h ^ uint64(len(key))) * prime
	for _, c := range key {
		h = (h ^ uint64(c)) * prime
	}
	for _, c := range value {
		h = (h ^ uint64(c)) * prime
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// encode adds the number of the transaction that writes the record. It has to be the
// one in the root page: a disk that wrote the root page of a transaction and nothing
// else shows, below it, the complete tree of an older one.
func (d *digest) encode(txid uint64) []byte {
	b := binrec.New(8 + 16*bucketCount).U64(txid)
	for _, t := range d {
		b = b.U64(t.records).U64(t.sum)
	}
	return b
}

// decodeDigest also returns for how many buckets there is an entry: in a file of an
// older version there may be fewer.
func decodeDigest(b []byte) (d digest, buckets int, txid uint64, err error) {
	r := binrec.NewReader(b)
	for txid = r.U64(); buckets < bucketCount && r.Len() > 0; buckets++ {
		d[buckets] = tally{records: r.U64(), sum: r.U64()}
	}
	if buckets == 0 || !r.Done() {
		return digest{}, 0, 0, errors.New("the digest record is unreadable")
	}
	return d, buckets, txid, nil
}

// stamp has to be the last thing in every transaction.
func (d *digest) stamp(tx *bbolt.Tx) error {
	return tx.Bucket([]byte(metaBucket)).Put([]byte(digestKey), d.encode(uint64(tx.ID())))
}

func (d *digest) records() (n int) {
	for _, t := range d {
		n += int(t.records)
	}
	return n
}

// tooNew returns the error for a file of a newer version, or nil.
func (s schema) tooNew(path string, h header) error {
	if h.version <= s.version() {
		return nil
	}
	return fmt.Errorf("%w: %s has schema version %d (made by %q), this program knows versions up to %d; "+
		"start the newer program again, or move the file away to begin without sessions and messages",
		ErrNewerSchema, path, h.version, h.createdBy, s.version())
}

// create makes the buckets of an empty file.
func (s schema) create(tx *bbolt.Tx, createdBy string) error {
	for b := store.Sessions; b <= store.Spool; b++ {
		if _, err := tx.CreateBucketIfNotExists([]byte(b.String())); err != nil {
			return err
		}
	}
	meta, err := tx.CreateBucketIfNotExists([]byte(metaBucket))
	if err != nil {
		return err
	}
	return meta.Put([]byte(headerKey), header{s.version(), createdBy}.encode())
}

// migrate brings a file of an older version up to this one and counts its records anew.
func (s schema) migrate(tx *bbolt.Tx, h header) (d digest, err error) {
	if h.version < 1 {
		return d, errors.New("there is no schema version 0")
	}
	for ; h.version < s.version(); h.version++ {
		if err := rewrite(tx, s[h.version-1]); err != nil {
			return d, fmt.Errorf("migrating from schema version %d to %d: %w", h.version, h.version+1, err)
		}
	}
	for b := store.Sessions; b <= store.Spool; b++ {
		t := d.of(b)
		bucket, err := tx.CreateBucketIfNotExists([]byte(b.String()))
		if err != nil {
			return d, err
		}
		if err := bucket.ForEach(func(k, v []byte) error { t.add(k, v); return nil }); err != nil {
			return d, err
		}
	}
	return d, tx.Bucket([]byte(metaBucket)).Put([]byte(headerKey), h.encode())
}

// rewrite makes one migration. Buckets that the file does not have yet are left out.
func rewrite(tx *bbolt.Tx, migrate store.Migration) error {
	for b := store.Sessions; b <= store.Spool; b++ {
		bucket := tx.Bucket([]byte(b.String()))
		if bucket == nil {
			continue
		}
		c := bucket.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			migrated, err := migrate(b, k, v)
			if err == nil && !bytes.Equal(migrated, v) {
				if err = bucket.Put(k, migrated); err == nil {
					c.Seek(k) // a change makes the place of a cursor invalid
				}
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
