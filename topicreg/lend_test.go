package topicreg

import (
	"fmt"
	"testing"
	"time"
)

// lent is a table that has lent the ids 1 to n to t/1 to t/n, told at the time of their
// number in seconds.
func lent(t *testing.T, n int) *Table {
	t.Helper()
	var table Table
	for i := 1; i <= n; i++ {
		id, err := table.Add(fmt.Sprint("t/", i), n, nil)
		if err != nil {
			t.Fatal(err)
		}
		table.SetAnnounced(id, true)
		table.Touch(id, time.Duration(i)*time.Second)
	}
	return &table
}

func none(uint16) bool { return false }

func TestOldestIsTheOneUsedLeastRecently(t *testing.T) {
	table := lent(t, 2*mapAbove)
	table.Touch(1, 100*time.Second)
	table.Own(2)
	table.Touch(0xFFFE, time.Hour) // stands for nothing
	for _, c := range []struct {
		before time.Duration
		keep   func(uint16) bool
		want   uint16
	}{
		{time.Hour, none, 3},
		{time.Hour, func(id uint16) bool { return id == 3 }, 4},
		{3 * time.Second, none, 3},
		{3*time.Second - 1, none, 0},
		{time.Hour, func(id uint16) bool { return id != 1 }, 1},
		{time.Hour, func(uint16) bool { return true }, 0},
	} {
		if got, ok := table.Oldest(c.before, c.keep); got != c.want || ok != (c.want != 0) {
			t.Errorf("before %v: %d, %v, want %d", c.before, got, ok, c.want)
		}
	}
}

func TestUsesOfOneMomentKeepTheirOrder(t *testing.T) {
	table := lent(t, 3)
	for _, id := range []uint16{2, 3, 1} {
		table.Touch(id, 10*time.Second)
	}
	if got, _ := table.Oldest(time.Hour, none); got != 2 {
		t.Errorf("oldest is %d, want 2", got)
	}
}

func TestMoveGivesALentIDToAnotherName(t *testing.T) {
	for _, n := range []int{3, 2 * mapAbove} {
		table := lent(t, n)
		octets := table.Octets()
		if !table.Move(2, "a/much/longer/name") {
			t.Fatal("refused")
		}
		_, hasOld := table.ID("t/2")
		id, _ := table.ID("a/much/longer/name")
		name, _ := table.Name(2)
		if hasOld || id != 2 || name != "a/much/longer/name" || table.Len() != n || table.Octets() != octets+15 {
			t.Errorf("id %d, name %q, old name there: %v, %d names of %d octets", id, name, hasOld, table.Len(), table.Octets())
		}
		if table.Announced(2) || !table.Doubtful(2) || table.Trusted(2) {
			t.Error("the device has not said that it knows")
		}
		table.SetAnnounced(2, true)
		if !table.Announced(2) || table.Doubtful(2) || table.Trusted(2) {
			t.Error("the device has said that it knows, but knew it by another name before")
		}
	}
}

func TestMeantIsTheNameUnlessTheDeviceMayKnowAnother(t *testing.T) {
	table := lent(t, 3)
	table.Move(2, "x")
	check := func(id uint16, want string) {
		t.Helper()
		if name, ok := table.Meant(id); name != want || ok != (want != "") {
			t.Errorf("%d means %q, %v, want %q", id, name, ok, want)
		}
	}
	check(1, "t/1")
	check(2, "") // the device may still know it as t/2
	check(9, "")
	table.SetAnnounced(2, true)
	check(2, "x")
	table.Remove(1) // those behind it are not at their places any more
	check(1, "")
	check(2, "x")
	check(3, "t/3")
}

func TestSettledIsWhatTheDeviceKnowsAndOwns(t *testing.T) {
	table := lent(t, 3)
	for _, own := range []bool{false, true} {
		for _, known := range []bool{false, true} {
			if table.SetAnnounced(2, known); own {
				table.Own(2)
			}
			if got := table.Settled(2); got != (own && known) {
				t.Errorf("own %v, known %v: settled is %v", own, known, got)
			}
		}
	}
	table.Refuse(2)
	if table.Settled(2) || table.Settled(9) {
		t.Error("settled, though the device does not know it")
	}
}

func TestMoveRefusesWhatIsNotLent(t *testing.T) {
	table := lent(t, 4)
	table.Own(1)
	if err := table.Bind(500, "bound", 10); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id   uint16
		name string
	}{{1, "x"}, {500, "x"}, {9, "x"}, {2, "t/3"}, {2, "t/2"}} {
		if table.Move(c.id, c.name) {
			t.Errorf("Move(%d, %q) is done", c.id, c.name)
		}
	}
	if table.Len() != 5 || table.Owned() != 1 {
		t.Errorf("%d names, %d of the device's own", table.Len(), table.Owned())
	}
}

func TestOwnedIsCounted(t *testing.T) {
	table := lent(t, 3)
	for _, id := range []uint16{1, 1, 3, 9} {
		table.Own(id)
	}
	if table.Owned() != 2 || !table.State(1).Own || table.State(2).Own {
		t.Errorf("%d", table.Owned())
	}
	table.Remove(1)
	if table.Owned() != 1 {
		t.Errorf("%d after a removal", table.Owned())
	}
	var restored Table
	for id, name := range table.All {
		if err := restored.Restore(id, name, table.State(id)); err != nil {
			t.Fatal(err)
		}
		if restored.State(id) != table.State(id) {
			t.Errorf("%d: %+v, want %+v", id, restored.State(id), table.State(id))
		}
	}
	if restored.Owned() != 1 || restored.Octets() != table.Octets() {
		t.Errorf("%d of %d octets after a restart", restored.Owned(), restored.Octets())
	}
}

func TestRefusedIDIsNotTrusted(t *testing.T) {
	table := lent(t, 2)
	if !table.Trusted(1) {
		t.Fatal("told, and never by another name")
	}
	table.ForgetAnnounced()
	if !table.Trusted(1) || table.Announced(1) {
		t.Error("after a new connection it is tried, and not taken for granted")
	}
	table.Refuse(1)
	if table.Trusted(1) || table.Doubtful(1) {
		t.Error("the device does not know it, and by no other name either")
	}
	table.Refuse(77)
}

func TestDistrustOnlyWhereAnIDMayHaveMoved(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int
		move  bool
		want  bool
	}{
		{"room", 4, false, false}, {"full", 3, false, true}, {"moved", 4, true, true},
	} {
		table := lent(t, 3)
		table.Own(1)
		if c.move {
			table.Move(2, "x")
			table.SetAnnounced(2, true)
		}
		table.Distrust(c.limit)
		for id := range uint16(3) {
			want := c.want && id+1 != 1
			if got := table.Doubtful(id + 1); got != want || table.Announced(id+1) == want {
				t.Errorf("%s: id %d is doubtful: %v, want %v", c.name, id+1, got, want)
			}
		}
	}
}
