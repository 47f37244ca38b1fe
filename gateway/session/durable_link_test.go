package session

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// modelLink is a link to the broker with the contract of package upstream.
type modelLink struct {
	b   *modelBroker
	rng *rand.Rand

	state   int
	params  Action
	answer  bool // the session waits for EventConnected or EventRefused
	dormant bool // waits for the device
	paused  bool
	drain   bool
	renewed bool // a session of the broker has begun since the link exists

	out      []linkMessage
	lastID   uint16
	in       map[uint16]linkReceived
	seq      uint16
	requests []Action // SUBSCRIBE, UNSUBSCRIBE, PINGREQ without an answer
	acks     []uint16 // PUBACKs and PUBRECs not written yet
	events   []Event
	closes   int // EventClosed due
	open     bool
}

const (
	mIdle = iota
	mOpening
	mUp
	mDown // and trying again
)

type linkMessage struct {
	token              Token
	id                 uint16
	qos                uint8
	topic, payload     string
	written, asked     bool // on the connection that is open: PUBLISH, PUBREL
	received, released bool
	given              bool
	tries              int
}

type linkReceived struct {
	seq      uint16
	identity Identity
	qos      uint8
	acked    bool
	told     bool // by the session only
}

// beyond is what the packet identifier of an exchange is greater by than its number.
const beyond = 0x7FFF

func newModelLink(b *modelBroker, rng *rand.Rand) *modelLink {
	return &modelLink{b: b, rng: rng, in: map[uint16]linkReceived{}, lastID: uint16(rng.IntN(beyond + 1))}
}

func (l *modelLink) report(ev Event) { l.events = append(l.events, ev) }

// do carries out an action of the session. It reports false for one that asks for
// something of a link that is closed.
func (l *modelLink) do(a Action) bool {
	switch a.Kind {
	case ActionConnect:
		l.disconnect()
		l.forgetUnacked()
		l.drain = false
		l.out = slices.DeleteFunc(l.out, func(m linkMessage) bool { return m.token == 0 })
		if a.Clean {
			for _, m := range l.out {
				l.report(Event{Kind: EventPublishFailed, Token: m.token})
			}
			l.out, l.in = nil, map[uint16]linkReceived{}
		}
		l.take(a.Unreleased)
		l.params, l.answer, l.state, l.paused, l.dormant, l.open = a, true, mOpening, false, false, true
		return true
	case ActionReopen:
		if l.state != mIdle {
			return false
		}
		l.take(a.Unreleased)
		l.params, l.answer, l.state, l.dormant, l.paused, l.open = a, false, mDown, a.Lazy, false, true
		return true
	case ActionRelease:
		for i := range l.out {
			if m := &l.out[i]; m.token == a.Token && m.received {
				m.released = true
			}
		}
		return true
	case ActionAck:
		l.ack(a.Handle) // stale ones are ignored
		return true
	case ActionResume, ActionPause:
		l.paused = l.open && a.Kind == ActionPause
		return true
	}
	if !l.open {
		return false
	}
	switch a.Kind {
	case ActionPublish:
		l.publish(a)
	case ActionAwait:
		l.await(a.Token, a.Awaited)
	case ActionRetract:
		l.retract(a.Token)
	case ActionSubscribe, ActionUnsubscribe, ActionPing:
		if l.state == mUp {
			l.requests = append(l.requests, a)
		} else {
			l.failRequest(a)
		}
	case ActionCloseClean, ActionCloseAbort, ActionCloseDrain:
		l.open = false
		l.closes++
		if a.Kind == ActionCloseDrain {
			l.passWills()
		}
		l.disconnect()
		l.forgetUnacked()
		l.state = mIdle
	}
	return true
}

func (l *modelLink) passWills() {
	for i := range l.out {
		if l.out[i].token == 0 {
			l.b.passedOn[l.out[i].payload]++
		}
	}
}

func (l *modelLink) publish(a Action) {
	m := linkMessage{token: a.Token, topic: a.Topic, qos: a.QoS, payload: string(a.Payload)}
	if a.Exchange != 0 {
		m.id = beyond + a.Exchange
	}
	switch {
	case a.QoS == 0:
		switch {
		case l.state == mUp && (a.Token == 0 || l.rng.IntN(20) > 0):
			l.b.passedOn[m.payload]++
			if a.Token != 0 {
				l.report(Event{Kind: EventPublished, Token: a.Token})
			}
		case a.Token != 0:
			l.report(Event{Kind: EventPublishFailed, Token: a.Token, Congested: true})
		}
		return
	case len(l.out) >= 32 || l.rng.IntN(20) == 0:
		l.report(Event{Kind: EventPublishFailed, Token: a.Token, Congested: true})
		return
	case m.id == 0:
		for m.id == 0 || slices.ContainsFunc(l.out, func(o linkMessage) bool { return o.id == m.id }) {
			l.lastID = l.lastID%beyond + 1
			m.id = l.lastID
		}
	case a.Again || a.Released:
		m.tries = 1
		m.received = a.Released && !l.renewed
		m.released = m.received
	}
	l.out = append(l.out, m)
}

