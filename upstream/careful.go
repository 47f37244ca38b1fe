package upstream

import (
	"bytes"
	"slices"
	"time"

	"sngate/upstream/mqtt"
)

// This file decides what a Link sends next.

// caution is how carefully a Link sends. It outlives connections.
type caution struct {
	*suspicion // nil while there is nothing to suspect
	// window is how many messages may be unanswered at a time; 0: Options.SendWindow. A
	// connection that ended without any acknowledgement sets it to 1, one that ended with
	// several messages unanswered halves it, and it doubles with each growAfter
	// acknowledgements: a broker that ends connections because too much comes at once finds
	// its own pace.
	window, acks int
	passed       int    // messages acknowledged since one that is set aside was tried
	total        uint64 // and in all

	// Of the open connection.
	progress bool          // something was acknowledged
	proven   bool          // PINGRESP has come, or time enough has passed: the connection works
	provenAt time.Duration // when it has, if PINGRESP does not come; 0: PINGREQ was not sent
	loose    int           // QoS 0 messages written since anything was answered

	// What the broker has to answer next.
	message, request awaited
}

// awaited is the first of several packets the broker has to answer, and since when it is.
type awaited struct {
	what  uint32 // 0: none
	since time.Duration
}

func (a *awaited) set(what uint32, now time.Duration) {
	if a.what != what {
		*a = awaited{what, now}
	}
}

const (
	growAfter = 16
	// provenAfter is how long a connection has to stay open to count as one that works,
	// with a broker that does not answer PINGREQ.
	provenAfter = 2 * time.Second
)

// opened begins a connection.
func (c *caution) opened() {
	c.progress, c.proven, c.provenAt, c.loose = false, false, 0, 0
	c.message, c.request = awaited{}, awaited{}
}

// careful reports whether one message is sent at a time.
func (c *caution) careful() bool { return c.window == 1 }

func (c *caution) limit(o *Options) int {
	if c.window > 0 {
		return c.window
	}
	return o.SendWindow
}

// passedOne notes that the broker has taken a message.
func (l *dedicated) passedOne(m *outgoing) {
	c := &l.care
	c.progress, c.loose = true, 0
	c.passed++
	c.total++
	if !c.none() {
		key := l.keyOf(m)
		if c.find(key) != nil {
			c.recovered()
		}
		c.clear(key)
		c.allow(l.topicKeyOf(m))
		c.settle()
	}
	if c.window > 0 {
		if c.acks++; c.acks >= growAfter {
			c.acks, c.window = 0, 2*c.window
			if c.window >= l.d.opt.SendWindow {
				c.window = 0
			}
		}
	}
}

// unanswered counts what the broker has to answer, and returns the only one where it is
// one: a message or a request.
func (l *dedicated) unanswered() (n int, message *outgoing, r *request) {
	for i := range l.out.list {
		if m := &l.out.list[i]; m.awaitsBroker() {
			n, message = n+1, m
		}
	}
	for i := range l.requests {
		if l.requests[i].sent {
			n, r = n+1, &l.requests[i]
		}
	}
	return n + l.care.loose, message, r
}

// next returns the index of the message that may be written now, or -1.
func (l *dedicated) next() int {
	c := &l.care
	if c.window == 0 && c.none() && !l.out.mixed && (l.out.qos2 == 0 || l.out.qos2 == len(l.out.list)) {
		if l.out.sent < min(len(l.out.list), l.d.opt.SendWindow) {
			return l.out.sent
		}
		return -1
	}
	busy, alone := l.busy()
	if alone || busy >= c.limit(&l.d.opt) || l.out.sent >= l.d.opt.SendWindow || c.passed >= turnAfter && l.doubtsRequest() {
		return -1
	}
	ready, aside, behind := l.candidates()
	switch {
	case ready >= 0 && (aside < 0 || c.passed < turnAfter):
		return ready
	case aside < 0:
		return -1
	case l.out.list[aside].silent: // what ends its connection takes nobody along
	case busy > 0 || !l.connectionWorks():
		return -1
	}
	if behind >= 0 && c.suspicion != nil && c.last == l.keyOf(&l.out.list[aside]) {
		aside = behind // in turn
		c.suspicion.overtook = l.now
	}
	m := &l.out.list[aside]
	c.passed, m.alone = 0, !m.silent
	c.suspicion.last = l.keyOf(m)
	return aside
}

