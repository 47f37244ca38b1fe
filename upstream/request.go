package upstream

import (
	"slices"
	"time"
)

// request is a SUBSCRIBE or UNSUBSCRIBE that is not answered.
type request struct {
	id    uint16
	kind  EventKind // of the answer
	token Token
}

// Subscribe implements Link.
func (l *dedicated) Subscribe(now time.Duration, t Token, filter string, qos uint8) {
	l.request(now, t, EventSubscribed, filter, min(qos, 2))
}

// Unsubscribe implements Link.
func (l *dedicated) Unsubscribe(now time.Duration, t Token, filter string) {
	l.request(now, t, EventUnsubscribed, filter, 0)
}

func (l *dedicated) request(now time.Duration, t Token, kind EventKind, filter string, qos uint8) {
	l.reclaim()
	l.spoke(now)
	var err error
	switch {
	case !validString(filter):
		err = ErrInvalid
	case l.state != stateUp:
		err = ErrLost
	case len(l.requests) >= maxRequests || l.congested(len(filter)):
		err = ErrCongested
	}
	if err != nil {
		l.report(Event{Kind: kind, Token: t, Err: err})
		return
	}
	id := l.newID()
	l.requests = append(l.requests, request{id, kind, t})
	b := l.buffer()
	if kind == EventSubscribed {
		b.b = append(b.b, encodeSubscribe(id, filter, qos)...)
		l.d.stats.PacketsOut[typeSubscribe].Add(1)
	} else {
		b.b = append(b.b, encodeUnsubscribe(id, filter)...)
		l.d.stats.PacketsOut[typeUnsubscribe].Add(1)
	}
}

func (l *dedicated) findRequest(id uint16) int {
	return slices.IndexFunc(l.requests, func(r request) bool { return r.id == id })
}

// answered takes SUBACK and UNSUBACK.
func (l *dedicated) answered(id uint16, kind EventKind, code uint8) {
	i := l.findRequest(id)
	if i < 0 || l.requests[i].kind != kind {
		l.d.stats.StaleAcks.Add(1)
		return
	}
	l.report(Event{Kind: kind, Token: l.requests[i].token, Code: code})
	if l.requests = slices.Delete(l.requests, i, i+1); len(l.requests) == 0 {
		l.requests = nil
	}
}

// failRequests answers what went down with the connection: the requests, then the
// barriers.
func (l *dedicated) failRequests() {
	for _, r := range l.requests {
		l.report(Event{Kind: r.kind, Token: r.token, Err: ErrLost})
	}
	l.requests = nil
	for _, p := range l.keep.pings {
		if p.token != 0 {
			l.report(Event{Kind: EventPong, Token: p.token, Err: ErrLost})
		}
	}
	l.keep.pings = nil
}
