package topicreg

import "time"

// Ids that the gateway has allotted for the names of messages, and the device has made no
// use of, are lent: they can be given to another name. An id that has moved is of use
// only when the device has confirmed it: until then it may know the id by its former name.

// Own makes an id the device's own, because it has registered, subscribed to or used it
// itself. It is never given to another name. An id that stands for nothing is ignored.
func (t *Table) Own(id uint16) {
	if m := t.marksOf(id); m != nil && *m&own == 0 {
		*m |= own
		t.own++
	}
}

// Lend makes an id lent again. An id that stands for nothing is ignored.
func (t *Table) Lend(id uint16) {
	if m := t.marksOf(id); m != nil && *m&own != 0 {
		*m &^= own
		t.own--
	}
}

// Owned returns how many ids are the device's own.
func (t *Table) Owned() int { return int(t.own) }

// Touch notes that an id has been used at the time now. An id that stands for nothing is
// ignored.
func (t *Table) Touch(id uint16, now time.Duration) {
	if i, ok := t.find(id); ok {
		t.topics[i].used = t.tick(now)
	}
}

// tick returns the time of a use: now, or a little later, so that the order of all uses is
// known.
func (t *Table) tick(now time.Duration) time.Duration {
	t.clock = max(t.clock+1, now)
	return t.clock
}

// Oldest returns the lent id that has been used least recently, of those for which keep is
// false, if it has not been used after the time before.
func (t *Table) Oldest(before time.Duration, keep func(id uint16) bool) (uint16, bool) {
	oldest := -1
	for i := range t.topics {
		e := &t.topics[i]
		if e.marks&own == 0 && e.used <= before && (oldest < 0 || e.used < t.topics[oldest].used) && !keep(e.id) {
			oldest = i
		}
	}
	if oldest < 0 {
		return 0, false
	}
	return t.topics[oldest].id, true
}

// Move gives a lent id that Add has handed out to another name. It reports false, and does
// nothing, if the id is none of those or the name has one.
func (t *Table) Move(id uint16, name string) bool {
	i, ok := t.find(id)
	if _, has := t.ID(name); !ok || has || t.topics[i].marks&(own|bound) != 0 {
		return false
	}
	t.Remove(id)
	t.insert(topic{name: name, id: id, used: t.tick(0), marks: moved})
	return true
}

// Doubtful reports whether the device may know an id by another name than the table.
func (t *Table) Doubtful(id uint16) bool {
	m := t.marksOf(id)
	return m != nil && m.doubtful()
}

// Trusted reports whether the device has known an id, and never by another name.
func (t *Table) Trusted(id uint16) bool {
	m := t.marksOf(id)
	return m != nil && *m&told != 0 && *m&moved == 0
}

// Refuse notes that the device says it does not know an id.
func (t *Table) Refuse(id uint16) {
	if m := t.marksOf(id); m != nil {
		*m &^= announced | told
	}
}

// Distrust notes that an earlier process may have moved any of the lent ids, if it can
// have moved one at all: if the table has limit names or more, or an id that has moved.
func (t *Table) Distrust(limit int) {
	full := len(t.topics) >= limit
	for i := range t.topics {
		full = full || t.topics[i].marks&moved != 0
	}
	for i := range t.topics {
		if m := &t.topics[i].marks; full && *m&own == 0 {
			*m = *m&^(announced|told) | moved
		}
	}
}
