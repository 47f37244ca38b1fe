package binrec

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// sample has a field of each kind.
func sample() Writer {
	return New(0).U8(1, 2).U16(0x0304).U32(0x05060708).U64(0x090A0B0C0D0E0F10).
		Text16("ab").Text32("").Text32("c").Octets([]byte{0xFE}).Text("xyz")
}

// readSample takes the fields of sample and reports whether they are right.
func readSample(r *Reader) bool {
	return r.U8() == 1 && r.U8() == 2 && r.U16() == 0x0304 && r.U32() == 0x05060708 && r.U64() == 0x090A0B0C0D0E0F10 &&
		r.Text16() == "ab" && r.Text32() == "" && r.Text32() == "c" && bytes.Equal(r.Octets(1), []byte{0xFE}) && string(r.Rest()) == "xyz"
}

func TestOctetsOfARecord(t *testing.T) {
	const want = "0102" + "0304" + "05060708" + "090a0b0c0d0e0f10" + "00026162" + "00000000" + "0000000163" + "fe" + "78797a"
	if got := hex.EncodeToString(sample()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if r := NewReader(sample()); !readSample(&r) || !r.Done() || r.Malformed() || r.Len() != 0 {
		t.Errorf("%+v", r)
	}
}

func TestCutRecordsAreMalformed(t *testing.T) {
	whole := sample()
	for n := range len(whole) - len("xyz") {
		r := NewReader(whole[:n:n])
		readAll := func() {
			r.U8()
			r.U8()
			r.U16()
			r.U32()
			r.U64()
			r.Text16()
			r.Text32()
			r.Text32()
			r.Octets(1)
		}
		if readAll(); !r.Malformed() || r.Done() {
			t.Errorf("cut to %d octets: taken", n)
		}
		if readAll(); r.U8() != 0 || r.U64() != 0 || r.Text16() != "" || r.Octets(0) != nil || r.Rest() != nil {
			t.Errorf("cut to %d octets: something is read behind the fault", n)
		}
	}
	// Also where the record goes on behind a field that is too long.
	r := NewReader(New(0).U16(100).Text("abc").U32(7))
	if r.Text16() != "" || r.U32() != 0 || r.Done() {
		t.Error("a text is longer than the record")
	}
}

func TestDoneWantsTheWholeRecord(t *testing.T) {
	r := NewReader([]byte{1, 2})
	if r.U8(); r.Done() || r.Malformed() || r.Len() != 1 {
		t.Error("one octet is left")
	}
	if r.U8(); !r.Done() {
		t.Error("all is read")
	}
	if r.Check(true); !r.Done() {
		t.Error("and makes sense")
	}
	if r.Check(false); r.Done() || !r.Malformed() {
		t.Error("or does not")
	}
	if r = NewReader([]byte{1}); r.Octets(-1) != nil || !r.Malformed() {
		t.Error("a length below 0")
	}
	if r = NewReader([]byte{0xFF, 0xFF, 0xFF, 0xFF, 1}); r.Text32() != "" || !r.Malformed() {
		t.Error("a length beyond all memory")
	}
	if r = NewReader(nil); r.Rest() != nil || !r.Done() {
		t.Error("an empty record has an empty rest")
	}
}

func TestTextBeyondItsLengthIsCut(t *testing.T) {
	w := New(0).Text16(strings.Repeat("x", 70_000)).U8(9)
	r := NewReader(w)
	if n, v := len(r.Text16()), r.U8(); n != 65535 || v != 9 || !r.Done() {
		t.Errorf("%d octets, then %d", n, v)
	}
}

func TestReadingAllocatesTextsOnly(t *testing.T) {
	record := New(0).U8(1).U16(2).U32(3).U64(4).Octets(make([]byte, 100))
	if n := testing.AllocsPerRun(100, func() {
		r := NewReader(record)
		r.U8()
		r.U16()
		r.U32()
		r.U64()
		r.Rest()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
