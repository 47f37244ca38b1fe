package topicreg

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

const noLimit = 1 << 20

func mustAdd(t testing.TB, tab *Table, name string, want uint16) {
	t.Helper()
	if got, err := tab.Add(name, noLimit, nil); got != want || err != nil {
		t.Fatalf("Add(%q) = %d, %v, want %d", name, got, err, want)
	}
}

func TestSameTopicAgainGetsTheSameID_Case55(t *testing.T) {
	var tab Table
	mustAdd(t, &tab, "a", 1)
	mustAdd(t, &tab, "b", 2)
	mustAdd(t, &tab, "a", 1)
	if tab.Len() != 2 {
		t.Errorf("Len = %d, want 2", tab.Len())
	}
}

func TestTopicLimitRefusesOneMoreAndKeepsTheOlder_Case59(t *testing.T) {
	var tab Table
	for i := range 3 {
		if _, err := tab.Add(fmt.Sprint(i), 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	if id, err := tab.Add("one more", 3, nil); err != ErrFull || id != 0 {
		t.Errorf("Add beyond the limit = %d, %v, want ErrFull", id, err)
	}
	if err := tab.Bind(9, "one more", 3); err != ErrFull {
		t.Errorf("Bind beyond the limit = %v, want ErrFull", err)
	}
	if id, err := tab.Add("1", 3, nil); id != 2 || err != nil {
		t.Errorf("an older name = %d, %v, want 2", id, err)
	}
	mustAdd(t, &tab, "one more", 4) // the refusal has used up no id
}

func TestIDsRunFrom1To65534AndAreThenUsedUp(t *testing.T) {
	var tab Table
	for i := 1; i <= 0xFFFE; i++ {
		mustAdd(t, &tab, fmt.Sprint(i), uint16(i))
	}
	for range 2 {
		if id, err := tab.Add("one more", noLimit, nil); err != ErrFull || id != 0 {
			t.Errorf("Add = %d, %v, want ErrFull", id, err)
		}
	}
	if name, ok := tab.Name(0xFFFE); !ok || name != "65534" {
		t.Errorf("Name(0xFFFE) = %q, %v", name, ok)
	}
}

func TestAvoidedIDsArePassedOver(t *testing.T) {
	var tab Table
	odd := func(id uint16) bool { return id%2 == 1 }
	for i, name := range []string{"a", "b", "c"} {
		if id, err := tab.Add(name, noLimit, odd); int(id) != 2*(i+1) || err != nil {
			t.Errorf("Add(%q) = %d, %v, want %d", name, id, err, 2*(i+1))
		}
	}
	if id, err := tab.Add("d", noLimit, func(uint16) bool { return true }); err != ErrFull {
		t.Errorf("Add with every id avoided = %d, %v, want ErrFull", id, err)
	}
}

func TestBindGivesANameACertainID(t *testing.T) {
	var tab Table
	mustAdd(t, &tab, "a", 1)
	tests := []struct {
		id   uint16
		name string
		want error
	}{
		{3, "p", nil},
		{3, "p", nil}, // again
		{1, "a", nil}, // as it is
		{3, "q", ErrBound},
		{4, "p", ErrBound},
		{1, "p", ErrBound},
		{0, "q", ErrID},
		{0xFFFF, "q", ErrID},
		{0xFFFE, "q", nil},
	}
	for _, tt := range tests {
		if got := tab.Bind(tt.id, tt.name, noLimit); got != tt.want {
			t.Errorf("Bind(%d, %q) = %v, want %v", tt.id, tt.name, got, tt.want)
		}
	}
	mustAdd(t, &tab, "b", 2)
	mustAdd(t, &tab, "c", 4) // 3 is bound
	var got []string
	for id, name := range tab.All {
		got = append(got, fmt.Sprint(id, name))
	}
	if want := []string{"1a", "2b", "3p", "4c", "65534q"}; !slices.Equal(got, want) {
		t.Errorf("All = %q, want %q", got, want)
	}
}

func TestAllStopsWhenTold(t *testing.T) {
	var tab Table
	mustAdd(t, &tab, "a", 1)
	mustAdd(t, &tab, "b", 2)
	for id := range tab.All {
		if id != 1 {
			t.Errorf("id %d after break", id)
		}
		break
	}
}

func TestAnnouncedIDs(t *testing.T) {
	var tab Table
	mustAdd(t, &tab, "a", 1)
	mustAdd(t, &tab, "b", 2)
	tab.SetAnnounced(2, true)
	tab.SetAnnounced(7, true) // stands for nothing
	for id, want := range map[uint16]bool{1: false, 2: true, 7: false} {
		if got := tab.Announced(id); got != want {
			t.Errorf("Announced(%d) = %v, want %v", id, got, want)
		}
	}
	if err := tab.Bind(1000, "c", noLimit); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, &tab, "d", 3) // moves the entries behind it
	tab.SetAnnounced(1000, true)
	if !tab.Announced(2) || !tab.Announced(1000) || tab.Announced(3) {
		t.Error("an insertion mixed up what is announced")
	}
	tab.SetAnnounced(2, false)
	if tab.Announced(2) {
		t.Error("2 is still announced")
	}
	tab.ForgetAnnounced()
	if tab.Announced(1000) {
		t.Error("1000 is still announced after ForgetAnnounced")
	}
	if _, ok := tab.Name(2); !ok {
		t.Error("ForgetAnnounced has dropped an id")
	}
}

func TestResetBeginsANewLife(t *testing.T) {
	var tab Table
	for i := range 2 * mapAbove {
		mustAdd(t, &tab, fmt.Sprint(i), uint16(i+1))
	}
	tab.Reset()
	if _, ok := tab.ID("0"); ok || tab.Len() != 0 {
		t.Error("the table is not empty")
	}
	mustAdd(t, &tab, "new", 1)
}

// TestTableFollowsItsModel runs random operations on a table and on two maps.
func TestTableFollowsItsModel(t *testing.T) {
	for seed := range uint64(60) {
		runAgainstModel(t, rand.New(rand.NewPCG(seed, 7)), 400)
	}
}

func FuzzTable(f *testing.F) {
	f.Add(uint64(1), uint16(300))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		runAgainstModel(t, rand.New(rand.NewPCG(seed, 8)), int(steps%2000))
	})
}