// busy counts what the broker has to answer before more may be written, and tells whether
// it is something that has to be alone.
func (l *dedicated) busy() (n int, alone bool) {
	for i := range l.out.list {
		if m := &l.out.list[i]; m.awaitsBroker() && !m.silent {
			n++
			alone = alone || m.alone
		}
	}
	for i := range l.requests {
		if r := &l.requests[i]; r.sent {
			n += min(l.care.window, 1) // they have a limit of their own where nothing is wrong
			alone = alone || r.alone
		}
	}
	return n, alone
}

// candidates returns the first message that may be written, the first of those set aside,
// and the one behind that which may overtake it. A message does not overtake an earlier
// one to its topic. The broker passes QoS 2 on at PUBREL only, so others wait for that.
func (l *dedicated) candidates() (ready, aside, behind int) {
	ready, aside, behind = -1, -1, -1
	var blocked, unreleased [][]byte // topics
	for i := range l.out.list {
		m := &l.out.list[i]
		topic := m.raw.Topic()
		waits := has(blocked, topic) || m.qos < 2 && has(unreleased, topic)
		if m.qos == 2 && !m.released {
			unreleased = append(unreleased, topic)
		}
		if m.written {
			continue
		}
		switch {
		case l.isAside(m):
			if u := l.care.find(l.keyOf(m)); u != nil {
				m.silent = u.silent
			}
			if aside < 0 && !waits {
				aside = i
			}
		case !waits && ready < 0:
			ready = i
			fallthrough
		case !waits:
			continue
		case behind < 0 && aside >= 0 && bytes.Equal(topic, l.out.list[aside].raw.Topic()):
			behind = i // if at all: none behind that goes before it
		}
		blocked = append(blocked, topic)
	}
	if behind >= 0 && !l.mayOvertake(&l.out.list[aside], &l.out.list[behind]) {
		behind = -1
	}
	return ready, aside, behind
}

func has(topics [][]byte, topic []byte) bool {
	return slices.ContainsFunc(topics, func(t []byte) bool { return bytes.Equal(t, topic) })
}

// mayOvertake reports whether the next message to the topic of one that is set aside may be
// tried before it.
func (l *dedicated) mayOvertake(aside, next *outgoing) bool {
	closes := uint8(aloneToOvertake)
	if aside.raw.Retain() && !next.raw.Retain() {
		closes = aloneToOvertakeRetained
	}
	u := l.care.find(l.keyOf(aside))
	return u != nil && l.care.mayOvertake(u, l.now, closes)
}

func (l *dedicated) keyOf(m *outgoing) uint64 {
	topic, payload := m.raw.Split()
	if m.qos == 0 {
		payload = nil // it is not sent again: what matters is the next one
	}
	return l.d.packetKey(mqtt.TypePublish, m.qos, m.raw.Retain(), topic, payload)
}

func (l *dedicated) topicKeyOf(m *outgoing) uint64 {
	topic, _ := m.raw.Split()
	return l.d.topicKey(mqtt.TypePublish, m.qos, m.raw.Retain(), topic)
}

func (l *dedicated) isAside(m *outgoing) bool {
	return !l.care.none() && l.care.isAside(l.keyOf(m), l.topicKeyOf(m), l.now)
}

// connectionWorks reports whether the open connection has answered anything, and asks it
// with PINGREQ if it has not: what ends a connection that never worked is not to blame.
func (l *dedicated) connectionWorks() bool {
	c := &l.care
	if c.progress || c.proven {
		return true
	}
	if c.provenAt == 0 {
		c.provenAt = l.now + provenAfter
		l.sendProbe(false)
	}
	return false
}

// proved takes the answer to a probe: message, if it was sent behind a QoS 0 message.
func (l *dedicated) proved(message bool) {
	l.care.proven, l.care.loose = true, 0
	if !message {
		l.pump()
		return
	}
	// A QoS 0 message has no other answer.
	for i := range l.out.list {
		if m := &l.out.list[i]; m.qos == 0 && m.written {
			l.passedOne(m)
			l.out.remove(i)
			break
		}
	}
	l.pump()
}

// provenDue is when a connection that was asked counts as one that works.
func (l *dedicated) provenDue() time.Duration {
	if c := &l.care; c.provenAt > 0 && !c.proven {
		return c.provenAt
	}
	return Never
}
