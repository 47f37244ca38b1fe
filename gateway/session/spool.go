package session

import (
	"encoding/binary"
	"slices"
)

// spool holds messages of the device that are in the store, or on the way there, until
// the broker has them: those of QoS 2, and all while the broker is away or older ones
// wait. It is in the order in which the device sent them.
type spool struct {
	msgs      []spooled
	octets    int
	last      uint32              // number of the newest
	exchange  uint16              // last one begun
	exchanges map[uint16]struct{} // those that are not over
	retryAt   Time                // when the link, which had no room, is asked again
	before    []uint32            // while loading: of RecordReleased
}

// spooled is one of them.
type spooled struct {
	number   uint32 // of RecordSpool; 0: QoS 0 that only keeps its place in memory
	token    Token  // with the link
	at       Time   // when it came
	topic    string
	payload  []byte
	exchange uint16 // QoS 2: its number, see Action.Exchange; 0: none
	qos      uint8
	retain   bool
	stage    upState
	again    bool // the broker may have seen it
	released bool // QoS 2: RecordReleased is in the store
	doubted  bool // connections have ended of it: others go before it, but for those to its topic
}

const (
	// MaxExchanges is the greatest number of an exchange.
	MaxExchanges = 0x7FFF
	// maxSpooledQoS2 is from how many messages on the spool takes no more of QoS 2.
	maxSpooledQoS2 = 30_000

	spoolAtOnce      = 16       // messages with the link
	spoolAtOnceBytes = 64 << 10 // and their octets
	spoolRetry       = Time(1e9)
)

func (m *spooled) size() int { return len(m.topic) + len(m.payload) + messageOverhead }

func (p *spool) begin() { p.retryAt = Never }

func (p *spool) len() int { return len(p.msgs) }

func (p *spool) push(m spooled) {
	p.msgs = append(p.msgs, m)
	p.octets += m.size()
	p.last = max(p.last, m.number)
	if m.exchange != 0 {
		if p.exchanges == nil {
			p.exchanges = make(map[uint16]struct{})
		}
		p.exchanges[m.exchange] = struct{}{}
	}
}

func (p *spool) remove(i int) {
	p.octets -= p.msgs[i].size()
	delete(p.exchanges, p.msgs[i].exchange)
	if i == 0 { // nearly always: a long spool is not to be moved for each
		p.msgs[0] = spooled{}
		p.msgs = p.msgs[1:]
	} else {
		copy(p.msgs[i:], p.msgs[i+1:])
		p.msgs[len(p.msgs)-1] = spooled{}
		p.msgs = p.msgs[:len(p.msgs)-1]
	}
	if len(p.msgs) == 0 {
		p.msgs, p.exchanges = nil, nil
	}
}

// find finds a message by its number, from both ends: it is nearly always one of the newest,
// which are on their way to the store, or of the oldest, which are with the link.
func (p *spool) find(number uint32) int {
	for i, j := 0, len(p.msgs)-1; i <= j; i, j = i+1, j-1 {
		if p.msgs[j].number == number {
			return j
		}
		if p.msgs[i].number == number {
			return i
		}
	}
	return -1
}

func (p *spool) byToken(t Token) int {
	for i := range p.msgs {
		if t != 0 && p.msgs[i].token == t {
			return i
		}
	}
	return -1
}

// newExchange returns a number that no message in the spool has; maxSpooledQoS2 leaves some.
func (p *spool) newExchange() uint16 {
	for {
		p.exchange = p.exchange%MaxExchanges + 1
		if _, used := p.exchanges[p.exchange]; !used {
			return p.exchange
		}
	}
}

// backlog reports whether newer messages have to queue up: behind one that the link has
// not got, or one of QoS 2 that the broker passes on at its PUBREL only.
func (p *spool) backlog() bool {
	for i := range p.msgs {
		if m := &p.msgs[i]; m.stage <= upWaiting || m.unreleased() {
			return true
		}
	}
	return false
}