func runAgainstModel(t *testing.T, rnd *rand.Rand, steps int) {
	var tab Table
	ids, names, known := map[string]uint16{}, map[uint16]string{}, map[uint16]bool{}
	ever := map[uint16]string{}
	limit := 1 + rnd.IntN(60)
	for range steps {
		name, id := fmt.Sprint("t", rnd.IntN(80)), uint16(rnd.IntN(70))
		switch rnd.IntN(6) {
		case 0, 1:
			got, err := tab.Add(name, limit, func(id uint16) bool { return id%5 == 0 })
			if old, ok := ids[name]; ok {
				if got != old || err != nil {
					t.Fatalf("Add(%q) = %d, %v, want %d", name, got, err, old)
				}
			} else if len(ids) >= limit {
				if err != ErrFull {
					t.Fatalf("Add(%q) = %d, %v, want ErrFull", name, got, err)
				}
			} else if other, used := ever[got]; err != nil || used || got%5 == 0 || got == 0 {
				t.Fatalf("Add(%q) = %d, %v; used by %q before: %v", name, got, err, other, used)
			} else {
				ids[name], names[got], ever[got] = got, name, name
			}
		case 2:
			old, hasID := ids[name]
			_, used := names[id]
			want := error(nil)
			switch {
			case id == 0:
				want = ErrID
			case hasID && old == id:
			case hasID || used:
				want = ErrBound
			case len(ids) >= limit:
				want = ErrFull
			default:
				ids[name], names[id], ever[id] = id, name, name
			}
			if got := tab.Bind(id, name, limit); got != want {
				t.Fatalf("Bind(%d, %q) = %v, want %v", id, name, got, want)
			}
		case 3:
			tab.SetAnnounced(id, true)
			if _, ok := names[id]; ok {
				known[id] = true
			}
		case 4:
			if rnd.IntN(20) == 0 {
				tab.ForgetAnnounced()
				clear(known)
			}
		case 5:
			if rnd.IntN(100) == 0 {
				tab.Reset()
				clear(ids)
				clear(names)
				clear(known)
				clear(ever)
			}
		}
		compareWithModel(t, &tab, name, id, ids, names, known)
	}
}

