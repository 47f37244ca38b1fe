package upstream

import (
	"slices"

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

// requests are those of a Link, in order.
type requests []request

// sent reports whether one is unanswered.
func (q requests) sent() bool {
	return slices.ContainsFunc(q, func(r request) bool { return r.sent })
}

func (q requests) find(id uint16) int {
	return slices.IndexFunc(q, func(r request) bool { return r.id == id })
}

// waitsDoubted reports whether a request waits for its turn to be alone.
func (q requests) waitsDoubted(c *caution) bool {
	return slices.ContainsFunc(q, func(r request) bool { return !r.sent && c.doubts(&r) })
}

// doubts reports whether others go before a request, as connections have ended of it.
func (c *caution) doubts(r *request) bool {
	u := c.find(r.key)
	return u != nil && u.alone >= asideAfter
}

// maxRequests bounds the SUBSCRIBE and UNSUBSCRIBE, and the barrier PINGREQ, outstanding.
const maxRequests = 64

// request sends a SUBSCRIBE or UNSUBSCRIBE, by the kind of its answer.
func (t *traffic) request(token Token, kind EventKind, filter string, qos uint8) {
	var err error
	switch {
	case !mqtt.ValidString(filter):
		err = ErrInvalid
	case !t.w.open:
		err = ErrLost
	case len(t.win.requests) >= maxRequests || t.w.congested(len(filter)):
		err = ErrCongested
	}
	if err != nil {
		t.events.report(Event{Kind: kind, Token: token, Err: err, Topic: filter})
		return
	}
	r := request{id: t.newID(), kind: kind, token: token, filter: filter}
	if kind == EventSubscribed {
		r.raw = mqtt.EncodeSubscribe(r.id, filter, qos)
		r.key = t.d.topicKey(mqtt.TypeSubscribe, qos, false, filter)
	} else {
		r.raw = mqtt.EncodeUnsubscribe(r.id, filter)
		r.key = t.d.topicKey(mqtt.TypeUnsubscribe, 0, false, filter)
	}
	t.win.requests = append(t.win.requests, r)
	t.pump()
}

// pumpRequests writes the requests that may be written now: those that connections have
// ended of only alone, and last. None overtakes an earlier one for its filter.
func (t *traffic) pumpRequests(doubted bool) {
	var blocked []string
	for i := range t.win.requests {
		r := &t.win.requests[i]
		if r.sent {
			continue
		}
		if t.win.care.doubts(r) != doubted || slices.Contains(blocked, r.filter) {
			blocked = append(blocked, r.filter)
			continue
		}
		busy, alone := t.win.busy()
		switch {
		case alone, busy > 0 && (doubted || t.win.care.careful()), doubted && t.win.requests.sent():
			return
		case doubted && !t.win.connectionWorks(t.now):
			return
		}
		if doubted {
			t.win.care.passed = 0
		}
		b := t.w.buffer(r.raw[0] >> 4)
		b.B = append(b.B, r.raw...)
		r.sent, r.alone, r.raw = true, doubted, nil
	}
}

// answered takes SUBACK and UNSUBACK.
func (t *traffic) answered(id uint16, kind EventKind, code uint8) {
	i := t.win.requests.find(id)
	if i < 0 || t.win.requests[i].kind != kind || !t.win.requests[i].sent {
		t.d.stats.StaleAcks.Add(1)
		return
	}
	t.win.care.progress, t.win.care.loose = true, 0
	if !t.win.care.none() {
		t.win.care.clear(t.win.requests[i].key)
		t.win.care.settle()
	}
	e := Event{Kind: kind, Token: t.win.requests[i].token, Topic: t.win.requests[i].filter}
	e.Granted, e.Refusal = subackAnswer(code)
	t.events.report(e)
	if t.win.requests = slices.Delete(t.win.requests, i, i+1); len(t.win.requests) == 0 {
		t.win.requests = nil
	}
	t.pump()
}

// failed is the answer to a request whose connection is gone.
func (r *request) failed() Event {
	e := Event{Kind: r.kind, Token: r.token, Err: ErrLost}
	switch {
	case r.refused && r.kind == EventSubscribed:
		e.Refusal.Kind, e.Err, e.Topic = RefusedForGood, ErrRejected, r.filter
	case r.refused: // what cannot be asked for was not granted either
		e.Err = nil
	}
	return e
}