func (m *spooled) unreleased() bool { return m.qos == 2 && m.stage < upReleased && !m.released }

func (ul *uplink) unspool(st *step, i int) {
	m := &ul.spool.msgs[i]
	if m.number != 0 {
		ul.s.journal.remove(st, RecordSpool, key32(m.number))
	}
	if m.qos == 2 {
		ul.s.journal.remove(st, RecordReleased, key32(m.number)) // it may still be on its way there
	}
	ul.spool.remove(i)
}

func (m *spooled) put(st *step, j *journal) {
	v := binary.BigEndian.AppendUint16(make([]byte, 0, m.size()), m.exchange)
	j.put(st, RecordSpool, key32(m.number), appendMessage(v, m.qos, m.retain, m.topic, m.payload))
}

func (ul *uplink) onSpoolStored(st *step, c *continuation, ok bool) {
	p := &ul.spool
	i := p.find(c.number)
	if i < 0 {
		return
	}
	if ok {
		p.msgs[i].stage = upWaiting
	} else {
		ul.unspool(st, i)
	}
	ul.answerSpooled(st, c, ok)
	ul.drain(st)
}

// drain gives the link what it may have of the spool.
func (ul *uplink) drain(st *step) {
	p := &ul.spool
	if p.len() == 0 || ul.s.broker.link != linkUp || p.retryAt != Never {
		return
	}
	n, octets := 0, 0
	var before order
	for i := 0; i < len(p.msgs) && n < spoolAtOnce && octets < spoolAtOnceBytes; i++ {
		m := &p.msgs[i]
		if m.stage == upSaving {
			return // the ones behind it have to wait as well
		}
		if m.stage == upWaiting && before.holds(m) {
			if before.all {
				return
			}
			before.skip(m)
			continue
		}
		if counts := before.pass(m); counts {
			n, octets = n+1, octets+m.size()
		}
		if m.stage != upWaiting {
			continue
		}
		if n > 1 && octets > spoolAtOnceBytes {
			return
		}
		m.stage, m.token = upSent, ul.s.broker.token()
		ul.hand(st, m)
		if m.qos == 0 {
			ul.unspool(st, i)
			i--
		}
	}
}

// onDoubted lets others go before a spooled message.
func (ul *uplink) onDoubted(st *step, t Token) {
	if i := ul.spooledAs(t); i >= 0 {
		ul.spool.msgs[i].doubted = true
		ul.drain(st)
	}
}

func (ul *uplink) hand(st *step, m *spooled) {
	st.do(Action{
		Kind: ActionPublish, Token: m.token, Topic: m.topic, Payload: m.payload, QoS: m.qos, Retain: m.retain,
		Exchange: m.exchange, Again: m.again, Released: m.released,
	})
	m.again = true
}

// onSpoolPublished takes the broker's acknowledgement of a spooled message.
func (ul *uplink) onSpoolPublished(st *step, t Token) bool {
	i := ul.spooledAs(t)
	if i < 0 {
		return false
	}
	ul.unspool(st, i)
	ul.spool.retryAt = Never
	ul.drain(st)
	return true
}

// onSpoolFailed takes a spooled message back from the link, or gives it up because
// connections end of it.
func (ul *uplink) onSpoolFailed(st *step, ev *Event) bool {
	i := ul.spooledAs(ev.Token)
	if i < 0 {
		return false
	}
	m := &ul.spool.msgs[i]
	m.stage, m.token = upWaiting, 0
	switch {
	case ev.Congested:
		ul.spool.retryAt = st.Now + spoolRetry
	case ul.s.broker.link != linkUp && ul.s.broker.link != linkDown: // a connect with CleanSession=1 has taken all back
	default:
		if ev.Rejected {
			st.dropOf(ReasonSpoolRejected, m.topic, len(m.payload))
			ul.unspool(st, i)
		}
		ul.drain(st)
	}
	return true
}

func (ul *uplink) spooledAs(t Token) int {
	return ul.spool.byToken(t)
}

