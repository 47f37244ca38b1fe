package topicreg

import (
	"slices"
	"sort"
	"time"
)

// mapAbove is the number of topics from which a table keeps a map from names to ids as
// well. Up to it a scan of the slice is as fast and costs no memory.
const mapAbove = 16

// Table holds the normal topic ids of one device (MQTT-SN 1.2 section 6.5). Its owner is
// the device's session; it is not safe for concurrent use. The zero value is an empty
// table, and an empty table is a few words.
//
// Names are kept as given and not checked: see [ValidName].
type Table struct {
	topics []topic           // in id order
	byName map[string]uint16 // nil up to mapAbove topics
	last   uint16            // the highest id that Add has handed out or passed over
	own    uint16            // how many of them are the device's own
	octets uint32            // of all names
	clock  time.Duration     // of the latest use
}

type topic struct {
	name  string
	used  time.Duration // no two are equal, but for those of an earlier process
	id    uint16
	marks marks
}

type marks uint8

const (
	announced marks = 1 << iota // the device knows the id, in its present connection
	told                        // it has known the id with this name
	bound                       // by Bind, not from the sequence
	own                         // the device has registered, subscribed to or used it itself
	moved                       // the id has stood for another name before
)

// doubtful: see Doubtful.
func (m marks) doubtful() bool { return m&moved != 0 && m&told == 0 }

// State is what has to be kept of a topic beside its id and name.
type State struct {
	Allotted bool // the id was handed out by Add, and not given by Bind
	Told     bool // the device has known the id with this name
	Own      bool // see Claim
	Moved    bool // see Move
}

// ID returns the id of a name.
func (t *Table) ID(name string) (uint16, bool) {
	if t.byName != nil {
		id, ok := t.byName[name]
		return id, ok
	}
	for i := range t.topics {
		if t.topics[i].name == name {
			return t.topics[i].id, true
		}
	}
	return 0, false
}

// IDOf is ID for a name that is still in a datagram. It allocates nothing and does not
// keep name.
func (t *Table) IDOf(name []byte) (uint16, bool) {
	if t.byName != nil {
		id, ok := t.byName[string(name)]
		return id, ok
	}
	for i := range t.topics {
		if t.topics[i].name == string(name) {
			return t.topics[i].id, true
		}
	}
	return 0, false
}

// Name returns the name that an id stands for.
func (t *Table) Name(id uint16) (string, bool) {
	if i, ok := t.find(id); ok {
		return t.topics[i].name, true
	}
	return "", false
}

// Meant is Name for an id that the device uses: there is none if it may know the id by another
// name. See Doubtful.
func (t *Table) Meant(id uint16) (string, bool) {
	if i, ok := t.find(id); ok && !t.topics[i].marks.doubtful() {
		return t.topics[i].name, true
	}
	return "", false
}

// Add returns the id of a name, and gives it one when it has none: the next id in
// 0x0001..0xFFFE that was never used in the life of the table and for which avoid is
// false. avoid may be nil; an id it rejects is passed over for good. Add returns ErrFull
// when the table has limit names or the ids are used up.
func (t *Table) Add(name string, limit int, avoid func(id uint16) bool) (uint16, error) {
	if id, ok := t.ID(name); ok {
		return id, nil
	}
	if len(t.topics) >= limit {
		return 0, ErrFull
	}
	for t.last < maxID {
		t.last++
		if _, used := t.find(t.last); used || avoid != nil && avoid(t.last) {
			continue
		}
		t.insert(topic{name: name, id: t.last, used: t.tick(0)})
		return t.last, nil
	}
	return 0, ErrFull
}

// Bind gives a name a certain id: a predefined id that is handed out as a normal one too.
// It returns ErrID for a reserved id, ErrBound when the id stands for another name or the
// name has another id, and ErrFull when the table has limit names.
func (t *Table) Bind(id uint16, name string, limit int) error {
	if id < minID || id > maxID {
		return ErrID
	}
	has, hasID := t.ID(name)
	_, used := t.find(id)
	switch {
	case hasID && has == id:
		return nil
	case hasID || used:
		return ErrBound
	case len(t.topics) >= limit:
		return ErrFull
	}
	t.insert(topic{name: name, id: id, used: t.tick(0), marks: bound})
	return nil
}

