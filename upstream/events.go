package upstream

import "sync"

// eventLists hold what a Link needs only while something happens on it, so that an idle one
// holds nothing. They are a cache, not state.
var eventLists = sync.Pool{New: func() any { return new(eventList) }}

type eventList struct{ list []Event }

// putEvents gives l back with nothing left in it.
func putEvents(l *eventList) {
	if cap(l.list) > 64 {
		return
	}
	clear(l.list)
	l.list = l.list[:0]
	eventLists.Put(l)
}
