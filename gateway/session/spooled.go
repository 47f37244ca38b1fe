package session

// The spool as a queue: what is in it, and what of it may go to the link next.

import "slices"

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
		if m := &p.msgs[i]; m.stage <= upWaiting || m.beforeRelease() {
			return true
		}
	}
	return false
}

func (m *spooled) size() int { return len(m.topic) + len(m.payload) + messageOverhead }

func (m *spooled) beforeRelease() bool { return m.qos == 2 && m.stage < upReleased && !m.released }

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
	case !m.beforeRelease():
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

func (o *order) blocks(m *spooled) bool {
	return m.qos < 2 && (o.all || slices.Contains(o.topics, m.topic)) ||
		slices.Contains(o.behind, m.topic) || slices.Contains(o.skipped, m.topic)
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