func (l *modelLink) await(t Token, awaited bool) {
	for i := range l.out {
		if m := &l.out[i]; m.token == t && m.tries == 0 && !awaited {
			l.out = slices.Delete(l.out, i, i+1)
			l.report(Event{Kind: EventPublishFailed, Token: t})
			return
		} else if m.token == t {
			m.given = !awaited
		}
	}
}

// take notes what the session says to be its own.
func (l *modelLink) take(taken []Identity) {
	for _, message := range taken {
		id := binary.BigEndian.Uint16(message[:])
		if _, known := l.in[id]; !known {
			l.in[id] = linkReceived{identity: message, qos: 2, acked: true, told: true}
		}
	}
}

func (l *modelLink) retract(t Token) {
	i := slices.IndexFunc(l.out, func(m linkMessage) bool { return m.token == t })
	if i < 0 {
		l.report(Event{Kind: EventRetracted, Token: t, Failed: true})
		return
	}
	m := l.out[i]
	l.out = slices.Delete(l.out, i, i+1)
	l.report(Event{Kind: EventRetracted, Token: t, Topic: m.topic, Payload: []byte(m.payload), Dup: m.tries > 0})
}

func (l *modelLink) failRequest(a Action) {
	kind := map[ActionKind]EventKind{ActionSubscribe: EventSubscribed, ActionUnsubscribe: EventUnsubscribed, ActionPing: EventPong}[a.Kind]
	l.report(Event{Kind: kind, Token: a.Token, Failed: true})
}

// disconnect ends the connection that is open, if one is.
func (l *modelLink) disconnect() {
	if l.state != mUp {
		return
	}
	for i := range l.out {
		l.out[i].written, l.out[i].asked = false, false
	}
	for _, a := range l.requests {
		l.failRequest(a)
	}
	l.requests, l.acks = nil, nil
	l.b.disconnected()
	if l.params.Clean {
		l.b.reset()
	}
	l.state = mDown
}

// renew has another connection take the place of the one that is open: see EventRenewed.
func (l *modelLink) renew() {
	if l.state != mUp {
		return
	}
	for i := range l.out {
		l.out[i].written, l.out[i].asked = false, false
	}
	l.acks = nil
	l.b.disconnected()
	if l.params.Clean {
		l.b.reset()
	}
	l.accepted(EventRenewed)
}

// forgetUnacked forgets what has been received and not acknowledged.
func (l *modelLink) forgetUnacked() {
	for id, m := range l.in {
		if !m.acked {
			delete(l.in, id)
		}
	}
}

func (l *modelLink) lose() {
	if l.state == mUp {
		l.disconnect()
		l.report(Event{Kind: EventDown})
	}
}

// dial ends an attempt to connect.
func (l *modelLink) dial(ok bool, why Refusal) {
	switch {
	case l.state != mOpening && l.state != mDown || l.dormant:
		return
	case !ok && l.answer:
		l.state, l.answer, l.open = mIdle, false, false
		l.report(Event{Kind: EventRefused, Refused: why})
		return
	case !ok:
		l.report(Event{Kind: EventDown})
		return
	}
	if l.params.Clean {
		l.b.reset()
	}
	kind := EventUp
	if l.answer {
		kind = EventConnected
	}
	l.state, l.answer = mUp, false
	l.accepted(kind)
}

// accepted begins a connection, which is reported by kind.
func (l *modelLink) accepted(kind EventKind) {
	present := l.b.present
	l.b.present = true
	if !present {
		l.in, l.renewed = map[uint16]linkReceived{}, true
	}
	l.report(Event{Kind: kind, SessionPresent: present})
	for i := 0; i < len(l.out); i++ {
		m := &l.out[i]
		m.received, m.released = m.received && present, m.released && present
		if m.given && m.qos == 1 {
			if m.token != 0 {
				l.report(Event{Kind: EventPublishFailed, Token: m.token})
			}
			l.out = slices.Delete(l.out, i, i+1)
			i--
		}
	}
}

// work does one step of what goes on between the link and the broker.
func (l *modelLink) work() {
	if l.closes > 0 && l.rng.IntN(3) == 0 {
		l.closes--
		l.report(Event{Kind: EventClosed})
		return
	}
	if l.state != mUp {
		return
	}
	switch l.rng.IntN(8) {
	case 0, 1, 2:
		if n := min(len(l.out), 10); n > 0 {
			l.exchange(l.rng.IntN(n))
		}
	case 3, 4:
		l.receive()
	case 5:
		l.serve()
	case 6:
		if len(l.acks) > 0 {
			id := l.acks[0]
			l.acks = l.acks[1:]
			l.acked(id)
		}
	case 7:
		l.askRelease()
	}
}

