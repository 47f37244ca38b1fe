package upstream

import (
	"slices"
	"time"

	"sngate/upstream/mqtt"
)

// request is a SUBSCRIBE or UNSUBSCRIBE that is not answered.
type request struct {
	id      uint16
	kind    EventKind // of the answer
	token   Token
	sent    bool
	alone   bool   // nothing else is written before it is answered
	refused bool   // the broker ends connections on it
	key     uint64 // see suspicion
	filter  string
	raw     []byte // the packet, until it is sent
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
	case !mqtt.ValidString(filter):
		err = ErrInvalid
	case l.state != stateUp:
		err = ErrLost
	case len(l.requests) >= maxRequests || l.congested(len(filter)):
		err = ErrCongested
	}
	if err != nil {
		l.report(Event{Kind: kind, Token: t, Err: err, Topic: filter})
		return
	}
	r := request{id: l.newID(), kind: kind, token: t, filter: filter}
	if kind == EventSubscribed {
		r.raw = mqtt.EncodeSubscribe(r.id, filter, qos)
		r.key = l.d.topicKey(mqtt.TypeSubscribe, qos, false, filter)
	} else {
		r.raw = mqtt.EncodeUnsubscribe(r.id, filter)
		r.key = l.d.topicKey(mqtt.TypeUnsubscribe, 0, false, filter)
	}
	l.requests = append(l.requests, r)
	l.pump()
}

// pumpRequests writes the requests that may be written now: those that connections have
// ended of only alone, and last. None overtakes an earlier one for its filter.
func (l *dedicated) pumpRequests(doubted bool) {
	var blocked []string
	for i := range l.requests {
		r := &l.requests[i]
		if r.sent {
			continue
		}
		if l.isDoubted(r) != doubted || slices.Contains(blocked, r.filter) {
			blocked = append(blocked, r.filter)
			continue
		}
		busy, alone := l.busy()
		switch {
		case alone, busy > 0 && (doubted || l.care.careful()), doubted && l.asks():
			return
		case doubted && !l.connectionWorks():
			return
		}
		if doubted {
			l.care.passed = 0
		}
		b := l.buffer()
		b.B = append(b.B, r.raw...)
		l.d.stats.PacketsOut[b.B[len(b.B)-len(r.raw)]>>4].Add(1)
		r.sent, r.alone, r.raw = true, doubted, nil
	}
}

// asks reports whether a request is unanswered.
func (l *dedicated) asks() bool {
	return slices.ContainsFunc(l.requests, func(r request) bool { return r.sent })
}

// isDoubted reports whether others go before a request, as connections have ended of it.
func (l *dedicated) isDoubted(r *request) bool {
	u := l.care.find(r.key)
	return u != nil && u.alone >= asideAfter
}

// doubtsRequest reports whether a request waits for its turn to be alone.
func (l *dedicated) doubtsRequest() bool {
	return slices.ContainsFunc(l.requests, func(r request) bool { return !r.sent && l.isDoubted(&r) })
}

func (l *dedicated) findRequest(id uint16) int {
	return slices.IndexFunc(l.requests, func(r request) bool { return r.id == id })
}

// answered takes SUBACK and UNSUBACK.
func (l *dedicated) answered(id uint16, kind EventKind, code uint8) {
	i := l.findRequest(id)
	if i < 0 || l.requests[i].kind != kind || !l.requests[i].sent {
		l.d.stats.StaleAcks.Add(1)
		return
	}
	l.care.progress, l.care.loose = true, 0
	if !l.care.none() {
		l.care.clear(l.requests[i].key)
		l.care.settle()
	}
	l.report(Event{Kind: kind, Token: l.requests[i].token, Code: code, Topic: l.requests[i].filter})
	if l.requests = slices.Delete(l.requests, i, i+1); len(l.requests) == 0 {
		l.requests = nil
	}
	l.pump()
}

// failRequests answers what went down with the connection: the requests, then the
// barriers.
func (l *dedicated) failRequests() {
	for _, r := range l.requests {
		e := Event{Kind: r.kind, Token: r.token, Err: ErrLost}
		switch {
		case r.refused && r.kind == EventSubscribed:
			e.Code, e.Err, e.Topic = mqtt.CodeFailure, ErrRejected, r.filter
		case r.refused: // what cannot be asked for was not granted either
			e.Err = nil
		}
		l.report(e)
	}
	l.requests = nil
	for _, p := range l.keep.pings {
		if p.token != 0 {
			l.report(Event{Kind: EventPong, Token: p.token, Err: ErrLost})
		}
	}
	l.keep.pings = nil
}
