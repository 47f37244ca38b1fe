package upstream

import (
	"slices"

	"sngate/upstream/mqtt"
)

// request sends a SUBSCRIBE or UNSUBSCRIBE, by the kind of its answer.
func (t *traffic) request(token Token, kind EventKind, filter string, qos uint8) {
	var err error
	switch {
	case !mqtt.ValidString(filter), len(t.win.topics.Subscribe)+len(filter) > mqtt.MaxString:
		err = ErrInvalid
	case !t.w.open && !t.w.holding:
		err = ErrLost
	case len(t.win.requests) >= maxRequests || t.w.congested(len(filter)):
		err = ErrCongested
	}
	switch {
	case err != nil:
		t.events.report(Event{Kind: kind, Token: token, Err: err, Topic: filter})
		return
	case !t.win.topics.has(filter):
		e := Event{Kind: kind, Token: token, Topic: filter}
		if kind == EventSubscribed {
			e.Refusal = Refusal{RefusedForGood, "it is not the topic of messages in the topic map"}
		}
		t.events.report(e)
		return
	}
	r := request{id: t.newID(), kind: kind, token: token, filter: filter, qos: qos}
	t.encode(&r)
	t.win.requests = append(t.win.requests, r)
	t.pump()
}

// encode makes the packet of a request.
func (t *traffic) encode(r *request) {
	filter := t.win.topics.Filter(r.filter)
	if r.kind == EventSubscribed {
		r.raw = mqtt.EncodeSubscribe(r.id, filter, r.qos)
		r.key = t.d.keys.topic(mqtt.TypeSubscribe, r.qos, false, "", filter)
		return
	}
	r.raw = mqtt.EncodeUnsubscribe(r.id, filter)
	r.key = t.d.keys.topic(mqtt.TypeUnsubscribe, 0, false, "", filter)
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
		t.win.care.dropEmpty()
	}
	e := Event{Kind: kind, Token: t.win.requests[i].token, Topic: t.win.requests[i].filter}
	e.Granted, e.Refusal = subackAnswer(code)
	t.events.report(e)
	if t.win.requests = slices.Delete(t.win.requests, i, i+1); len(t.win.requests) == 0 {
		t.win.requests = nil
	}
	t.pump()
}
