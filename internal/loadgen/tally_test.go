package loadgen

import (
	"math/rand/v2"
	"testing"
)

func TestTallyTellsLossDuplicatesAndReordering(t *testing.T) {
	type want struct{ received, duplicates, reordered, lost, incomplete int64 }
	for _, tt := range []struct {
		name    string
		sent    int
		arrives []uint32
		want    want
	}{
		{"all in order", 4, []uint32{0, 1, 2, 3}, want{received: 4}},
		{"nothing", 3, nil, want{lost: 3, incomplete: 1}},
		{"one missing", 4, []uint32{0, 1, 3}, want{received: 3, lost: 1, incomplete: 1}},
		{"the last missing", 4, []uint32{0, 1, 2}, want{received: 3, lost: 1, incomplete: 1}},
		{"a repeat", 3, []uint32{0, 1, 1, 2}, want{received: 3, duplicates: 1}},
		{"a late repeat is not out of order", 3, []uint32{0, 1, 2, 0}, want{received: 3, duplicates: 1}},
		{"one late", 4, []uint32{0, 2, 3, 1}, want{received: 4, reordered: 1}},
		{"backwards", 3, []uint32{2, 1, 0}, want{received: 3, reordered: 2}},
		{"late and repeated", 4, []uint32{1, 0, 0, 1, 3}, want{received: 3, duplicates: 2, reordered: 1, lost: 1, incomplete: 1}},
	} {
		all := newTally(1)
		for range tt.sent {
			all.number(0)
		}
		for _, n := range tt.arrives {
			all.add(0, n)
		}
		got := want{all.received, all.duplicates, all.reordered, all.sent - all.received, int64(all.incomplete())}
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestTallyDoesNotCountWhatWasNotSent(t *testing.T) {
	all := newTally(2)
	all.number(1)
	for _, m := range [][2]uint32{{2, 0}, {0, 0}, {1, 1}, {1 << 31, 5}} {
		if all.add(m[0], m[1]) {
			t.Errorf("device %d, number %d counts", m[0], m[1])
		}
	}
	if all.stray != 4 || all.received != 0 || !all.add(1, 0) {
		t.Errorf("%d stray, %d received", all.stray, all.received)
	}
}

// The same as with a set, over many words and in any order.
func TestTallyIsExactOverManyNumbers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const sent = 5000
	all := newTally(1)
	for range sent {
		all.number(0)
	}
	seen := make(map[uint32]bool)
	var duplicates int64
	for i := range 3 * sent / 2 {
		n := uint32(i/2) + random.Uint32N(100)
		if n >= sent || random.IntN(50) == 0 {
			continue
		}
		if seen[n] {
			duplicates++
		}
		if first := all.add(0, n); first == seen[n] {
			t.Fatalf("number %d: first %v, seen before %v", n, first, seen[n])
		}
		seen[n] = true
	}
	if all.received != int64(len(seen)) || all.duplicates != duplicates || duplicates == 0 {
		t.Errorf("%d received and %d duplicates, want %d and %d", all.received, all.duplicates, len(seen), duplicates)
	}
}

func TestTallyForgetsWhatIsComplete(t *testing.T) {
	all := newTally(1)
	for i := range uint32(100_000) {
		all.number(0)
		all.add(0, i)
	}
	if n := len(all.streams[0].bits); n > 1 {
		t.Errorf("%d words for a stream without loss", n)
	}
	if all.incomplete() != 0 || all.add(0, 7) || all.duplicates != 1 {
		t.Errorf("a repeat of what is forgotten: %+v", all.duplicates)
	}
}

func TestStampSurvives(t *testing.T) {
	want := stamp{1<<40 + 5, 70000, 1 << 30}
	b := make([]byte, MinPayload)
	want.put(b)
	if got := readStamp(b); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
