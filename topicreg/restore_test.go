package topicreg

import (
	"errors"
	"fmt"
	"testing"
)

// More names than a table scans, so that both ways of looking one up are tested.
func TestRestoredTableGoesOnAsItWas(t *testing.T) {
	for _, names := range []int{3, 2 * mapAbove} {
		t.Run(fmt.Sprint(names), func(t *testing.T) {
			var old, restored Table
			if err := old.Bind(500, "bound", 100); err != nil {
				t.Fatal(err)
			}
			for i := range names {
				if _, err := old.Add(fmt.Sprint("t/", i), 100, nil); err != nil {
					t.Fatal(err)
				}
			}
			for id, name := range old.All {
				if err := restored.Restore(id, name, State{Allotted: old.State(id).Allotted, Told: true}); err != nil {
					t.Fatal(err)
				}
			}
			for id, name := range old.All {
				if got, ok := restored.ID(name); !ok || got != id || restored.State(id).Allotted != old.State(id).Allotted {
					t.Errorf("%q: id %d, allotted %v; want %d, %v", name, got, restored.State(id).Allotted, id, old.State(id).Allotted)
				}
			}
			id, err := restored.Add("new", 100, nil)
			if want := uint16(names + 1); err != nil || id != want {
				t.Errorf("the next id is %d (%v), want %d: one that was bound does not count", id, err, want)
			}
		})
	}
}

func TestRestoreRefusesWhatIsTaken(t *testing.T) {
	var table Table
	if err := table.Restore(7, "a", State{Allotted: true, Told: true}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id   uint16
		name string
		want error
	}{
		{7, "b", ErrBound}, {8, "a", ErrBound}, {7, "a", ErrBound}, {0, "c", ErrID}, {0xFFFF, "c", ErrID},
	} {
		if err := table.Restore(c.id, c.name, State{Allotted: true}); !errors.Is(err, c.want) {
			t.Errorf("Restore(%d, %q): %v, want %v", c.id, c.name, err, c.want)
		}
	}
	if table.Len() != 1 || !table.Announced(7) {
		t.Errorf("%d names, announced %v", table.Len(), table.Announced(7))
	}
}

func TestRemovedIDIsNotHandedOutAgain(t *testing.T) {
	for _, names := range []int{1, 2 * mapAbove} {
		var table Table
		for i := range names {
			if _, err := table.Add(fmt.Sprint("t/", i), 100, nil); err != nil {
				t.Fatal(err)
			}
		}
		last := uint16(names)
		table.Remove(last)
		table.Remove(last) // there is none
		if _, ok := table.Name(last); ok || table.Len() != names-1 {
			t.Errorf("id %d is still there", last)
		}
		if _, ok := table.ID(fmt.Sprint("t/", names-1)); ok {
			t.Error("the name is still there")
		}
		if id, err := table.Add(fmt.Sprint("t/", names-1), 100, nil); err != nil || id != last+1 {
			t.Errorf("the name has got id %d (%v), want %d", id, err, last+1)
		}
	}
}
