package upstream

import "sync"

// eventLists hold what a Link needs only while something happens on it, so that an idle one
// holds nothing. They are a cache, not state.
var eventLists = sync.Pool{New: func() any { return new(eventList) }}

type eventList struct{ list []Event }

// eventLog is what a Link has to tell its owner.
type eventLog struct{ *eventList }

func (l *eventLog) report(e Event) {
	if l.eventList == nil {
		l.eventList = eventLists.Get().(*eventList)
	}
	l.list = append(l.list, e)
}

// appendTo appends what there is to dst, and forgets it.
func (l *eventLog) appendTo(dst []Event) []Event {
	if l.eventList == nil {
		return dst
	}
	dst = append(dst, l.list...)
	if cap(l.list) <= 64 {
		clear(l.list)
		l.list = l.list[:0]
		eventLists.Put(l.eventList)
	}
	l.eventList = nil
	return dst
}
