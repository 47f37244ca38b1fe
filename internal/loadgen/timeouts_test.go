package loadgen

import (
	"slices"
	"testing"
)

// order takes all devices out and returns them in the order in which they were due.
func order(t *testing.T, w *timeouts) (list []int) {
	t.Helper()
	last := int64(0)
	for {
		i, due, ok := w.first()
		if !ok {
			return list
		}
		if due < last {
			t.Fatalf("device %d is due at %d, after one at %d", i, due, last)
		}
		last = due
		list = append(list, i)
		w.remove(i)
	}
}

func TestTimeoutsComeInOrder(t *testing.T) {
	w := newTimeouts(6)
	for i, d := range []int{3, 0, 5, 1} {
		w.add(d, int64(10+i))
	}
	w.remove(0)
	w.remove(0) // not in it any more
	w.remove(2) // never was
	w.add(3, 20)
	w.add(0, 21)
	if w.outstanding != 4 {
		t.Errorf("%d wait, want 4", w.outstanding)
	}
	if got := order(t, &w); !slices.Equal(got, []int{5, 1, 3, 0}) {
		t.Errorf("in the order %v", got)
	}
	if w.outstanding != 0 {
		t.Errorf("%d wait, and nobody does", w.outstanding)
	}
}
