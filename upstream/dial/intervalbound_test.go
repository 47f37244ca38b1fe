package dial

import (
	"testing"
	"time"
)

func TestClientsOfTheConnectIntervalAreForgottenInTime(t *testing.T) {
	v := newInterval(time.Second)
	now := v.begun
	for i := range 10 * maxRecent {
		now = now.Add(time.Microsecond)
		v.note(uint64(i), now)
		if len(v.recent) > maxRecent || len(v.older) > maxRecent {
			t.Fatalf("%d and %d clients are remembered", len(v.recent), len(v.older))
		}
	}
	for _, id := range []uint64{0, 10*maxRecent - 1, 1 << 40} {
		if v.left(id, now) <= 0 {
			t.Errorf("%d may connect, though it is not known when it did", id)
		}
	}
	now = now.Add(time.Second)
	v.note(1, now)
	now = now.Add(time.Second)
	v.note(2, now)
	if len(v.recent)+len(v.older) != 2 || v.left(1, now) > 0 || v.left(2, now) != time.Second {
		t.Errorf("%d and %d clients are remembered after a pause", len(v.recent), len(v.older))
	}
}