// State returns the state of an id; that of one that stands for nothing is zero.
func (t *Table) State(id uint16) State {
	m := t.marksOf(id)
	if m == nil {
		return State{}
	}
	return State{Allotted: *m&bound == 0, Told: *m&told != 0, Own: *m&own != 0, Moved: *m&moved != 0}
}

// Restore puts back an id of an earlier process; one that the device has been told counts
// as known to it. Add hands out only higher ids than the restored ones it had allotted.
// Restore returns ErrID for a reserved id and ErrBound when the id or the name is taken.
func (t *Table) Restore(id uint16, name string, s State) error {
	if id < minID || id > maxID {
		return ErrID
	}
	_, hasID := t.ID(name)
	if _, used := t.find(id); used || hasID {
		return ErrBound
	}
	var m marks
	for _, v := range []struct {
		set  bool
		mark marks
	}{{!s.Allotted, bound}, {s.Told, told | announced}, {s.Own, own}, {s.Moved, moved}} {
		if v.set {
			m |= v.mark
		}
	}
	t.insert(topic{name: name, id: id, marks: m})
	if s.Allotted {
		t.last = max(t.last, id)
	}
	return nil
}

// Remove takes an id back. It stands for nothing then, and Add does not hand it out again.
func (t *Table) Remove(id uint16) {
	i, ok := t.find(id)
	if !ok {
		return
	}
	t.octets -= uint32(len(t.topics[i].name))
	if t.topics[i].marks&own != 0 {
		t.own--
	}
	if t.byName != nil {
		delete(t.byName, t.topics[i].name)
	}
	t.topics = slices.Delete(t.topics, i, i+1)
}

// Announced reports whether the device is known to know the id.
func (t *Table) Announced(id uint16) bool {
	m := t.marksOf(id)
	return m != nil && *m&announced != 0
}

// Settled reports whether the device is known to know the id, and it is its own: its use says
// nothing new.
func (t *Table) Settled(id uint16) bool {
	m := t.marksOf(id)
	return m != nil && *m&(announced|own) == announced|own
}

// SetAnnounced notes whether the device is known to know the id. An id that stands for
// nothing is ignored.
func (t *Table) SetAnnounced(id uint16, known bool) {
	switch m := t.marksOf(id); {
	case m == nil:
	case known:
		*m |= announced | told
	default:
		*m &^= announced
	}
}

// ForgetAnnounced notes that the device may have lost all ids, for example by a restart.
func (t *Table) ForgetAnnounced() {
	for i := range t.topics {
		t.topics[i].marks &^= announced
	}
}

// Len returns the number of names.
func (t *Table) Len() int { return len(t.topics) }

// Octets returns the octets of all names together.
func (t *Table) Octets() int { return int(t.octets) }

// Reset empties the table and ends its life: ids may be handed out anew.
func (t *Table) Reset() { *t = Table{} }

// All yields every id with its name in id order; the table must not be changed meanwhile.
// It has the form of an iter.Seq2: "for id, name := range t.All".
func (t *Table) All(yield func(id uint16, name string) bool) {
	for i := range t.topics {
		if !yield(t.topics[i].id, t.topics[i].name) {
			return
		}
	}
}

// find returns the place of an id in topics, or where it belongs.
func (t *Table) find(id uint16) (int, bool) {
	if i := int(id) - minID; i >= 0 && i < len(t.topics) && t.topics[i].id == id {
		return i, true // as long as none has been removed, Add keeps each at its place
	}
	i := sort.Search(len(t.topics), func(i int) bool { return t.topics[i].id >= id })
	return i, i < len(t.topics) && t.topics[i].id == id
}

func (t *Table) marksOf(id uint16) *marks {
	if i, ok := t.find(id); ok {
		return &t.topics[i].marks
	}
	return nil
}

func (t *Table) insert(e topic) {
	i, _ := t.find(e.id)
	t.topics = slices.Insert(t.topics, i, e)
	t.octets += uint32(len(e.name))
	if e.marks&own != 0 {
		t.own++
	}
	switch {
	case t.byName != nil:
		t.byName[e.name] = e.id
	case len(t.topics) > mapAbove:
		t.byName = make(map[string]uint16, 2*mapAbove)
		for _, e := range t.topics {
			t.byName[e.name] = e.id
		}
	}
}