// onReceived takes the broker's PUBREC for a spooled message. Once PUBREL is sent the
// message must not be published again, which a restarted gateway has to know.
func (ul *uplink) onReceived(st *step, t Token) {
	i := ul.spooledAs(t)
	if i < 0 {
		return
	}
	m := &ul.spool.msgs[i]
	if m.released {
		st.do(Action{Kind: ActionRelease, Token: t})
		return
	}
	m.stage = upReceived
	ul.putReleased(st, m)
}

func (ul *uplink) putReleased(st *step, m *spooled) {
	ul.s.journal.put(st, RecordReleased, key32(m.number), nil)
	ul.s.after(st, refuseWhenDown, continuation{kind: thenRelSpooled, number: m.number})
}

func (ul *uplink) onReleasedStored(st *step, number uint32) {
	p := &ul.spool
	i := p.find(number)
	if i < 0 || p.msgs[i].stage != upReceived {
		return // the link has given it back, or begins it anew
	}
	m := &p.msgs[i]
	m.released, m.stage = true, upReleased
	st.do(Action{Kind: ActionRelease, Token: m.token})
	ul.drain(st)
}

// forgetReleased begins the QoS 2 exchanges anew with a broker that has forgotten them.
func (ul *uplink) forgetReleased(st *step) {
	p := &ul.spool
	for i := range p.msgs {
		m := &p.msgs[i]
		if m.released || m.stage == upReceived {
			m.released = false
			ul.s.journal.remove(st, RecordReleased, key32(m.number))
		}
		m.stage = min(m.stage, upSent)
	}
}

func (ul *uplink) snapshotSpool(st *step) {
	p := &ul.spool
	for i := range p.msgs {
		m := &p.msgs[i]
		if m.number == 0 {
			continue
		}
		m.put(st, &ul.s.journal)
		switch {
		case m.released:
			ul.s.journal.put(st, RecordReleased, key32(m.number), nil)
		case m.stage == upReceived:
			ul.putReleased(st, m)
		}
	}
}

// resumeSpool goes on with what a restart has found in the store.
func (ul *uplink) resumeSpool(st *step) {
	p := &ul.spool
	for i := range p.msgs {
		p.msgs[i].at = st.Now
	}
	for _, number := range ul.spool.before {
		if i := p.find(number); i >= 0 {
			p.msgs[i].released = true
		} else {
			ul.s.journal.remove(st, RecordReleased, key32(number))
		}
	}
	ul.spool.before = nil
}

// order says which messages have to wait for those before them that are on their way: the
// broker passes QoS 2 on at its PUBREL only, so what is not of QoS 2 would overtake. Behind
// a message that connections have ended of only those to its topic wait, all but one: the
// link may have to try it first. They may wait for long, so they take no room from others.
type order struct {
	all     bool
	topics  []string // of QoS 2 on its way
	doubted []string // of what connections have ended of
	behind  []string // of those with one behind it
	skipped []string // topics of those that wait: nothing goes past them
}

// pass goes by a message. It reports whether it counts towards what is with the link.
func (o *order) pass(m *spooled) (counts bool) {
	behind := slices.Contains(o.doubted, m.topic)
	switch {
	case m.doubted:
		o.doubted = append(o.doubted, m.topic)
	case behind:
		o.behind = append(o.behind, m.topic)
	}
	switch {
	case !m.unreleased():
	case m.doubted || behind:
		o.topics = append(o.topics, m.topic)
	default:
		o.all = true
	}
	return !m.doubted && !behind
}

func (o *order) skip(m *spooled) {
	if !slices.Contains(o.skipped, m.topic) {
		o.skipped = append(o.skipped, m.topic)
	}
}

func (o *order) holds(m *spooled) bool {
	return m.qos < 2 && (o.all || slices.Contains(o.topics, m.topic)) ||
		slices.Contains(o.behind, m.topic) || slices.Contains(o.skipped, m.topic)
}
