package loadgen

// timeouts holds the devices that wait for something, in the order in which they lose
// patience. All wait equally long, so that is the order in which they came: every operation
// takes constant time and no memory.
type timeouts struct {
	links       []link // one for each device, and the ring's own as the last
	outstanding int
}

type link struct {
	prev, next int32 // in the ring; both are the link's own index while it is in none
	due        int64 // ns
}

func newTimeouts(devices int) timeouts {
	t := timeouts{links: make([]link, devices+1)}
	for i := range t.links {
		t.links[i] = link{prev: int32(i), next: int32(i)}
	}
	return t
}

// add has device i wait until due, which is not before any that was added earlier.
func (t *timeouts) add(i int, due int64) {
	t.remove(i)
	ring := int32(len(t.links) - 1)
	last := t.links[ring].prev
	t.links[i] = link{prev: last, next: ring, due: due}
	t.links[last].next, t.links[ring].prev = int32(i), int32(i)
	t.outstanding++
}

// remove takes device i out, if it is in.
func (t *timeouts) remove(i int) {
	l := &t.links[i]
	if l.next == int32(i) {
		return
	}
	t.links[l.prev].next, t.links[l.next].prev = l.next, l.prev
	l.prev, l.next = int32(i), int32(i)
	t.outstanding--
}

// first returns the device that waits for longest; ok is false if none waits.
func (t *timeouts) first() (i int, due int64, ok bool) {
	if t.outstanding == 0 {
		return 0, 0, false
	}
	i = int(t.links[len(t.links)-1].next)
	return i, t.links[i].due, true
}
