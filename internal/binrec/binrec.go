// Package binrec reads and writes records of fields in fixed order: numbers in big endian,
// and texts and octets with their length before them or up to the end of the record.
//
// Reading is done by golang.org/x/crypto/cryptobyte, whose bounds are checked at each field. Its
// Builder is not used: where the lengths of all texts are known before, it checks nothing
// that append does not.
package binrec

import (
	"encoding/binary"
	"math"

	"golang.org/x/crypto/cryptobyte"
)

// Reader takes fields from the front of a record. It can be asked for all of them before
// [Reader.Done] is: after the first one that is not there all further ones are zero.
type Reader struct {
	rest cryptobyte.String
	bad  bool
}

// NewReader returns a reader of a record, which must not change before it is read.
func NewReader(record []byte) Reader { return Reader{rest: record} }

// U8 takes one octet.
func (r *Reader) U8() (v uint8) {
	r.Check(!r.bad && r.rest.ReadUint8(&v))
	return v
}

// U16 takes two octets.
func (r *Reader) U16() (v uint16) {
	r.Check(!r.bad && r.rest.ReadUint16(&v))
	return v
}

// U32 takes four octets.
func (r *Reader) U32() (v uint32) {
	r.Check(!r.bad && r.rest.ReadUint32(&v))
	return v
}

// U64 takes eight octets.
func (r *Reader) U64() (v uint64) {
	r.Check(!r.bad && r.rest.ReadUint64(&v))
	return v
}

// Octets takes n octets, which are a part of the record. It returns nil for none, and if there
// are not so many.
func (r *Reader) Octets(n int) (v []byte) {
	if n == 0 { // of an empty record cryptobyte cannot take even that
		return nil
	}
	r.Check(!r.bad && r.rest.ReadBytes(&v, n))
	return v[:len(v):len(v)]
}

// Text16 takes a text with its length before it in two octets.
func (r *Reader) Text16() string { return string(r.Octets(int(r.U16()))) }

// Text32 takes a text with its length before it in four octets.
func (r *Reader) Text32() string { return string(r.Octets(int(r.U32()))) }

// Rest takes all that is left. It is a part of the record.
func (r *Reader) Rest() []byte { return r.Octets(len(r.rest)) }

// Len is how many octets are left.
func (r *Reader) Len() int { return len(r.rest) }

// Check makes the record malformed unless what has been read of it makes sense.
func (r *Reader) Check(sense bool) { r.bad = r.bad || !sense }

// Malformed reports whether a field was not there, or made no sense.
func (r *Reader) Malformed() bool { return r.bad }

// Done reports whether the record was well-formed and has been read up to its end.
func (r *Reader) Done() bool { return !r.bad && r.rest.Empty() }

// Writer is a record to which fields are appended. The zero value is an empty one.
type Writer []byte

// New returns an empty record with room for so many octets.
func New(room int) Writer { return make(Writer, 0, room) }

// U8 appends octets.
func (w Writer) U8(v ...uint8) Writer { return append(w, v...) }

// U16 appends two octets.
func (w Writer) U16(v uint16) Writer { return binary.BigEndian.AppendUint16(w, v) }

// U32 appends four octets.
func (w Writer) U32(v uint32) Writer { return binary.BigEndian.AppendUint32(w, v) }

// U64 appends eight octets.
func (w Writer) U64(v uint64) Writer { return binary.BigEndian.AppendUint64(w, v) }

// Octets appends octets up to the end of the record, or of a number that the reader knows.
func (w Writer) Octets(v []byte) Writer { return append(w, v...) }

// Text appends a text like Octets.
func (w Writer) Text(v string) Writer { return append(w, v...) }

// Text16 appends a text with its length before it in two octets; what is beyond 65535
// octets is cut off.
func (w Writer) Text16(v string) Writer {
	v = v[:min(len(v), math.MaxUint16)]
	return w.U16(uint16(len(v))).Text(v)
}

// Text32 appends a text of less than 4 GiB with its length before it in four octets.
func (w Writer) Text32(v string) Writer { return w.U32(uint32(len(v))).Text(v) }
