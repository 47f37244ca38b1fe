package upstream

import (
	"fmt"
	"time"
)

// This file is what a Link makes of a connection that ended while something was
// unanswered, and when it ends one itself for that: see suspicion.

// blame draws the conclusions from a connection that the broker has closed, or that is
// ended because it did not answer: silent, if not nil, is the message it owed an answer to.
func (l *dedicated) blame(now time.Duration, silent *outgoing) {
	c := &l.care
	n, m, r := l.unanswered()
	if n == 0 {
		return
	}
	defer c.settle()
	switch {
	case !c.progress, c.loose > 0: // which QoS 0 message it was is seen only one at a time
		c.window, c.acks = 1, 0
	case n > 1:
		c.window, c.acks = max(1, c.limit(&l.d.opt)/2), 0
	}
	switch {
	case silent != nil:
		l.suspectMessage(now, silent, true)
	case n > 1: // nobody knows which
	case m != nil:
		l.suspectMessage(now, m, false)
	case r != nil:
		l.suspectRequest(now, r)
	}
}

// suspectMessage counts a connection against m, and gives m up when that is enough.
func (l *dedicated) suspectMessage(now time.Duration, m *outgoing, silent bool) {
	c := &l.care
	key, topicKey := l.keyOf(m), l.topicKeyOf(m)
	denied := c.isDenied(topicKey, now)
	passes := c.total
	if m.token == 0 {
		passes = l.d.stats.passes() // a will: its Link has nothing else
	}
	u := l.noteAlone(now, key, passes, silent)
	if u == nil {
		return
	}
	if silent {
		u.alone = max(u.alone, asideAfter) // it is known which one it is
	}
	ill := l.d.ill.note(topicKey, l.d.stats.passes())
	if m.received && !silent {
		return // the broker may lose the session with the connection, and the message with it
	}
	if u.guilty(now, denied, ill) {
		c.clear(key)
		c.deny(topicKey, now)
		l.d.ill.settled(topicKey)
		l.reject(m)
		return
	}
	if u.alone >= asideAfter && m.token != 0 {
		l.report(Event{Kind: EventDoubted, Token: m.token})
	}
}

// reject gives a message up. One that the broker has confirmed by PUBREC is with it.
func (l *dedicated) reject(m *outgoing) {
	topic, payload := m.raw.Split()
	e := Event{Kind: EventPublishFailed, Token: m.token, Topic: topic, QoS: m.qos, Retain: m.raw.Retain()}
	e.Err = fmt.Errorf("%w (%d octets to %q)", ErrRejected, len(payload), topic)
	switch {
	case m.received:
		e = Event{Kind: EventPublished, Token: m.token}
	case m.qos == 0:
		m.rejected = true // it goes with the connection anyway
		e.Token = 0
	case m.token == 0:
		l.d.stats.DroppedWills.Add(1)
	}
	if e.Err != nil {
		l.d.stats.RejectedMessages.Add(1)
	}
	if e.Token != 0 || e.Err != nil {
		l.report(e)
	}
	if m.qos == 0 {
		return
	}
	for i := range l.out.list {
		if m == &l.out.list[i] {
			l.out.remove(i)
			return
		}
	}
}

// noteAlone counts a connection against a packet. It returns nil if that says nothing: the
// packet has been set aside, and this time the connection did not work at all.
func (l *dedicated) noteAlone(now time.Duration, key, passes uint64, silent bool) *suspect {
	c := &l.care
	worked := silent || c.progress || c.proven || now-l.upAt >= provenAfter
	if c.suspicion == nil {
		c.suspicion = new(suspicion)
	}
	if u := c.find(key); !worked && u != nil && u.alone >= asideAfter {
		return nil
	}
	return c.note(now, key, passes, silent)
}

// suspectRequest counts a connection against a SUBSCRIBE or UNSUBSCRIBE.
func (l *dedicated) suspectRequest(now time.Duration, r *request) {
	u := l.noteAlone(now, r.key, l.care.total, false)
	if u == nil || u.alone < aloneToRefuse {
		return
	}
	l.care.clear(r.key)
	l.d.stats.RejectedRequests.Add(1)
	r.refused = true
}

// dropQoS0 gives up the QoS 0 messages that waited with the others: the connection they
// waited for is gone.
func (l *dedicated) dropQoS0() {
	for i := 0; i < len(l.out.list); i++ {
		if m := &l.out.list[i]; m.qos == 0 {
			if !m.rejected {
				l.d.stats.DroppedDown.Add(1)
			}
			l.out.remove(i)
			i--
		}
	}
}

// watch notes what the broker has to answer next, and since when.
func (l *dedicated) watch(now time.Duration) {
	what := uint32(0)
	for i := range l.out.list {
		if m := &l.out.list[i]; m.qos > 0 && m.awaitsBroker() {
			what = 1<<16 | uint32(m.id)
			if m.received {
				what |= 1 << 17
			}
			break
		}
	}
	l.care.message.set(what, now)
	what = 0
	for i := range l.requests {
		if r := &l.requests[i]; r.sent {
			what = 1<<16 | uint32(r.id)
			break
		}
	}
	l.care.request.set(what, now)
}

// answerDue is when the broker has to have answered; Never if it owes no answer.
func (l *dedicated) answerDue() time.Duration {
	at := Never
	for _, a := range []awaited{l.care.message, l.care.request} {
		if a.what != 0 {
			at = min(at, a.since+l.d.opt.AnswerTimeout)
		}
	}
	return at
}

// answerAdvance ends a connection whose broker does not answer. A paused connection does
// not hear the answer, so its time begins anew.
func (l *dedicated) answerAdvance(now time.Duration) {
	if l.paused {
		l.care.message.since, l.care.request.since = now, now
	}
	if now < l.answerDue() {
		return
	}
	l.d.stats.AnswerTimeouts.Add(1)
	var silent *outgoing
	if m := l.care.message; m.what != 0 && now >= m.since+l.d.opt.AnswerTimeout {
		if i := l.out.find(uint16(m.what)); i >= 0 {
			silent = &l.out.list[i]
		}
	}
	c := l.conn
	l.blame(now, silent)
	l.lost(now, ErrUnanswered)
	c.Abandon()
}
