package upstream

// What a Link makes of a connection that ended while something was unanswered: see suspicion.

import (
	"fmt"
	"time"
)

// blame draws the conclusions from a connection that the broker has closed, or that is
// ended because it did not answer: silent, if not nil, is the message it owed an answer to.
func (w *window) blame(now time.Duration, silent *outgoing) {
	c := &w.care
	n, m, r := w.unanswered()
	if n == 0 {
		return
	}
	defer c.dropEmpty()
	switch {
	case !c.progress, c.loose > 0: // which QoS 0 message it was is seen only one at a time
		c.window, c.acks = 1, 0
	case n > 1:
		c.window, c.acks = max(1, c.limit(&w.d.opt)/2), 0
	}
	switch {
	case silent != nil:
		w.suspectMessage(now, silent, true)
	case n > 1: // nobody knows which
	case m != nil:
		w.suspectMessage(now, m, false)
	case r != nil:
		w.suspectRequest(now, r)
	}
}

// suspectMessage counts a connection against m, and gives m up when that is enough.
func (w *window) suspectMessage(now time.Duration, m *outgoing, silent bool) {
	c := &w.care
	key, topicKey := w.d.keys.of(m), w.d.keys.ofTopic(m)
	denied := c.isDenied(topicKey, now)
	passes := c.total
	if m.token == 0 {
		passes = w.d.stats.passes() // a will: its Link has nothing else
	}
	u := w.noteAlone(now, key, passes, silent)
	if u == nil {
		return
	}
	if silent {
		u.alone = max(u.alone, asideAfter) // it is known which one it is
	}
	ill := w.d.ill.note(topicKey, w.d.stats.passes())
	if m.phase != publishing && !silent {
		return // the broker may lose the session with the connection, and the message with it
	}
	if u.guilty(now, denied, ill) {
		c.clear(key)
		c.deny(topicKey, now)
		w.d.ill.forget(topicKey)
		w.reject(m)
		return
	}
	if u.alone >= asideAfter && m.token != 0 {
		w.events.report(Event{Kind: EventDoubted, Token: m.token})
	}
}

// reject gives a message up. One that the broker has confirmed by PUBREC is with it.
func (w *window) reject(m *outgoing) {
	topic, payload := m.raw.Split()
	topic = w.topics.published(topic)
	e := Event{Kind: EventPublishFailed, Token: m.token, Topic: topic, QoS: m.qos, Retain: m.raw.Retain()}
	e.Err = fmt.Errorf("%w (%d octets to %q)", ErrRejected, len(payload), topic)
	switch {
	case m.phase != publishing:
		e = Event{Kind: EventPublished, Token: m.token}
	case m.qos == 0:
		m.rejected = true // it goes with the connection anyway
		e.Token = 0
	case m.token == 0:
		w.d.stats.DroppedWills.Add(1)
	}
	if e.Err != nil {
		w.d.stats.RejectedMessages.Add(1)
	}
	if e.Token != 0 || e.Err != nil {
		w.events.report(e)
	}
	if m.qos == 0 {
		return
	}
	for i := range w.out.list {
		if m == &w.out.list[i] {
			w.out.remove(i)
			return
		}
	}
}

// noteAlone counts a connection against a packet. It returns nil if that says nothing: the
// packet has been set aside, and this time the connection did not work at all.
func (w *window) noteAlone(now time.Duration, key, passes uint64, silent bool) *suspect {
	c := &w.care
	worked := silent || c.progress || c.proven || now-c.upAt >= provenAfter
	if c.suspicion == nil {
		c.suspicion = new(suspicion)
	}
	if u := c.find(key); !worked && u != nil && u.alone >= asideAfter {
		return nil
	}
	return c.note(now, key, passes, silent)
}

// suspectRequest counts a connection against a SUBSCRIBE or UNSUBSCRIBE.
func (w *window) suspectRequest(now time.Duration, r *request) {
	u := w.noteAlone(now, r.key, w.care.total, false)
	if u == nil || u.alone < aloneToRefuse {
		return
	}
	w.care.clear(r.key)
	w.d.stats.RejectedRequests.Add(1)
	r.refused = true
}

// dropQoS0 gives up the QoS 0 messages that waited with the others: the connection they
// waited for is gone.
func (w *window) dropQoS0() {
	for i := 0; i < len(w.out.list); i++ {
		if m := &w.out.list[i]; m.qos == 0 {
			switch {
			case m.token != 0: // it is its owner's again
				w.events.report(Event{Kind: EventPublishFailed, Token: m.token, Err: ErrCongested})
			case !m.rejected:
				w.d.stats.DroppedDown.Add(1)
			}
			w.out.remove(i)
			i--
		}
	}
}
