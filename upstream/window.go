package upstream

import (
	"bytes"
	"slices"
	"time"
)

// window holds what the broker has to answer, and what waits to be sent: it says what is next,
// what has been left unanswered, and what is to blame when a connection ends (blame.go).
type window struct {
	d        *shared
	events   *eventLog
	out      outbox
	requests requests
	care     caution
	pace     pace
	topics   *topicMap // never nil, never changed
}

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
	ask      bool          // PINGREQ is to be sent
	upAt     time.Duration // it is open since
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
func (c *caution) opened(now time.Duration) {
	c.progress, c.proven, c.provenAt, c.loose = false, false, 0, 0
	c.ask, c.upAt = false, now
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
func (w *window) passedOne(m *outgoing) {
	c := &w.care
	c.progress, c.loose = true, 0
	c.passed++
	c.total++
	if !c.none() {
		key := w.d.keys.of(m)
		if c.find(key) != nil {
			c.recovered()
		}
		c.clear(key)
		c.allow(w.d.keys.ofTopic(m))
		c.dropEmpty()
	}
	if c.window > 0 {
		if c.acks++; c.acks >= growAfter {
			c.acks, c.window = 0, 2*c.window
			if c.window >= w.d.opt.SendWindow {
				c.window = 0
			}
		}
	}
}

// unanswered counts what the broker has to answer, and returns the only one where it is
// one: a message or a request.
func (w *window) unanswered() (n int, message *outgoing, r *request) {
	for i := range w.out.list {
		if m := &w.out.list[i]; m.awaitsBroker() {
			n, message = n+1, m
		}
	}
	for i := range w.requests {
		if w.requests[i].sent {
			n, r = n+1, &w.requests[i]
		}
	}
	return n + w.care.loose, message, r
}

// waits reports whether there are messages that have not been written.
func (w *window) waits() bool { return w.out.sent < len(w.out.list) }

// next returns the index of the message that may be written now, or -1.
func (w *window) next(now time.Duration) int {
	c := &w.care
	if c.window == 0 && c.none() && !w.out.mixed && (w.out.qos2 == 0 || w.out.qos2 == len(w.out.list)) {
		if w.out.sent < min(len(w.out.list), w.d.opt.SendWindow) {
			return w.out.sent
		}
		return -1
	}
	busy, alone := w.busy()
	if alone || busy >= c.limit(&w.d.opt) || w.out.sent >= w.d.opt.SendWindow || c.passed >= turnAfter && w.waitsDoubted() {
		return -1
	}
	ready, aside, behind := w.candidates(now)
	switch {
	case ready >= 0 && (aside < 0 || c.passed < turnAfter):
		return ready
	case aside < 0:
		return -1
	case w.out.list[aside].silent: // what ends its connection takes nobody along
	case busy > 0 || !w.connectionWorks(now):
		return -1
	}
	if behind >= 0 && c.suspicion != nil && c.last == w.d.keys.of(&w.out.list[aside]) {
		aside = behind // in turn
		c.suspicion.overtook = now
	}
	m := &w.out.list[aside]
	c.passed, m.alone = 0, !m.silent
	c.suspicion.last = w.d.keys.of(m)
	return aside
}

// busy counts what the broker has to answer before more may be written, and tells whether
// it is something that has to be alone.
func (w *window) busy() (n int, alone bool) {
	for i := range w.out.list {
		if m := &w.out.list[i]; m.awaitsBroker() && !m.silent {
			n++
			alone = alone || m.alone
		}
	}
	for i := range w.requests {
		if r := &w.requests[i]; r.sent {
			n += min(w.care.window, 1) // they have a limit of their own where nothing is wrong
			alone = alone || r.alone
		}
	}
	return n, alone
}

// candidates returns the first message that may be written, the first of those set aside,
// and the one behind that which may overtake it. A message does not overtake an earlier
// one to its topic. The broker passes QoS 2 on at PUBREL only, so others wait for that.
func (w *window) candidates(now time.Duration) (ready, aside, behind int) {
	ready, aside, behind = -1, -1, -1
	var blocked, unreleased [][]byte // topics
	for i := range w.out.list {
		m := &w.out.list[i]
		topic := m.raw.Topic()
		waits := has(blocked, topic) || m.qos < 2 && has(unreleased, topic)
		if m.qos == 2 && m.phase != releasing {
			unreleased = append(unreleased, topic)
		}
		if m.written {
			continue
		}
		switch {
		case w.isAside(m, now):
			if u := w.care.find(w.d.keys.of(m)); u != nil {
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
		case behind < 0 && aside >= 0 && bytes.Equal(topic, w.out.list[aside].raw.Topic()):
			behind = i // if at all: none behind that goes before it
		}
		blocked = append(blocked, topic)
	}
	if behind >= 0 && !w.mayOvertake(&w.out.list[aside], &w.out.list[behind], now) {
		behind = -1
	}
	return ready, aside, behind
}

func has(topics [][]byte, topic []byte) bool {
	return slices.ContainsFunc(topics, func(t []byte) bool { return bytes.Equal(t, topic) })
}

// mayOvertake reports whether the next message to the topic of one that is set aside may be
// tried before it.
func (w *window) mayOvertake(aside, next *outgoing, now time.Duration) bool {
	closes := uint8(aloneToOvertake)
	if aside.raw.Retain() && !next.raw.Retain() {
		closes = aloneToOvertakeRetained
	}
	u := w.care.find(w.d.keys.of(aside))
	return u != nil && w.care.mayOvertake(u, now, closes)
}

func (w *window) isAside(m *outgoing, now time.Duration) bool {
	return !w.care.none() && w.care.isAside(w.d.keys.of(m), w.d.keys.ofTopic(m), now)
}

// connectionWorks reports whether the open connection has answered anything, and lets it be
// asked with PINGREQ if it has not: what ends a connection that never worked is not to blame.
func (w *window) connectionWorks(now time.Duration) bool {
	c := &w.care
	if c.progress || c.proven {
		return true
	}
	if c.provenAt == 0 {
		c.provenAt, c.ask = now+provenAfter, true
	}
	return false
}

// provenDue is when a connection that was asked counts as one that works.
func (w *window) provenDue() time.Duration {
	if c := &w.care; c.provenAt > 0 && !c.proven {
		return c.provenAt
	}
	return Never
}

// passedQoS0 notes that the first QoS 0 message written has arrived: it has no other answer
// than that to the PINGREQ behind it.
func (w *window) passedQoS0() {
	for i := range w.out.list {
		if m := &w.out.list[i]; m.qos == 0 && m.written {
			w.passedOne(m)
			w.out.remove(i)
			return
		}
	}
}

// dropEmpty drops a suspicion of nothing.
func (c *caution) dropEmpty() {
	if s := c.suspicion; s != nil && len(s.suspects) == 0 && len(s.denied) == 0 {
		c.suspicion = nil
	}
}

// doubts reports whether others go before a request, as connections have ended of it.
func (c *caution) doubts(r *request) bool {
	u := c.find(r.key)
	return u != nil && u.alone >= asideAfter
}

// waitsDoubted reports whether a request waits for its turn to be alone.
func (w *window) waitsDoubted() bool {
	return slices.ContainsFunc(w.requests, func(r request) bool { return !r.sent && w.care.doubts(&r) })
}