func compareWithModel(t *testing.T, tab *Table, name string, id uint16, ids map[string]uint16, names map[uint16]string, known map[uint16]bool) {
	t.Helper()
	wantID, has := ids[name]
	if got, ok := tab.ID(name); got != wantID || ok != has {
		t.Fatalf("ID(%q) = %d, %v, want %d, %v", name, got, ok, wantID, has)
	}
	if got, ok := tab.IDOf([]byte(name)); got != wantID || ok != has {
		t.Fatalf("IDOf(%q) = %d, %v, want %d, %v", name, got, ok, wantID, has)
	}
	wantName, has := names[id]
	if got, ok := tab.Name(id); got != wantName || ok != has {
		t.Fatalf("Name(%d) = %q, %v, want %q, %v", id, got, ok, wantName, has)
	}
	if got := tab.Announced(id); got != known[id] {
		t.Fatalf("Announced(%d) = %v, want %v", id, got, known[id])
	}
	last, n := uint16(0), 0
	for id, name := range tab.All {
		if id <= last || names[id] != name {
			t.Fatalf("All: %d %q after %d, want %q", id, name, last, names[id])
		}
		last, n = id, n+1
	}
	if n != len(ids) || tab.Len() != n {
		t.Fatalf("All has %d topics, Len is %d, want %d", n, tab.Len(), len(ids))
	}
}

func TestAnEmptyTableIsAFewWords(t *testing.T) {
	if size := unsafe.Sizeof(Table{}); size > 6*unsafe.Sizeof(uintptr(0)) {
		t.Errorf("an empty table has %d octets", size)
	}
}

func TestTableLookupsAllocateNothing(t *testing.T) {
	for _, topics := range []int{mapAbove, mapAbove + 1} {
		var tab Table
		for i := range topics {
			mustAdd(t, &tab, fmt.Sprint("topic/of/some/length/beyond/a/small/buffer/", i), uint16(i+1))
		}
		if hasMap := tab.byName != nil; hasMap != (topics > mapAbove) {
			t.Errorf("%d topics: a map is kept: %v", topics, hasMap)
		}
		name := []byte("topic/of/some/length/beyond/a/small/buffer/3")
		var id uint16
		n := testing.AllocsPerRun(100, func() {
			id, _ = tab.IDOf(name)
			tab.Name(id)
			tab.Announced(id)
			tab.SetAnnounced(id, true)
		})
		if n != 0 || id != 4 {
			t.Errorf("%d topics: %v allocations, id %d", topics, n, id)
		}
	}
}

func BenchmarkTableIDOf(b *testing.B) {
	for _, topics := range []int{1, 4, 16, 17, 1000} {
		var tab Table
		for i := range topics {
			mustAdd(b, &tab, fmt.Sprint("site/pump-", i), uint16(i+1))
		}
		name := fmt.Append(nil, "site/pump-", topics-1)
		b.Run(fmt.Sprint(topics), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := tab.IDOf(name); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}

func BenchmarkTableName(b *testing.B) {
	for _, topics := range []int{1, 16, 1000} {
		var tab Table
		for i := range topics {
			mustAdd(b, &tab, fmt.Sprint("site/pump-", i), uint16(i+1))
		}
		b.Run(fmt.Sprint(topics), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := tab.Name(uint16(topics)); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}