// exchange takes l.out[i] one step further.
func (l *modelLink) exchange(i int) {
	m := &l.out[i]
	switch {
	case !m.written && !m.received:
		for k := range i {
			if !l.out[k].written && !l.out[k].received {
				return // in order
			}
		}
		m.written = true
		m.tries++
		if _, known := l.b.received[m.id]; m.qos == 1 || !known && !l.b.atPubrel {
			l.b.passedOn[m.payload]++
		}
		if m.qos == 2 {
			if old, known := l.b.received[m.id]; !known {
				l.b.received[m.id] = m.payload
			} else if old != m.payload && l.b.mistaken == "" {
				l.b.mistaken, l.b.mistakenFor = m.payload+" for "+old, old
			}
		}
	case l.paused:
	case m.qos == 1:
		l.finish(i)
	case !m.received:
		if m.received = true; m.id > beyond {
			l.report(Event{Kind: EventReceived, Token: m.token})
		} else {
			m.released = true
		}
	case !m.released:
	case !m.asked:
		m.asked = true
		if payload, known := l.b.received[m.id]; known && l.b.atPubrel {
			l.b.passedOn[payload]++
		}
		delete(l.b.received, m.id)
	default:
		l.finish(i)
	}
}

func (l *modelLink) finish(i int) {
	if t := l.out[i].token; t != 0 {
		l.report(Event{Kind: EventPublished, Token: t})
	}
	l.out = slices.Delete(l.out, i, i+1)
}

// receive takes the next message of the broker.
func (l *modelLink) receive() {
	inFlight := 0
	for i := range l.b.out {
		m := &l.b.out[i]
		if m.qos > 0 && (m.sent || m.taken) {
			inFlight++
		}
		if m.sent || m.taken {
			continue
		}
		if l.paused || m.qos > 0 && inFlight >= 10 {
			return
		}
		m.sent = true
		ev := Event{Kind: EventMessage, Topic: m.topic, Payload: []byte(m.payload), QoS: m.qos, Dup: m.dup}
		if m.qos == 0 {
			l.b.out = slices.Delete(l.b.out, i, i+1)
			l.report(ev)
			return
		}
		message := identityOf(m.id, m.topic, m.payload)
		old, known := l.in[m.id]
		if known && old.qos == m.qos && old.identity == message && (m.qos == 2 && !old.told || m.dup) {
			old.told = false
			l.in[m.id] = old
			if old.acked && !slices.Contains(l.acks, m.id) {
				l.acks = append(l.acks, m.id)
			}
			return
		}
		if old.qos == 2 {
			l.report(Event{Kind: EventForgotten, Identity: old.identity})
		}
		l.seq++
		l.in[m.id] = linkReceived{seq: l.seq, identity: message, qos: m.qos}
		if ev.Handle = Handle(l.seq)<<16 | Handle(m.id); m.qos == 2 {
			ev.Identity = message
		}
		l.report(ev)
		return
	}
}

func (l *modelLink) ack(h Handle) {
	m, known := l.in[uint16(h)]
	if !known || m.acked || m.seq != uint16(h>>16) {
		return
	}
	m.acked = true
	l.in[uint16(h)] = m
	if l.state == mUp {
		l.acks = append(l.acks, uint16(h))
	}
}

// acked has an acknowledgement reach the broker.
func (l *modelLink) acked(id uint16) {
	for i := range l.b.out {
		m := &l.b.out[i]
		if m.id != id || !m.sent && !m.taken {
			continue
		}
		if !m.taken {
			l.b.confirmed(m)
		}
		if m.qos == 1 {
			delete(l.in, id)
			l.b.out = slices.Delete(l.b.out, i, i+1)
		} else {
			m.taken = true
		}
		return
	}
}

// askRelease has the broker's PUBREL reach the link.
func (l *modelLink) askRelease() {
	for i := range l.b.out {
		if m := &l.b.out[i]; m.taken && !l.paused {
			l.report(Event{Kind: EventReleased, Identity: l.in[m.id].identity})
			delete(l.in, m.id)
			l.b.out = slices.Delete(l.b.out, i, i+1)
			return
		}
	}
}

// serve answers the oldest request.
func (l *modelLink) serve() {
	if len(l.requests) == 0 || l.paused {
		return
	}
	a := l.requests[0]
	l.requests = l.requests[1:]
	switch a.Kind {
	case ActionSubscribe:
		l.report(Event{Kind: EventSubscribed, Token: a.Token, Granted: a.QoS})
	case ActionUnsubscribe:
		l.report(Event{Kind: EventUnsubscribed, Token: a.Token})
	default:
		l.report(Event{Kind: EventPong, Token: a.Token})
	}
}
