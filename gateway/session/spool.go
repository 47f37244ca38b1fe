package session

// The spool: what is in it, how much may be, and for how long.

import "encoding/binary"

const (
	// MaxExchanges is the greatest number of an exchange.
	MaxExchanges = 0x7FFF
	// maxSpooledQoS2 is from how many messages on the spool takes no more of QoS 2.
	maxSpooledQoS2 = 30_000
)

func (p *spool) begin() { p.retryAt = Never }

// startExchanges sets what the numbers of exchanges count from. The broker may remember those
// of messages that have been given up.
func (ul *uplink) startExchanges(after uint16) { ul.spool.exchange = after }

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

// makeRoom keeps the bounds of the spool.
func (ul *uplink) makeRoom(st *step, size int) bool {
	p := &ul.spool
	if size > ul.s.cfg.SpoolBytes {
		return false // nothing that is dropped would help
	}
	before := p.octets
	for p.len() >= ul.s.cfg.SpoolMessages || p.octets+size > ul.s.cfg.SpoolBytes || !st.SpoolRoom && before-p.octets < size {
		if !ul.s.cfg.SpoolDropOldest || !ul.dropSpooled(st, ReasonSpoolFull) {
			return false
		}
	}
	return true
}

// dropSpooled drops the oldest message that the link has not got.
func (ul *uplink) dropSpooled(st *step, why Reason) bool {
	p := &ul.spool
	for i := range p.msgs {
		if p.msgs[i].stage == upWaiting {
			st.drop(why)
			ul.unspool(st, i)
			return true
		}
	}
	return false
}

// spoolDeadline is when the spool next wants attention.
func (ul *uplink) spoolDeadline() Time {
	at := ul.spool.retryAt
	for i := range ul.spool.msgs {
		if m := &ul.spool.msgs[i]; ul.mayExpire(m) {
			return min(at, m.at+ul.s.cfg.SpoolAge)
		}
	}
	return at
}

// mayExpire reports whether a message waits for the broker: also one that the link has,
// while there is no connection, or while connections end of it. An exchange of QoS 2 is
// finished once PUBREC has come, however long that takes: the broker has the message.
func (ul *uplink) mayExpire(m *spooled) bool {
	return m.stage == upWaiting || m.stage == upSent && (m.qos < 2 && ul.s.broker.link != linkUp || m.doubted)
}

// expireSpooled drops what has waited for too long.
func (ul *uplink) expireSpooled(st *step) {
	p := &ul.spool
	for i := 0; i < len(p.msgs); i++ {
		m := &p.msgs[i]
		if !ul.mayExpire(m) || st.Now < m.at+ul.s.cfg.SpoolAge {
			continue
		}
		if m.stage > upWaiting {
			st.do(Action{Kind: ActionRetract, Token: m.token})
		}
		st.dropOf(ReasonSpoolExpired, m.topic, len(m.payload))
		ul.unspool(st, i)
		i--
	}
}

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

func (ul *uplink) putReleased(st *step, m *spooled) {
	ul.s.journal.put(st, RecordReleased, key32(m.number), nil)
	ul.s.after(st, refuseWhenDown, continuation{kind: thenRelSpooled, number: m.number})
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

// restoreSpool restores the spool from what Load has read.
func (ul *uplink) restoreSpool(st *step) {
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
